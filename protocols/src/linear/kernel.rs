//! The arithmetic of expanded trees, strip by strip of eight columns: from the leaves of some trees to their message and
//! their part of the products without leaving the first-level cache.
//!
//! A hash of a leaf is a block of [`Word::LANES`] columns. Accumulators are laid out `[column block][channel][lane]`,
//! messages `[strip][part][class][column block][tree][lane]` without the lanes beyond the last column, so that strips are
//! independent of each other, and whole ones begin at a byte.
//!
//! Rows of a class are added up before any of it reaches the accumulators: as bundles recur with every row, quads of trees
//! recur with a period, and every quad of one period has its slots.

use std::ops::Range;

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::layer::Planted;
use super::layout::{Class, Part, STRIP, message_len};
use super::trees::Trees;
use super::word::Word;
use super::{Geometry, im2col_row};
use crate::kernels::{Expansion, Quad, hole_bits};
use crate::ot::Hash;

/// Blocks hashed by one task at the least.
const TASK: usize = 1 << 18;

/// Column blocks of `columns` columns.
pub(super) const fn column_blocks<W: Word>(columns: usize) -> usize {
    columns.div_ceil(W::LANES)
}

/// Some parts of a layer's trees, and the keys under which they are expanded, one for each column block.
pub(super) struct Chunk<'a> {
    parts: Vec<Leaves<'a>>,
    hashes: &'a [Hash],
    columns: usize,
}

/// The leaves of one class of a part.
struct Leaves<'a> {
    class: &'a Class,
    rows: Range<usize>,
    /// The first row's place in the matrix.
    place: usize,
    trees: usize,
    leaves: Vec<Quad>,
    /// The bits of the holes; the owner has none.
    holes: Option<Zeroizing<Vec<u8>>>,
}

impl<'a> Leaves<'a> {
    fn new(class: &'a Class, trees: &Trees, rows: &Range<usize>, place: usize) -> Self {
        let numbers = class.trees_of(rows);
        let holes = trees.holes(numbers.clone()).map(|holes| {
            let quads = holes.chunks(4);
            Zeroizing::new(quads.flat_map(|holes| hole_bits(holes, class.depth() as usize)).collect())
        });
        let (trees, leaves) = (numbers.len(), trees.leaves(class, numbers));
        Self { class, rows: rows.clone(), place, trees, leaves, holes }
    }
}

impl<'a> Chunk<'a> {
    pub(super) fn new(planted: &'a Planted, parts: &[Part], hashes: &'a [Hash], columns: usize) -> Self {
        let mut leaves = Vec::new();
        let mut place = 0;
        for Part { classes, rows } in parts {
            let of_class = |(class, trees): &'a (Class, Trees)| Leaves::new(class, trees, rows, place);
            leaves.extend(planted.classes[classes.clone()].iter().map(of_class));
            place += rows.len();
        }
        Self { parts: leaves, hashes, columns }
    }

    /// The rows of the input that the parts are about, each of whole column blocks.
    pub(super) fn matrix<W: Word>(&self, geometry: &Geometry, images: usize, x: &[W]) -> Vec<W> {
        let width = self.hashes.len() * W::LANES;
        let rows = self.parts.last().map_or(0, |part| part.place + part.rows.len());
        let mut matrix = vec![W::zero(); rows * width];
        for parts in self.parts.chunk_by(|a, b| a.place == b.place) {
            let Leaves { class, rows, place, .. } = &parts[0];
            let out = &mut matrix[place * width..][..rows.len() * width];
            out.par_chunks_exact_mut(width).enumerate().for_each(|(row, out)| {
                im2col_row(geometry, images, class.group, rows.start + row, x, &mut out[..self.columns]);
            });
        }
        matrix
    }

    /// Bytes of the message.
    pub(super) fn message_len(&self) -> usize {
        let trees: Vec<_> = self.parts.iter().map(|part| (part.class.ring, part.trees)).collect();
        message_len(&trees, self.columns)
    }

    /// The owner's half: the message `x - u` for the input rows of `matrix`. Joins `2^low v` to the accumulators.
    pub(super) fn send<W: Word>(&self, matrix: &[W], accumulators: &mut [W]) -> Vec<u8> {
        let mut message = vec![0; self.message_len()];
        let strips = self.strips(accumulators).zip(message.par_chunks_mut(self.strip_len())).enumerate();
        strips.with_min_len(self.strips_of_a_task::<W>()).for_each_init(
            Scratch::default,
            |scratch, (strip, ((accumulators, hashes), message))| {
                let columns = strip * STRIP..self.columns.min((strip + 1) * STRIP);
                let mut message = message;
                for part in &self.parts {
                    let mut values = scratch.take_values(part.trees * columns.len());
                    let mut rest = &mut values[..];
                    for (block, (hash, accumulators)) in Self::blocks(hashes, accumulators).enumerate() {
                        scratch.start(part);
                        scratch.expand(part, hash, accumulators);
                        let start = columns.start + block * W::LANES;
                        let lanes = W::LANES.min(columns.end - start);
                        let (values, after) = rest.split_at_mut(part.trees * lanes);
                        self.subtract(part, scratch.sums(), &matrix[start..], lanes, values);
                        rest = after;
                    }
                    let ring = part.class.ring;
                    let (packed, after) = message.split_at_mut(ring.packed_len(values.len()));
                    ring.pack_into(&values, packed);
                    message = after;
                    scratch.values = values;
                }
            },
        );
        message
    }

    /// The holder's half: joins `2^low (q (c + S) - V)` to the accumulators, with the corrections `c` of the message.
    pub(super) fn receive<W: Word>(&self, message: &[u8], accumulators: &mut [W]) {
        let strips = self.strips(accumulators).zip(message.par_chunks(self.strip_len())).enumerate();
        strips.with_min_len(self.strips_of_a_task::<W>()).for_each_init(
            Scratch::default,
            |scratch, (strip, ((accumulators, hashes), message))| {
                let columns = STRIP.min(self.columns - strip * STRIP);
                let mut message = message;
                for part in &self.parts {
                    let mut values = scratch.take_values(part.trees * columns);
                    let ring = part.class.ring;
                    let (packed, after) = message.split_at(ring.packed_len(values.len()));
                    ring.unpack_into(packed, &mut values);
                    message = after;
                    let mut rest = &values[..];
                    for (block, (hash, accumulators)) in Self::blocks(hashes, accumulators).enumerate() {
                        let lanes = W::LANES.min(columns - block * W::LANES);
                        let (corrections, after) = rest.split_at(part.trees * lanes);
                        scratch.start(part);
                        scratch.correct(corrections, lanes);
                        scratch.expand(part, hash, accumulators);
                        rest = after;
                    }
                    scratch.values = values;
                }
            },
        );
    }

    /// Bytes of a whole strip.
    fn strip_len(&self) -> usize {
        self.parts.iter().map(|part| part.class.ring.packed_len(part.trees * STRIP)).sum()
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
        let leaves: usize = self.parts.iter().map(|part| part.leaves.len()).sum();
        (TASK / (4 * leaves * (STRIP / W::LANES)).max(1)).max(1)
    }

    /// Keys and accumulators of every column block of a strip.
    fn blocks<'b, W: Word>(
        hashes: &'b [Hash],
        accumulators: &'b mut [W],
    ) -> impl Iterator<Item = (&'b Hash, &'b mut [W])> {
        let per_block = accumulators.len() / hashes.len().max(1);
        hashes.iter().zip(accumulators.chunks_exact_mut(per_block.max(1)))
    }

    /// The corrections of one column block, `[tree][lane]`.
    fn subtract<W: Word>(&self, part: &Leaves<'_>, sums: &[W], matrix: &[W], lanes: usize, out: &mut [W]) {
        let (bundles, width) = (part.class.bundles.len(), self.hashes.len() * W::LANES);
        let rows = sums.chunks(bundles * W::LANES).zip(out.chunks_exact_mut(bundles * lanes));
        for (row, (sums, out)) in rows.enumerate() {
            let x = &matrix[(part.place + row) * width..][..lanes];
            for (sums, out) in sums.chunks_exact(W::LANES).zip(out.chunks_exact_mut(lanes)) {
                for ((slot, x), u) in out.iter_mut().zip(x).zip(sums) {
                    *slot = x.wrapping_sub(u);
                }
            }
        }
    }
}

/// What a task needs for one part and column block at a time, and the message of a strip.
#[derive(Default)]
struct Scratch<W> {
    sums: Vec<Quad>,
    slots: Vec<Quad>,
    values: Vec<W>,
}

impl<W: Word> Scratch<W> {
    /// Makes room for a part.
    fn start(&mut self, part: &Leaves<'_>) {
        let quads = part.trees.div_ceil(4);
        self.sums.resize(quads, Quad::ZERO);
        self.slots.clear();
        self.slots.resize(period(part.class).min(quads) * part.class.depth() as usize, Quad::ZERO);
    }

    /// Corrections of the part, `[tree][lane]`.
    fn correct(&mut self, corrections: &[W], lanes: usize) {
        let sums: &mut [W] = bytemuck::cast_slice_mut(&mut self.sums);
        if lanes == W::LANES {
            sums[..corrections.len()].copy_from_slice(corrections);
        } else {
            for (sums, corrections) in sums.chunks_exact_mut(W::LANES).zip(corrections.chunks_exact(lanes)) {
                sums[..lanes].copy_from_slice(corrections);
            }
        }
    }

    /// Expands the part for one column block, and joins its products to the accumulators.
    fn expand(&mut self, part: &Leaves<'_>, hash: &Hash, accumulators: &mut [W]) {
        let Leaves { class, trees, leaves, holes, .. } = part;
        let depth = class.depth() as usize;
        let of = Expansion { depth, trees: *trees, leaves, holes: holes.as_ref().map(|holes| &holes[..]) };
        hash.bit_sums::<W>(of, &mut self.sums, &mut self.slots);
        let slots: &[W] = bytemuck::cast_slice(&self.slots);
        let (width, bundles) = (class.width as usize, class.bundles.len());
        let mut bundle = 0;
        for tree in 0..(self.slots.len() / depth * 4).min(*trees) {
            for level in 0..depth {
                let (channel, bit) = (class.bundles[bundle][level / width], level % width);
                let terms = &slots[((tree / 4 * depth + level) * 4 + tree % 4) * W::LANES..][..W::LANES];
                let out = &mut accumulators[channel * W::LANES..][..W::LANES];
                let place = class.low as usize + bit;
                let terms = out.iter_mut().zip(terms);
                // Which bit is the sign is public.
                if class.top && bit + 1 == width {
                    terms.for_each(|(slot, term)| *slot = slot.wrapping_sub(&(*term << place)));
                } else {
                    terms.for_each(|(slot, term)| *slot = slot.wrapping_add(&(*term << place)));
                }
            }
            bundle = if bundle + 1 == bundles { 0 } else { bundle + 1 };
        }
    }

    fn sums(&self) -> &[W] {
        bytemuck::cast_slice(&self.sums)
    }

    /// The buffer of a strip's elements, to be given back.
    fn take_values(&mut self, len: usize) -> Vec<W> {
        let mut values = std::mem::take(&mut self.values);
        values.resize(len, W::zero());
        values
    }
}

/// Quads of trees after which the bundles are the same again.
const fn period(class: &Class) -> usize {
    let bundles = class.bundles.len();
    match bundles % 4 {
        0 => bundles / 4,
        2 => bundles / 2,
        _ => bundles,
    }
}
