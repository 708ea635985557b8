//! The arithmetic of expanded trees, strip by strip of eight columns: from the leaves of some trees
//! to their message and their part of the products without leaving the first-level cache.
//!
//! A hash of a leaf is a block of [`Word::LANES`] columns. Accumulators are laid out `[column
//! block][channel][lane]`, messages `[strip][part][class][column block][tree][lane]` without the
//! lanes beyond the last column, so that strips are independent of each other, and whole ones begin
//! at a byte. Keys are made where they are used, run by run ([`keys`](crate::linear::keys)).
//!
//! Rows of a class are added up before any of it reaches the accumulators: as bundles recur with
//! every row, quads of trees recur with a period, and every quad of one period has its slots.

use std::ops::Range;

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::TreeState;
use super::layout::{Class, Part, STRIP, message_len};
use super::trees::Trees;
use crate::bits::Word;
use crate::kernels::{Expansion, Quad, puncture_bits};
use crate::linear::keys::{Allotment, Keys, Run};
use crate::linear::leaves::Leaves;
use crate::linear::{Geometry, im2col_row};
use crate::ot::Hash;

/// Blocks hashed by one task at the least.
const TASK: usize = 1 << 18;

/// Column blocks of `columns` columns.
pub(super) const fn column_blocks<W: Word>(columns: usize) -> usize {
    columns.div_ceil(W::LANES)
}

/// Some parts of a layer's trees, and the keys under which they are expanded.
pub(super) struct Chunk<'a> {
    parts: Vec<Expanding<'a>>,
    keys: &'a Keys,
    /// How many of them, from the first on.
    keys_used: usize,
    /// Its number within the expansion.
    number: usize,
    columns: usize,
}

/// The leaves of one class of a part.
struct Expanding<'a> {
    class: &'a Class,
    rows: Range<usize>,
    /// The first row's place in the matrix.
    place: usize,
    trees: usize,
    leaves: Leaves,
    /// The bits of the punctures; the sender has none.
    punctures: Option<Zeroizing<Vec<u8>>>,
    /// What is expanded under which key.
    runs: Vec<Run>,
}

impl<'a> Expanding<'a> {
    fn new(
        (class, trees): &'a (Class, Trees),
        rows: &Range<usize>,
        place: usize,
        keys: &mut Allotment,
    ) -> Self {
        let numbers = class.trees_of(rows);
        // Holes become a byte for every quad and level, `[quad][level]`: two equal bits a tree, the
        // mask of its two words of 64 bits.
        let punctures = trees.punctures(numbers.clone()).map(|punctures| {
            let quads = punctures.chunks(4);
            Zeroizing::new(
                quads
                    .flat_map(|punctures| puncture_bits(punctures, class.depth() as usize))
                    .collect(),
            )
        });
        let (trees, leaves) = (numbers.len(), trees.leaves(class, numbers));
        let quads = trees.div_ceil(4);
        // Quads a period apart add up in the same slots. Where there are fewer quads than that,
        // each has slots of its own.
        let runs = keys.runs(class.depth(), class.period().min(quads), quads);
        Self { class, rows: rows.clone(), place, trees, leaves, punctures, runs }
    }
}

impl<'a> Chunk<'a> {
    /// The chunk of this number.
    pub(super) fn new(
        state: &'a TreeState,
        (number, parts): (usize, &[Part]),
        keys: &'a Keys,
        columns: usize,
    ) -> Self {
        // Keys are numbered through the whole chunk, in the public order of parts and classes, so
        // that both parties give a tree the same key.
        let (mut all, mut allotment) = (Vec::new(), Allotment::default());
        let mut place = 0;
        for Part { classes, rows } in parts {
            all.extend(
                state.classes[classes.clone()]
                    .iter()
                    .map(|class| Expanding::new(class, rows, place, &mut allotment)),
            );
            place += rows.len();
        }
        Self { parts: all, keys, keys_used: allotment.keys(), number, columns }
    }

    /// The rows of the input that the parts are about, each of whole column blocks.
    pub(super) fn matrix<W: Word>(&self, geometry: &Geometry, images: usize, x: &[W]) -> Vec<W> {
        let width = column_blocks::<W>(self.columns) * W::LANES;
        let rows = self.parts.last().map_or(0, |part| part.place + part.rows.len());
        let mut matrix = vec![W::zero(); rows * width];
        for parts in self.parts.chunk_by(|a, b| a.place == b.place) {
            let Expanding { class, rows, place, .. } = &parts[0];
            let out = &mut matrix[place * width..][..rows.len() * width];
            out.par_chunks_exact_mut(width).enumerate().for_each(|(row, out)| {
                im2col_row(
                    geometry,
                    images,
                    class.group,
                    rows.start + row,
                    x,
                    &mut out[..self.columns],
                );
            });
        }
        matrix
    }

    /// Bytes of the message.
    pub(super) fn message_len(&self) -> usize {
        let trees: Vec<_> = self.parts.iter().map(|part| (part.class.ring, part.trees)).collect();
        message_len(&trees, self.columns)
    }

    /// The sender's half: the message `x - u` for the input rows of `matrix`. Joins `2^low v` to
    /// the accumulators.
    pub(super) fn send<W: Word>(&self, matrix: &[W], accumulators: &mut [W]) -> Vec<u8> {
        let mut message = vec![0; self.message_len()];
        // A strip's accumulators and bytes of the message belong to it alone. So strips are
        // computed in any order, on any core.
        let strips =
            self.strips(accumulators).zip(message.par_chunks_mut(self.strip_len())).enumerate();
        strips.with_min_len(self.strips_of_a_task::<W>()).for_each_init(
            Scratch::default,
            |scratch, (strip, (accumulators, message))| {
                let columns = strip * STRIP..self.columns.min((strip + 1) * STRIP);
                scratch.derive(self, strip);
                let mut message = message;
                for part in &self.parts {
                    // The part's corrections, `[column block][tree][lane]`. They are moved out of
                    // the scratch, which the kernel borrows meanwhile; `rest` is what is still to
                    // be filled.
                    let mut values = scratch.take_values(part.trees * columns.len());
                    let mut rest = &mut values[..];
                    for (block, accumulators) in self.blocks(strip, accumulators) {
                        scratch.start(part);
                        scratch.expand(self, part, block, accumulators);
                        let start = block * W::LANES;
                        let lanes = W::LANES.min(columns.end - start);
                        let (values, after) = rest.split_at_mut(part.trees * lanes);
                        self.subtract(part, scratch.sums(), &matrix[start..], lanes, values);
                        rest = after;
                    }
                    // Every part begins with a whole byte, in the last strip too: its length is
                    // rounded up.
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

    /// The receiver's half: joins `2^low (q (c + S) - V)` to the accumulators, with the corrections
    /// `c` of the message.
    pub(super) fn receive<W: Word>(&self, message: &[u8], accumulators: &mut [W]) {
        let strips =
            self.strips(accumulators).zip(message.par_chunks(self.strip_len())).enumerate();
        strips.with_min_len(self.strips_of_a_task::<W>()).for_each_init(
            Scratch::default,
            |scratch, (strip, (accumulators, message))| {
                let columns = strip * STRIP..self.columns.min((strip + 1) * STRIP);
                scratch.derive(self, strip);
                let mut message = message;
                for part in &self.parts {
                    let mut values = scratch.take_values(part.trees * columns.len());
                    let ring = part.class.ring;
                    let (packed, after) = message.split_at(ring.packed_len(values.len()));
                    ring.unpack_into(packed, &mut values);
                    message = after;
                    let mut rest = &values[..];
                    for (block, accumulators) in self.blocks(strip, accumulators) {
                        let lanes = W::LANES.min(columns.end - block * W::LANES);
                        let (corrections, after) = rest.split_at(part.trees * lanes);
                        // The corrections are put in the place of the sums first: the kernel adds
                        // them up to `c + S`. That is what it multiplies by the puncture's bits.
                        scratch.start(part);
                        scratch.correct(corrections, lanes);
                        scratch.expand(self, part, block, accumulators);
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

    /// Accumulators of every strip.
    fn strips<'b, W: Word>(
        &self,
        accumulators: &'b mut [W],
    ) -> impl IndexedParallelIterator<Item = &'b mut [W]> + use<'b, W> {
        let blocks = column_blocks::<W>(self.columns);
        let per_block = accumulators.len() / blocks.max(1);
        accumulators.par_chunks_mut((STRIP / W::LANES * per_block).max(1))
    }

    /// Strips that are worth a task of their own.
    fn strips_of_a_task<W: Word>(&self) -> usize {
        let leaves: usize = self.parts.iter().map(|part| part.leaves.quads().len()).sum();
        (TASK / (4 * leaves * (STRIP / W::LANES)).max(1)).max(1)
    }

    /// Numbers and accumulators of every column block of a strip.
    fn blocks<'b, W: Word>(
        &self,
        strip: usize,
        accumulators: &'b mut [W],
    ) -> impl Iterator<Item = (usize, &'b mut [W])> + use<'b, W> {
        let blocks = column_blocks::<W>(STRIP.min(self.columns - strip * STRIP));
        let per_block = accumulators.len() / blocks;
        accumulators
            .chunks_exact_mut(per_block.max(1))
            .enumerate()
            .map(move |(block, accumulators)| (strip * (STRIP / W::LANES) + block, accumulators))
    }

    /// The corrections of one column block, `[tree][lane]`.
    fn subtract<W: Word>(
        &self,
        part: &Expanding<'_>,
        sums: &[W],
        matrix: &[W],
        lanes: usize,
        out: &mut [W],
    ) {
        let (bundles, width) =
            (part.class.bundles.len(), column_blocks::<W>(self.columns) * W::LANES);
        let rows = sums.chunks(bundles * W::LANES).zip(out.chunks_exact_mut(bundles * lanes));
        // Trees are numbered `row * bundles + bundle`: all of a row's mask the same elements of the
        // input.
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
    /// The hashes under a chunk's keys, `[column block of a strip][key]`.
    hashes: Vec<Hash>,
}

impl<W: Word> Scratch<W> {
    /// Derives the keys of a strip, all at once: their schedules are chains that the processor
    /// computes side by side.
    fn derive(&mut self, chunk: &Chunk<'_>, strip: usize) {
        let blocks = column_blocks::<W>(strip * STRIP)
            ..column_blocks::<W>(chunk.columns.min((strip + 1) * STRIP));
        self.hashes.clear();
        self.hashes.extend(blocks.flat_map(|block| {
            (0..chunk.keys_used).map(move |key| chunk.keys.hash(chunk.number, key, block))
        }));
    }

    /// Makes room for a part.
    fn start(&mut self, part: &Expanding<'_>) {
        let quads = part.trees.div_ceil(4);
        // Sums need not be cleared: the sender's are overwritten, the receiver's begin with its
        // corrections. What is stale stands in lanes or trees behind the last, which nobody reads.
        self.sums.resize(quads, Quad::ZERO);
        self.slots.clear();
        self.slots.resize(part.class.period().min(quads) * part.class.depth() as usize, Quad::ZERO);
    }

    /// Corrections of the part, `[tree][lane]`.
    fn correct(&mut self, corrections: &[W], lanes: usize) {
        let sums: &mut [W] = bytemuck::cast_slice_mut(&mut self.sums);
        if lanes == W::LANES {
            sums[..corrections.len()].copy_from_slice(corrections);
        } else {
            for (sums, corrections) in
                sums.chunks_exact_mut(W::LANES).zip(corrections.chunks_exact(lanes))
            {
                sums[..lanes].copy_from_slice(corrections);
            }
        }
    }

    /// Expands the part for one column block, and joins its products to the accumulators.
    fn expand(
        &mut self,
        chunk: &Chunk<'_>,
        part: &Expanding<'_>,
        block: usize,
        accumulators: &mut [W],
    ) {
        // The slots now hold what belongs to one bit of the digits,
        // `[quad modulo the period][level][tree of the quad][lane]`.
        self.add_up(chunk, part, block);
        let Expanding { class, trees, .. } = part;
        let depth = class.depth() as usize;
        let slots: &[W] = bytemuck::cast_slice(&self.slots);
        let (width, bundles) = (class.width as usize, class.bundles.len());
        // Quads of a period have as many trees as the least common multiple of 4 and the bundles,
        // and a part begins with bundle 0. So a slot's bundle is its tree's number modulo the
        // bundles.
        let mut bundle = 0;
        for tree in 0..(self.slots.len() / depth * 4).min(*trees) {
            for level in 0..depth {
                // A puncture has the digit of the first channel in its lowest bits. So levels are
                // channel by channel, and bit by bit.
                let (channel, bit) = (class.bundles[bundle][level / width], level % width);
                let terms =
                    &slots[((tree / 4 * depth + level) * 4 + tree % 4) * W::LANES..][..W::LANES];
                let out = &mut accumulators[channel * W::LANES..][..W::LANES];
                let place = class.low as usize + bit;
                let terms = out.iter_mut().zip(terms);
                // The top bit of a weight counts negative in two's complement. Which bit is the
                // sign is public.
                if class.top && bit + 1 == width {
                    terms.for_each(|(slot, term)| *slot = slot.wrapping_sub(&(*term << place)));
                } else {
                    terms.for_each(|(slot, term)| *slot = slot.wrapping_add(&(*term << place)));
                }
            }
            bundle = if bundle + 1 == bundles { 0 } else { bundle + 1 };
        }
    }

    /// Adds the leaves of a part up, run by run.
    fn add_up(&mut self, chunk: &Chunk<'_>, part: &Expanding<'_>, block: usize) {
        let Expanding { class, trees, leaves, punctures, .. } = part;
        let depth = class.depth() as usize;
        let period = self.slots.len() / depth;
        for Run { quads, turn, key } in part.runs.iter().cloned() {
            let of = Expansion {
                depth,
                trees: (4 * quads.len()).min(trees - 4 * quads.start),
                leaves: &leaves.quads()[quads.start << depth..quads.end << depth],
                punctures: punctures
                    .as_ref()
                    .map(|punctures| &punctures[quads.start * depth..quads.end * depth]),
            };
            // A run is whole periods, or a part of one.
            let slots = turn * depth..(turn + quads.len()).min(period) * depth;
            let hash = &self.hashes[block % (STRIP / W::LANES) * chunk.keys_used + key];
            hash.bit_sums::<W>(of, &mut self.sums[quads], &mut self.slots[slots]);
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
