//! Sums of hashed leaves, bit by bit of the leaves' numbers, four trees side by side.
//!
//! A register of 512 bits holds the same leaf of four trees, so that all additions are between
//! registers, never within one, and a hash is added up before it ever leaves its register.

use super::aes::Key;
#[cfg(target_arch = "x86_64")]
use super::aes::x86;
use super::{Quad, aes};
use crate::bits::Word;

/// Levels of the deepest trees.
pub(super) const MAX_DEPTH: usize = 8;

/// Trees that are to be expanded and added up.
#[derive(Clone, Copy)]
pub(crate) struct Expansion<'a> {
    /// Levels of each.
    pub depth: usize,
    /// Their number; those that fill the last quad are left out of all sums.
    pub trees: usize,
    /// Their leaves, which `σ` has been applied to, `[tree / 4][2^depth]`.
    pub leaves: &'a [Quad],
    /// The bits of the punctures' numbers, `[tree / 4][depth]` as [`puncture_bits`] lays them out;
    /// none where there are no punctures.
    pub punctures: Option<&'a [u8]>,
}

/// The bits of four trees' punctures, `[depth]`: two equal ones for each tree, as many as it has
/// words of 64 bits.
pub(crate) fn puncture_bits(punctures: &[u32], depth: usize) -> impl Iterator<Item = u8> {
    (0..depth).map(move |level| {
        punctures.iter().enumerate().fold(0, |bits, (tree, puncture)| {
            bits | (((puncture >> level) as u8 & 1) * (0b11 << (2 * tree)))
        })
    })
}

#[cfg(target_arch = "x86_64")]
impl Expansion<'_> {
    /// The words of the last quad that count.
    pub(super) const fn tail(&self) -> u8 {
        match self.trees % 4 {
            0 => 0xff,
            trees => (1 << (2 * trees)) - 1,
        }
    }
}

impl Key {
    /// With `h = AES(x) xor x` for every leaf `x`, as words of some width, `u` the sum of a tree's
    /// `h`, and `v` for every level the sum of those whose leaves' numbers have this bit:
    ///
    /// - without punctures, `sums` become `u`, and `v` is added to the slots;
    /// - with punctures, `sums` are what is to be added to `u`: `(sums + u) b - v` is added to the
    ///   slots, `b` the puncture's bit.
    ///
    /// Sums are laid out `[tree / 4]`, slots `[tree / 4, modulo their number][level]`.
    pub(crate) fn bit_sums<W: Word>(
        &self,
        of: Expansion<'_>,
        sums: &mut [Quad],
        slots: &mut [Quad],
    ) {
        assert!((1..=MAX_DEPTH).contains(&of.depth), "invariant: a tree has 1 to 8 levels");
        assert_eq!(sums.len(), of.trees.div_ceil(4), "invariant: a sum for every tree");
        assert_eq!(of.leaves.len(), sums.len() << of.depth, "invariant: all trees have all leaves");
        assert!(
            !slots.is_empty() && slots.len().is_multiple_of(of.depth),
            "invariant: slots for every level"
        );
        let bits = of.punctures.map_or(sums.len() * of.depth, <[u8]>::len);
        assert_eq!(bits, sums.len() * of.depth, "invariant: all punctures have all bits");
        match self {
            Self::Portable(key) => portable::<W>(key, of, sums, slots),
            // SAFETY: `Key::new` makes this variant only where the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Narrow(key) | Self::Middle(key) => unsafe {
                x86::bit_sums::narrow::<W>(key, of, sums, slots)
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Wide(key) => unsafe { x86::bit_sums::wide::<W>(key, of, sums, slots) },
        }
    }
}

/// One word of one of the four blocks.
#[inline]
fn word<W: Word>(quad: &Quad, tree: usize, lane: usize) -> W {
    bytemuck::cast_slice::<_, W>(&quad.0[tree..=tree])[lane]
}

fn portable<W: Word>(
    key: &::aes::Aes128Enc,
    of: Expansion<'_>,
    sums: &mut [Quad],
    slots: &mut [Quad],
) {
    let (depth, period) = (of.depth, slots.len() / of.depth);
    let mut hashes = vec![Quad::ZERO; 1 << depth];
    for (at, (leaves, sum)) in of.leaves.chunks_exact(1 << depth).zip(&mut *sums).enumerate() {
        hashes.copy_from_slice(leaves);
        aes::encrypt_and_add(key, bytemuck::cast_slice_mut(&mut hashes));
        let slots = &mut slots[at % period * depth..][..depth];
        for tree in 0..(of.trees - 4 * at).min(4) {
            for lane in 0..W::LANES {
                // The sum of all leaves, `u` of the sender. At the receiver `sum` is the
                // corrections, and `value` is `c + S`.
                let total = hashes
                    .iter()
                    .fold(W::zero(), |sum, hash| sum.wrapping_add(&word(hash, tree, lane)));
                let value = if of.punctures.is_some() {
                    word::<W>(sum, tree, lane).wrapping_add(&total)
                } else {
                    total
                };
                for (level, slot) in slots.iter_mut().enumerate() {
                    let with =
                        hashes.iter().enumerate().filter(|(number, _)| number >> level & 1 == 1);
                    let with = with.fold(W::zero(), |sum, (_, hash)| {
                        sum.wrapping_add(&word(hash, tree, lane))
                    });
                    let term = match of.punctures {
                        None => with,
                        Some(punctures) => {
                            let bit = W::truncate(u64::from(
                                punctures[at * depth + level] >> (2 * tree) & 1,
                            ));
                            value.wrapping_mul(&bit).wrapping_sub(&with)
                        }
                    };
                    let slot =
                        &mut bytemuck::cast_slice_mut::<_, W>(&mut slot.0[tree..=tree])[lane];
                    *slot = slot.wrapping_add(&term);
                }
                bytemuck::cast_slice_mut::<_, W>(&mut sum.0[tree..=tree])[lane] = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Block;
    use crate::kernels::aes::tests::variants;

    fn sums<W: Word>(
        key: &Key,
        of: Expansion<'_>,
        start: &[Quad],
        period: usize,
    ) -> (Vec<Quad>, Vec<Quad>) {
        let (mut sums, mut slots) = (start.to_vec(), vec![start[0]; period * of.depth]);
        key.bit_sums::<W>(of, &mut sums, &mut slots);
        (sums, slots)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_kernel_sums_alike(
            depth in 1usize..=8,
            trees in 1usize..14,
            period in 1usize..4,
            held: bool,
            key: u128,
            seed: u128,
        ) {
            let block = |i: usize| Block(seed.wrapping_mul(2 * i as u128 + 1));
            let quads = trees.div_ceil(4);
            let quad = |i: usize| Quad(std::array::from_fn(|j| block(4 * i + j)));
            let leaves: Vec<Quad> = (0..quads << depth).map(quad).collect();
            let valid = |i: usize, j: usize| {
                if 4 * i + j < trees { block(4 * i + j + 9) } else { Block::ZERO }
            };
            let start: Vec<Quad> =
                (0..quads).map(|i| Quad(std::array::from_fn(|j| valid(i, j)))).collect();
            let punctures: Vec<u32> =
                (0..trees).map(|i| (block(i + 5).0 >> 90) as u32 % (1 << depth)).collect();
            let bits = punctures.chunks(4).flat_map(|of_quad| puncture_bits(of_quad, depth));
            let bits: Vec<u8> = bits.collect();
            let punctures = held.then_some(&bits[..]);
            let of = Expansion { depth, trees, leaves: &leaves, punctures };
            let keys = variants(Block(key));
            for key in &keys[1..] {
                prop_assert!(
                    sums::<u16>(key, of, &start, period)
                        == sums::<u16>(&keys[0], of, &start, period)
                );
                prop_assert!(
                    sums::<u32>(key, of, &start, period)
                        == sums::<u32>(&keys[0], of, &start, period)
                );
                prop_assert!(
                    sums::<u64>(key, of, &start, period)
                        == sums::<u64>(&keys[0], of, &start, period)
                );
            }
        }
    }
}
