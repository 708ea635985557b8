//! Leaves expanded to the columns of their element's uses, and the corrections that make products
//! of them.

use std::ops::Range;

use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

use super::layout::{Class, Layout};
use crate::bits::Word;
use crate::kernels::{Expansion, Quad};
use crate::linear::keys::{Allotment, Keys};
use crate::linear::leaves::Leaves;

/// What belongs to all bits of a digit, with their place values, of what belongs to each,
/// `[quad][bit]`.
fn weigh<W: Word>(bits: &[Quad], depth: usize) -> Vec<Quad> {
    let mut weighted = vec![Quad::ZERO; bits.len() / depth];
    for (digit, bits) in weighted.iter_mut().zip(bits.chunks_exact(depth)) {
        let digit: &mut [W] = cast_slice_mut(std::slice::from_mut(digit));
        for (level, bit) in bits.iter().enumerate() {
            let words: &[W] = cast_slice(std::slice::from_ref(bit));
            digit
                .iter_mut()
                .zip(words)
                .for_each(|(sum, word)| *sum = sum.wrapping_add(&(*word << level)));
        }
    }
    weighted
}

/// From `[column block][tree][lane]` to `[tree][column]`; lanes behind the last column are dropped.
fn by_tree<W: Word>(blocks: &[&[W]], trees: usize, columns: usize) -> Vec<W> {
    (0..trees)
        .flat_map(|tree| {
            let lanes = blocks.iter().flat_map(move |block| &block[tree * W::LANES..][..W::LANES]);
            lanes.take(columns).copied()
        })
        .collect()
}

/// Sums and digit-weighted sums of the leaves of some trees, `[tree][column]`.
pub(super) struct Expanded<W> {
    sums: Vec<W>,
    pub(super) weighted: Vec<W>,
}

impl<W: Word> Expanded<W> {
    /// Of the trees from `first` on.
    pub(super) fn new(class: &Class<'_>, keys: &Keys, first: usize, leaves: &Leaves) -> Self {
        let quads = leaves.quads().len() >> class.width;
        let (blocks, depth) = (class.columns.div_ceil(W::LANES), class.width as usize);
        // A period of all quads: every tree keeps slots of its own, since no two have the same
        // element.
        let runs = Allotment::default().runs(class.width, quads, quads);
        let each: Vec<[Vec<Quad>; 2]> = (0..blocks)
            .into_par_iter()
            .map(|block: usize| -> [Vec<Quad>; 2] {
                let (mut sums, mut bits) =
                    (vec![Quad::ZERO; quads], vec![Quad::ZERO; quads * depth]);
                for run in &runs {
                    let (quads, slots) =
                        (run.quads.clone(), run.quads.start * depth..run.quads.end * depth);
                    let leaves = &leaves.quads()[quads.start << depth..quads.end << depth];
                    // The client's kernel takes no punctures either: it multiplies by whole digits
                    // later. Trees that only fill the last quad are expanded too, and never read.
                    let of = Expansion { depth, trees: 4 * quads.len(), leaves, punctures: None };
                    // Keys count from the chunk's first tree on. A chunk has no more keys than
                    // trees, so the next one's are others.
                    let hash = keys.hash(class.number, first + run.key, block);
                    hash.bit_sums::<W>(of, &mut sums[quads], &mut bits[slots]);
                }
                [sums, weigh::<W>(&bits, depth)]
            })
            .collect();
        let sums: Vec<&[W]> = each.iter().map(|[sums, _]| cast_slice(sums)).collect();
        let weighted: Vec<&[W]> = each.iter().map(|[_, weighted]| cast_slice(weighted)).collect();
        Self {
            sums: by_tree(&sums, 4 * quads, class.columns),
            weighted: by_tree(&weighted, 4 * quads, class.columns),
        }
    }

    /// The server's corrections `w - u` of some elements, packed.
    pub(super) fn corrections(
        &self,
        layout: &Layout<'_>,
        class: &Class<'_>,
        elements: Range<usize>,
        weights: &[i8],
    ) -> Vec<u8> {
        let (count, outputs) =
            (elements.len() * class.columns, layout.images * layout.layer.geometry.positions());
        let values = elements.flat_map(|element| layout.uses(class.part, element)).zip(&self.sums);
        let values = values.map(|((weight, output), sum)| {
            let shift = layout.layer.shift(output / outputs) - layout.shift;
            let weight = (i64::from(weights[weight]) as u64) << shift;
            let sum: u64 = (*sum).into();
            weight.wrapping_sub(sum)
        });
        class.ring.pack_from(count, values)
    }

    /// The client's products `q (c + S) - V`, in the place of `V`.
    pub(super) fn correct(&mut self, class: &Class<'_>, punctures: &[u32], corrections: &[u8]) {
        let corrections = class.ring.unpack(corrections, punctures.len() * class.columns);
        let trees = self
            .weighted
            .chunks_exact_mut(class.columns)
            .zip(self.sums.chunks_exact(class.columns));
        for ((puncture, corrections), (weighted, sums)) in
            punctures.iter().zip(corrections.chunks_exact(class.columns)).zip(trees)
        {
            let factor = W::truncate(u64::from(*puncture));
            for ((slot, sum), correction) in weighted.iter_mut().zip(sums).zip(corrections) {
                // `c + S` lacks the hidden leaf's term alone, which `q (c + S) - V` cancels: its
                // index is q.
                let known = sum.wrapping_add(&W::truncate(*correction));
                *slot = known.wrapping_mul(&factor).wrapping_sub(slot);
            }
        }
    }
}
