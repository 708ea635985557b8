//! The arithmetic of expanded trees, strip by strip of eight columns: from the leaves of some trees to their message and
//! their part of the products without leaving the first-level cache.
//!
//! A hash of a leaf is a block of [`Word::LANES`] columns. Accumulators are laid out `[column block][channel][lane]`,
//! messages `[column block][tree][lane]` without the lanes beyond the last column, so that strips are independent of each
//! other, and whole ones begin at a byte.

use std::ops::Range;

use rayon::prelude::*;

use super::layout::Class;
use super::word::Word;
use crate::kernels::{Digits, Quad};
use crate::ot::Hash;

/// Columns of a strip.
const STRIP: usize = 8;

/// Blocks hashed by one task at the least.
const TASK: usize = 1 << 18;

/// Column blocks of `columns` columns.
pub(super) const fn column_blocks<W: Word>(columns: usize) -> usize {
    columns.div_ceil(W::LANES)
}

/// The leaves of some of a class's trees, and the keys under which they are expanded, one for each column block.
pub(super) struct Chunk<'a> {
    class: &'a Class,
    trees: Range<usize>,
    leaves: &'a [Quad],
    hashes: &'a [Hash],
    columns: usize,
    /// Output channels of the bundles, one bundle after the other.
    channels: Vec<usize>,
}

impl<'a> Chunk<'a> {
    pub(super) fn new(
        class: &'a Class,
        trees: Range<usize>,
        leaves: &'a [Quad],
        hashes: &'a [Hash],
        columns: usize,
    ) -> Self {
        Self { class, trees, leaves, hashes, columns, channels: class.bundles.concat() }
    }

    /// The owner's half: the message `x - u` for the input rows of `matrix`, `[row][column]`, each of whole column blocks,
    /// from the first tree's row on. Joins `2^low v` to the accumulators.
    pub(super) fn send<W: Word>(&self, matrix: &[W], accumulators: &mut [W]) -> Vec<u8> {
        let ring = self.class.ring;
        let mut message = vec![0; ring.packed_len(self.trees.len() * self.columns)];
        let per_strip = ring.packed_len(self.trees.len() * STRIP);
        let strips = self.strips(accumulators).zip(message.par_chunks_mut(per_strip)).enumerate();
        strips.with_min_len(self.strips_of_a_task::<W>()).for_each_init(
            || Scratch::new(self),
            |scratch, (strip, ((accumulators, hashes), message))| {
                let columns = strip * STRIP..self.columns.min((strip + 1) * STRIP);
                let mut values = scratch.take_values(self.trees.len() * columns.len());
                let mut rest = &mut values[..];
                for (block, (hash, accumulators)) in self.blocks(hashes, accumulators).enumerate() {
                    scratch.expand(self, hash);
                    self.join(scratch, accumulators);
                    let start = columns.start + block * W::LANES;
                    let lanes = W::LANES.min(columns.end - start);
                    let (values, after) = rest.split_at_mut(self.trees.len() * lanes);
                    self.subtract(scratch.sums(), &matrix[start..], lanes, values);
                    rest = after;
                }
                ring.pack_into(&values, message);
                scratch.values = values;
            },
        );
        message
    }

    /// The holder's half: joins `2^low (q (c + S) - V)` to the accumulators, with the corrections `c` of the message.
    pub(super) fn receive<W: Word>(&self, holes: &[u32], message: &[u8], accumulators: &mut [W]) {
        let ring = self.class.ring;
        let factors: Vec<W> = holes
            .iter()
            .flat_map(|hole| (0..self.digits().count).map(move |s| hole >> (s as u32 * self.class.width)))
            .map(|digits| W::truncate(signed_digit(self.class, digits) << self.class.low))
            .collect();
        let per_strip = ring.packed_len(self.trees.len() * STRIP);
        let strips = self.strips(accumulators).zip(message.par_chunks(per_strip)).enumerate();
        strips.with_min_len(self.strips_of_a_task::<W>()).for_each_init(
            || Scratch::new(self),
            |scratch, (strip, ((accumulators, hashes), message))| {
                let columns = strip * STRIP..self.columns.min((strip + 1) * STRIP);
                let mut values = scratch.take_values(self.trees.len() * columns.len());
                ring.unpack_into(message, &mut values);
                let mut rest = &values[..];
                for (block, (hash, accumulators)) in self.blocks(hashes, accumulators).enumerate() {
                    scratch.expand(self, hash);
                    let lanes = W::LANES.min(columns.end - columns.start - block * W::LANES);
                    let (corrections, after) = rest.split_at(self.trees.len() * lanes);
                    scratch.add(corrections, lanes);
                    self.correct(scratch, &factors, accumulators);
                    rest = after;
                }
                scratch.values = values;
            },
        );
    }

    fn digits(&self) -> Digits {
        let (count, width) = (self.class.bundles[0].len(), self.class.width as usize);
        Digits { count, width, signed: self.class.top }
    }

    /// Accumulators and keys of every strip.
    fn strips<'b, W: Word>(
        &'b self,
        accumulators: &'b mut [W],
    ) -> impl IndexedParallelIterator<Item = (&'b mut [W], &'b [Hash])> {
        let blocks = STRIP / W::LANES;
        let per_block = accumulators.len() / self.hashes.len().max(1);
        accumulators.par_chunks_mut((blocks * per_block).max(1)).zip(self.hashes.par_chunks(blocks))
    }

    /// Strips that are worth a task of their own.
    fn strips_of_a_task<W: Word>(&self) -> usize {
        (TASK / (4 * self.leaves.len() * (STRIP / W::LANES)).max(1)).max(1)
    }

    /// Keys and accumulators of every column block of a strip.
    fn blocks<'b, W: Word>(
        &self,
        hashes: &'b [Hash],
        accumulators: &'b mut [W],
    ) -> impl Iterator<Item = (&'b Hash, &'b mut [W])> {
        let per_block = accumulators.len() / hashes.len().max(1);
        hashes.iter().zip(accumulators.chunks_exact_mut(per_block.max(1)))
    }

    /// For every tree, its index in the chunk and its bundle's number.
    fn numbered(&self) -> impl Iterator<Item = (usize, usize)> + use<'_> {
        let bundles = self.class.bundles.len();
        let mut bundle = self.trees.start % bundles;
        (0..self.trees.len()).map(move |at| {
            let this = bundle;
            bundle = if bundle + 1 == bundles { 0 } else { bundle + 1 };
            (at, this)
        })
    }

    /// Joins the digit-weighted sums of one column block.
    fn join<W: Word>(&self, scratch: &Scratch<W>, accumulators: &mut [W]) {
        let (count, low) = (self.digits().count, self.class.low as usize);
        let weighted: &[W] = bytemuck::cast_slice(&scratch.weighted);
        for (at, bundle) in self.numbered() {
            for s in 0..count {
                let terms = &weighted[place(at, s, count) * W::LANES..][..W::LANES];
                let out = &mut accumulators[self.channels[bundle * count + s] * W::LANES..][..W::LANES];
                for (slot, term) in out.iter_mut().zip(terms) {
                    *slot = slot.wrapping_add(&(*term << low));
                }
            }
        }
    }

    /// Joins `factor (c + S) - 2^low V` of one column block; the corrections have been added.
    fn correct<W: Word>(&self, scratch: &Scratch<W>, factors: &[W], accumulators: &mut [W]) {
        let (count, low) = (self.digits().count, self.class.low as usize);
        let (sums, weighted): (&[W], &[W]) = (scratch.sums(), bytemuck::cast_slice(&scratch.weighted));
        for (at, bundle) in self.numbered() {
            let values = &sums[at * W::LANES..][..W::LANES];
            for s in 0..count {
                let terms = &weighted[place(at, s, count) * W::LANES..][..W::LANES];
                let out = &mut accumulators[self.channels[bundle * count + s] * W::LANES..][..W::LANES];
                let factor = factors[at * count + s];
                for ((slot, value), term) in out.iter_mut().zip(values).zip(terms) {
                    let difference = value.wrapping_mul(&factor).wrapping_sub(&(*term << low));
                    *slot = slot.wrapping_add(&difference);
                }
            }
        }
    }

    /// The corrections of one column block, `[tree][lane]`.
    fn subtract<W: Word>(&self, sums: &[W], matrix: &[W], lanes: usize, out: &mut [W]) {
        let bundles = self.class.bundles.len();
        let width = self.hashes.len() * W::LANES;
        let mut row = 0;
        for (at, bundle) in self.numbered() {
            let x = &matrix[row * width..][..W::LANES];
            let sums = &sums[at * W::LANES..][..W::LANES];
            for ((slot, x), u) in out[at * lanes..][..lanes].iter_mut().zip(x).zip(sums) {
                *slot = x.wrapping_sub(u);
            }
            row += usize::from(bundle + 1 == bundles);
        }
    }
}

/// Where the block of a tree's digit is within the weighted sums.
const fn place(tree: usize, digit: usize, digits: usize) -> usize {
    (tree / 4 * digits + digit) * 4 + tree % 4
}

/// The value of the lowest digit of a hole, modulo `2^64`; the sign is a mask, never a branch.
const fn signed_digit(class: &Class, hole: u32) -> u64 {
    let digit = hole as u64 & ((1 << class.width) - 1);
    let sign = (digit >> (class.width - 1)) & class.top as u64;
    digit.wrapping_sub(sign << class.width)
}

/// What a task needs for one column block at a time, and the message of a strip.
struct Scratch<W> {
    sums: Vec<Quad>,
    weighted: Vec<Quad>,
    values: Vec<W>,
}

impl<W: Word> Scratch<W> {
    fn new(chunk: &Chunk<'_>) -> Self {
        let quads = chunk.trees.len().div_ceil(4);
        let weighted = vec![Quad::ZERO; quads * chunk.digits().count];
        Self { sums: vec![Quad::ZERO; quads], weighted, values: Vec::new() }
    }

    fn expand(&mut self, chunk: &Chunk<'_>, hash: &Hash) {
        hash.digit_sums::<W>(chunk.digits(), chunk.leaves, &mut self.sums, &mut self.weighted);
    }

    fn sums(&self) -> &[W] {
        bytemuck::cast_slice(&self.sums)
    }

    /// Adds corrections, `[tree][lane]`, to the sums.
    fn add(&mut self, corrections: &[W], lanes: usize) {
        let sums: &mut [W] = bytemuck::cast_slice_mut(&mut self.sums);
        for (sums, corrections) in sums.chunks_exact_mut(W::LANES).zip(corrections.chunks_exact(lanes)) {
            for (sum, correction) in sums.iter_mut().zip(corrections) {
                *sum = sum.wrapping_add(correction);
            }
        }
    }

    /// The buffer of a strip's elements, to be given back.
    fn take_values(&mut self, len: usize) -> Vec<W> {
        let mut values = std::mem::take(&mut self.values);
        values.resize(len, W::zero());
        values
    }
}
