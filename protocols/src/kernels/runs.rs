//! Sums of weighted runs: what a kernel makes of a polynomial, coefficient by coefficient.

use crate::bits::Word;

/// Adds to `sums` runs of `values`, each as long as the sums, times their weights; `starts` says
/// where each begins. Every weight is multiplied, zeros too: time tells nothing of them.
pub(crate) fn add_runs<W: Word>(sums: &mut [W], values: &[W], starts: &[usize], weights: &[W]) {
    Kernel::best().run(sums, values, starts, weights);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Wide,
}

impl Kernel {
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Self::Wide;
        }
        Self::Portable
    }

    fn run<W: Word>(self, sums: &mut [W], values: &[W], starts: &[usize], weights: &[W]) {
        assert_eq!(starts.len(), weights.len(), "invariant: every run has a weight");
        match self {
            Self::Portable => portable(sums, values, starts, weights),
            // SAFETY: `Kernel::best` has found the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Wide => unsafe { wide(sums, values, starts, weights) },
        }
    }
}

fn portable<W: Word>(sums: &mut [W], values: &[W], starts: &[usize], weights: &[W]) {
    match W::BITS {
        64 => in_parts::<W, 8>(sums, values, starts, weights),
        _ => in_parts::<W, 16>(sums, values, starts, weights),
    }
}

/// The same, compiled for wider registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn wide<W: Word>(sums: &mut [W], values: &[W], starts: &[usize], weights: &[W]) {
    match W::BITS {
        64 => in_parts::<W, 16>(sums, values, starts, weights),
        _ => in_parts::<W, 32>(sums, values, starts, weights),
    }
}

/// `N` sums at a time, which fit into registers.
#[inline(always)]
fn in_parts<W: Word, const N: usize>(
    sums: &mut [W],
    values: &[W],
    starts: &[usize],
    weights: &[W],
) {
    let (parts, rest) = sums.as_chunks_mut::<N>();
    let whole = parts.len() * N;
    for (number, part) in parts.iter_mut().enumerate() {
        add_part(part, number * N, values, (starts, weights));
    }
    let (parts, rest) = rest.as_chunks_mut::<8>();
    let eighths = whole + parts.len() * 8;
    for (number, part) in parts.iter_mut().enumerate() {
        add_part(part, whole + number * 8, values, (starts, weights));
    }
    for (number, sum) in rest.iter_mut().enumerate() {
        add_part(std::array::from_mut(sum), eighths + number, values, (starts, weights));
    }
}

/// The sums from number `at` on.
#[inline(always)]
fn add_part<W: Word, const N: usize>(
    part: &mut [W; N],
    at: usize,
    values: &[W],
    (starts, weights): (&[usize], &[W]),
) {
    let mut sums = *part;
    for (&start, &weight) in starts.iter().zip(weights) {
        let values = values[start + at..].first_chunk::<N>().expect("invariant: runs are within");
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = sum.wrapping_add(&value.wrapping_mul(&weight));
        }
    }
    *part = sums;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;

    fn agree<W: Word>(len: usize, runs: usize, seed: u64) -> Result<(), TestCaseError> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut words = |count| (0..count).map(|_| W::truncate(rng.random())).collect::<Vec<W>>();
        let (start, values, weights) = (words(len), words(len + 99), words(runs));
        let starts: Vec<usize> = (0..runs).map(|_| rng.random_range(0..=99)).collect();
        let mut expected = start.clone();
        for (at, sum) in expected.iter_mut().enumerate() {
            for (from, weight) in starts.iter().zip(&weights) {
                *sum = sum.wrapping_add(&values[from + at].wrapping_mul(weight));
            }
        }
        let mut kernels = vec![Kernel::Portable];
        kernels.extend((Kernel::best() != Kernel::Portable).then(Kernel::best));
        for kernel in kernels {
            let mut sums = start.clone();
            kernel.run(&mut sums, &values, &starts, &weights);
            prop_assert!(sums == expected, "{:?}", kernel);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_kernel_adds_runs_as_the_definition_says(
            len in 0usize..200,
            runs in 0usize..20,
            seed: u64,
        ) {
            agree::<u32>(len, runs, seed)?;
            agree::<u64>(len, runs, seed)?;
        }
    }
}
