use proptest::prelude::*;

use super::*;

/// Integers of -8 to 8, whose sums are exact in any order.
fn integers(len: usize, step: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * step + seed) % 17) as f32 - 8.0).collect()
}

prop_compose! {
    /// A sweep over images with rows and columns of their own, with taps at any place.
    fn sweep()(
        size in [1usize..4, 1usize..20],
        steps in [1usize..3, 1usize..3],
        places in prop::collection::vec((0usize..50, 0usize..6, 1usize..17), 1..4),
        gap in 0usize..9,
    ) -> Sweep {
        let grid = |step: usize, start: usize| {
            let column = step * LANES;
            Grid { start, row: (size[1] * column) + gap, column }
        };
        let taps = places.iter().map(|&(input, weights, channels)| {
            Tap { input, weights: weights * 16 * LANES, channels }
        });
        Sweep { size, input: grid(steps[0], 5), output: grid(steps[1], 3), taps: taps.collect() }
    }
}

/// Elements behind the last that a sweep over so many steps a pixel reaches.
const LEN: usize = 5 * 21 * 2 * LANES;

/// The kernels of every set of instructions that this processor has.
#[cfg(target_arch = "x86_64")]
fn kernels() -> Vec<x86::Kernels> {
    [x86::Kernels::avx2(), x86::Kernels::avx512()].into_iter().flatten().collect()
}

proptest! {
    #[test]
    fn products_equal_their_portable_twin(sweep in sweep(), seed in 0usize..1000, add: bool) {
        let (input, weights) = (integers(LEN, 7, seed), integers(6 * 16 * LANES, 5, seed));
        let mut found = integers(LEN, 3, seed);
        let bias: [f32; LANES] = std::array::from_fn(|k| k as f32 - 4.0);
        let bias = (!add).then_some(&bias);
        let mut expected = found.clone();
        f32::products(&sweep, &input, &weights, bias, &mut found);
        portable::products(&sweep, &input, &weights, bias, &mut expected);
        prop_assert_eq!(&found, &expected);
        #[cfg(target_arch = "x86_64")]
        for kernels in kernels() {
            let mut found = integers(LEN, 3, seed);
            kernels.products(&sweep, &input, &weights, bias, &mut found);
            prop_assert_eq!(&found, &expected);
        }
    }

    #[test]
    fn weight_sums_equal_their_portable_twin(sweep in sweep(), seed in 0usize..1000) {
        let (input, cotangent) = (integers(LEN, 7, seed), integers(LEN, 5, seed));
        let mut found = integers(6 * 16 * LANES, 3, seed);
        let mut expected = found.clone();
        f32::weight_sums(&sweep, &input, &cotangent, &mut found);
        portable::weight_sums(&sweep, &input, &cotangent, &mut expected);
        prop_assert_eq!(&found, &expected);
        #[cfg(target_arch = "x86_64")]
        for kernels in kernels() {
            let mut found = integers(6 * 16 * LANES, 3, seed);
            kernels.weight_sums(&sweep, &input, &cotangent, &mut found);
            prop_assert_eq!(&found, &expected);
        }
    }

    /// A training that continues on another machine has the same results.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_set_of_instructions_rounds_alike(sweep in sweep(), seed in 0usize..1000) {
        let roots = |len: usize, seed: usize| -> Vec<f32> {
            (0..len).map(|i| (((i * 7 + seed) % 1009) as f32).sqrt() - 15.0).collect()
        };
        let (input, other) = (roots(LEN, seed), roots(LEN, seed + 500));
        let mut found: Vec<_> = kernels()
            .into_iter()
            .map(|kernels| {
                let (mut output, mut sums) = (roots(LEN, 3), roots(6 * 16 * LANES, 5));
                kernels.products(&sweep, &input, &other, None, &mut output);
                kernels.weight_sums(&sweep, &input, &other, &mut sums);
                [output, sums].concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
            })
            .collect();
        found.dedup();
        prop_assert!(found.len() <= 1, "AVX2 and AVX-512 differ");
    }
}
