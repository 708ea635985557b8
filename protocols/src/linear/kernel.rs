//! The arithmetic of expanded trees: sums and digit-weighted sums of leaves, column block by column block.
//!
//! A hash of a leaf is a block of [`Word::LANES`] columns. Accumulators and sums are laid out `[column block][channel or
//! tree][lane]`, so that blocks are independent of each other.

use bytemuck::cast_slice_mut;
use rayon::prelude::*;

use super::layout::Class;
use super::word::Word;
use crate::Block;
use crate::ot::Hash;

/// The sign with which digit-weighted sums join the accumulators.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    Add,
    Subtract,
}

/// Column blocks of `columns` columns.
pub(super) const fn column_blocks<W: Word>(columns: usize) -> usize {
    columns.div_ceil(W::LANES)
}

/// Expands the leaves of `trees` (numbers within the class) under one key a column block. Joins every digit-weighted sum
/// of leaves, times `2^low`, to its channel's accumulators, and gives the plain sums, `[column block][tree][lane]`.
pub(super) fn expand<W: Word>(
    class: &Class,
    trees: std::ops::Range<usize>,
    leaves: &[Block],
    hashes: &[Hash],
    join: Join,
    accumulators: &mut [W],
) -> Vec<W> {
    let depth = class.depth() as usize;
    let mut sums = vec![W::zero(); hashes.len() * trees.len() * W::LANES];
    let per_block = accumulators.len() / hashes.len().max(1);
    let blocks = accumulators.par_chunks_mut(per_block.max(1));
    let sums_by_block = sums.par_chunks_mut((trees.len() * W::LANES).max(1));
    blocks.zip(sums_by_block).zip(hashes).for_each_init(
        || (leaves.to_vec(), vec![W::zero(); depth * W::LANES]),
        |(scratch, weighted), ((accumulators, sums), hash)| {
            scratch.copy_from_slice(leaves);
            hash.apply(scratch);
            let words = cast_slice_mut::<Block, W>(scratch);
            let each = words.chunks_exact_mut(W::LANES << depth).zip(sums.chunks_exact_mut(W::LANES));
            for ((tree, sum), number) in each.zip(trees.clone()) {
                butterfly(tree, weighted);
                sum.copy_from_slice(&tree[..W::LANES]);
                join_digits(class, number, weighted, join, accumulators);
            }
        },
    );
    sums
}

/// Folds the leaves of a tree into their sum, in the first lanes, and into the sums of the leaves with bit `b` set, for
/// every `b`: additions alone, about two for each leaf.
fn butterfly<W: Word>(tree: &mut [W], weighted: &mut [W]) {
    let mut tree = tree;
    for sum in weighted.chunks_exact_mut(W::LANES).rev() {
        let (low, high) = tree.split_at_mut(tree.len() / 2);
        sum.copy_from_slice(&high[..W::LANES]);
        for leaf in high.chunks_exact(W::LANES).skip(1) {
            add(sum, leaf);
        }
        add(low, high);
        tree = low;
    }
}

fn add<W: Word>(to: &mut [W], from: &[W]) {
    for (a, b) in to.iter_mut().zip(from) {
        *a = a.wrapping_add(b);
    }
}

/// Joins `2^low` times the digit-weighted sum of each of the tree's weights to its channel.
fn join_digits<W: Word>(class: &Class, tree: usize, weighted: &[W], join: Join, accumulators: &mut [W]) {
    let bundle = &class.bundles[tree % class.bundles.len()];
    let digits = weighted.chunks_exact(W::LANES * class.width as usize);
    for (&channel, digit) in bundle.iter().zip(digits) {
        let out = &mut accumulators[channel * W::LANES..][..W::LANES];
        for (bit, sums) in digit.chunks_exact(W::LANES).enumerate() {
            let shift = class.low as usize + bit;
            let negative = class.top && bit + 1 == class.width as usize;
            let subtract = negative != (join == Join::Subtract);
            for (slot, sum) in out.iter_mut().zip(sums) {
                let term = *sum << shift;
                *slot = if subtract { slot.wrapping_sub(&term) } else { slot.wrapping_add(&term) };
            }
        }
    }
}

/// The holder's second half: `q 2^low (correction + sum)` for every weight's digit `q`; corrections are in the order
/// column block, tree, lane, without the lanes beyond the last column.
pub(super) fn correct<W: Word>(
    class: &Class,
    trees: std::ops::Range<usize>,
    holes: &[u32],
    sums: &mut [W],
    corrections: &[u64],
    accumulators: &mut [W],
) {
    let count = trees.len();
    let blocks = sums.len() / (count * W::LANES).max(1);
    let per_block = accumulators.len() / blocks.max(1);
    let blocks = accumulators.par_chunks_mut(per_block.max(1)).zip(sums.par_chunks_mut(count * W::LANES));
    blocks.zip(corrections.par_chunks(count * W::LANES)).for_each(|((accumulators, sums), corrections)| {
        let lanes = corrections.len() / count;
        for (at, tree) in trees.clone().enumerate() {
            let sum = &mut sums[at * W::LANES..][..lanes];
            for (slot, correction) in sum.iter_mut().zip(&corrections[at * lanes..]) {
                *slot = slot.wrapping_add(&W::truncate(*correction));
            }
            let bundle = &class.bundles[tree % class.bundles.len()];
            for (s, &channel) in bundle.iter().enumerate() {
                let digit = signed_digit(class, holes[at] >> (s as u32 * class.width));
                let factor = W::truncate(digit << class.low);
                let out = &mut accumulators[channel * W::LANES..][..lanes];
                for (slot, value) in out.iter_mut().zip(sum.iter()) {
                    *slot = slot.wrapping_add(&value.wrapping_mul(&factor));
                }
            }
        }
    });
}

/// The value of the lowest digit of a hole, modulo `2^64`; the sign is a mask, never a branch.
const fn signed_digit(class: &Class, hole: u32) -> u64 {
    let digit = hole as u64 & ((1 << class.width) - 1);
    let sign = (digit >> (class.width - 1)) & class.top as u64;
    digit.wrapping_sub(sign << class.width)
}
