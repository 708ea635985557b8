//! Digit-weighted sums of hashed leaves, four trees side by side.
//!
//! A register of 512 bits holds the same leaf of four trees, so that all additions are between registers, never within
//! one, and a hash is added up before it ever leaves its register.

use super::aes::Key;
#[cfg(target_arch = "x86_64")]
use super::aes::x86;
use super::{Quad, aes};
use crate::linear::Word;

/// Bits of the longest number of a leaf.
pub(super) const MAX_DEPTH: usize = 8;

/// The digits that the number of a leaf is made of, the first one in the lowest bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits {
    /// How many.
    pub count: usize,
    /// Bits of each.
    pub width: usize,
    /// Whether they are two's complement.
    pub signed: bool,
}

impl Digits {
    /// Bits of the number of a leaf.
    pub(crate) const fn depth(self) -> usize {
        self.count * self.width
    }
}

impl Key {
    /// For every tree with leaves `x`, which `σ` has been applied to, and with `h = AES(x) xor x`, as words of some width:
    /// the sum of all `h`, and for every digit the sum of all `h`, each times this digit of its leaf's number.
    ///
    /// Leaves are laid out `[tree / 4][leaf]`, the sums `[tree / 4]`, the weighted ones `[tree / 4][digit]`.
    pub(crate) fn digit_sums<W: Word>(
        &self,
        digits: Digits,
        leaves: &[Quad],
        sums: &mut [Quad],
        weighted: &mut [Quad],
    ) {
        assert!((1..=MAX_DEPTH).contains(&digits.depth()), "invariant: a tree has 1 to 8 levels");
        assert_eq!(leaves.len(), sums.len() << digits.depth(), "invariant: all trees have all leaves");
        assert_eq!(weighted.len(), sums.len() * digits.count, "invariant: a weighted sum for every digit");
        match self {
            Self::Portable(key) => portable::<W>(key, digits, leaves, sums, weighted),
            // SAFETY: `Key::new` makes this variant only where the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Narrow(key) => unsafe {
                x86::digits::narrow::<W>(key, digits, leaves, sums, weighted);
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Wide(key) => unsafe { x86::digits::wide::<W>(key, digits, leaves, sums, weighted) },
        }
    }
}

fn portable<W: Word>(
    key: &::aes::Aes128Enc,
    digits: Digits,
    leaves: &[Quad],
    sums: &mut [Quad],
    weighted: &mut [Quad],
) {
    let mut hashes = vec![Quad::ZERO; 1 << digits.depth()];
    let trees = leaves.chunks_exact(1 << digits.depth()).zip(sums);
    for ((leaves, sum), weighted) in trees.zip(weighted.chunks_exact_mut(digits.count)) {
        hashes.copy_from_slice(leaves);
        aes::encrypt_and_add(key, bytemuck::cast_slice_mut(&mut hashes));
        *sum = Quad::ZERO;
        weighted.fill(Quad::ZERO);
        for (number, hash) in hashes.iter().enumerate() {
            add_times::<W>(sum, hash, W::one());
            for (at, slot) in weighted.iter_mut().enumerate() {
                add_times::<W>(slot, hash, digit(digits, number >> (at * digits.width)));
            }
        }
    }
}

/// The lowest digit of a number.
fn digit<W: Word>(digits: Digits, number: usize) -> W {
    let unsigned = number as u64 & ((1 << digits.width) - 1);
    let negative = digits.signed && unsigned >> (digits.width - 1) == 1;
    W::truncate(if negative { unsigned.wrapping_sub(1 << digits.width) } else { unsigned })
}

fn add_times<W: Word>(sum: &mut Quad, hash: &Quad, factor: W) {
    let words = bytemuck::cast_slice_mut::<Quad, W>(std::slice::from_mut(sum)).iter_mut();
    for (word, term) in words.zip(bytemuck::cast_slice::<Quad, W>(std::slice::from_ref(hash))) {
        *word = word.wrapping_add(&term.wrapping_mul(&factor));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Block;
    use crate::kernels::aes::tests::variants;

    fn sums<W: Word>(key: &Key, digits: Digits, leaves: &[Quad]) -> (Vec<Quad>, Vec<Quad>) {
        let trees = leaves.len() >> digits.depth();
        let (mut sums, mut weighted) = (vec![Quad::ZERO; trees], vec![Quad::ZERO; trees * digits.count]);
        key.digit_sums::<W>(digits, leaves, &mut sums, &mut weighted);
        (sums, weighted)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_kernel_sums_digits_alike(
            count in 1usize..=8, width in 1usize..=8, signed: bool, trees in 0usize..4, key: u128, seed: u128) {
            let digits = Digits { count: count.min(8 / width), width, signed };
            let leaf = |i: usize| Block(seed.wrapping_mul(2 * i as u128 + 1));
            let quad = |i: usize| Quad(std::array::from_fn(|j| leaf(4 * i + j)));
            let leaves: Vec<Quad> = (0..trees << digits.depth()).map(quad).collect();
            let keys = variants(Block(key));
            for key in &keys[1..] {
                prop_assert!(sums::<u16>(key, digits, &leaves) == sums::<u16>(&keys[0], digits, &leaves));
                prop_assert!(sums::<u32>(key, digits, &leaves) == sums::<u32>(&keys[0], digits, &leaves));
                prop_assert!(sums::<u64>(key, digits, &leaves) == sums::<u64>(&keys[0], digits, &leaves));
            }
        }
    }
}
