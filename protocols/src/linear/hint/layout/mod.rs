//! How a layer becomes products of polynomials: tiles of outputs, phases of a stride, blocks of
//! channels. Public, the same at both parties.
//!
//! *Phases.* With stride `s`, tap `i` of a kernel (dilation `d`, padding `p`) meets row `y s + i
//! d - p`: row `y + shift` of phase `(i d - p) mod s`. So every convolution is one of stride 1
//! over phase channels, and inputs in phases without taps are in none.
//!
//! *Blocks.* A polynomial holds some phase channels of one tile's window, one block each: the
//! element at row `r` and column `x` of block `c` is coefficient `c block + r stride + x`. A kernel
//! is a polynomial of negative exponents, so the output at row `y` and column `x` is coefficient `y
//! stride + x` of its product. With several outputs a polynomial, output `m` is moved up by `m`
//! times all blocks.
//!
//! Padding on the right of a row is padding on the left of the next, and padding below a block is
//! padding above the next: shared wherever a tile spans the image.
//!
//! The encoding is Cheetah's (Huang, Lu, Hong, Ding, USENIX Security 2022, section 4), with
//! negative exponents.

mod axis;
mod own;
mod shape;
mod touched;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::linear::Geometry;
use axis::{Axis, axes};
use own::{Lines, Own};
use shape::{Shape, coefficients};
use touched::{Exponents, Touched};

/// A tap of a phase: where it is in a block, and its weight in the kernel, `[row][column]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tap {
    pub(super) offset: usize,
    pub(super) weight: usize,
}

/// Some rows and columns of the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// Phase channels of one polynomial, by number: those of an input channel of the group are one
/// behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    first: usize,
    count: usize,
}

/// Coefficients that are sent, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The exponent of the first.
    pub(super) at: usize,
    pub(super) len: usize,
    /// What they hold; none are padding.
    pub(super) held: Option<Held>,
}

/// Elements of one channel of an image, each [`Layout::step`] behind the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The first of them, from the chunk's first channel on.
    pub(super) element: usize,
    /// Whether they are encrypted for the first time in their image.
    pub(super) first: bool,
}

/// The coefficients of one chunk of one tile that used outputs touch, in the order of their
/// exponents: by geometry alone, whatever the weights are.
pub(super) struct Sent {
    /// The first element of the chunk's first channel, `[channel][row][column]` of one image.
    pub(super) base: usize,
    /// The same for many chunks.
    pub(super) runs: Arc<[Run]>,
}

/// The public layout of a layer.
pub(super) struct Layout {
    /// The convolution that encryptions are laid out for.
    pub(super) geometry: Geometry,
    /// The layer's own convolution: the same, or one that reads some of what that needs.
    pub(super) own: Geometry,
    /// Rows and columns of it.
    own_axes: [Own; 2],
    /// Outputs that share a polynomial.
    pub(super) outputs: usize,
    rows: Axis,
    columns: Axis,
    /// Phase rows and columns by phase.
    phases: Vec<(usize, usize)>,
    /// Phase channels of a group.
    channels: usize,
    /// Outputs of a tile, at the most.
    tile: [usize; 2],
    /// Of every row and every column of the input, the first tile down, or across, that needs it.
    first_tiles: [Vec<usize>; 2],
    /// Exponents from row to row of a block.
    pub(super) stride: usize,
    /// Exponents from block to block.
    pub(super) block: usize,
    /// Blocks of a polynomial.
    pub(super) blocks: usize,
}

/// Lines of an axis times taps there, at the most: what a layout takes time for.
const MAX_LINES: usize = 1 << 20;

impl Layout {
    /// The layout with `outputs` outputs a polynomial that sends the fewest coefficients, keys of
    /// tiles among them; `None` where not even one element fits, or an axis is too long.
    pub(super) fn new(geometry: &Geometry, outputs: usize) -> Option<Self> {
        let g = geometry;
        let bounded =
            |lines: usize, kernel: usize| lines.checked_mul(kernel).is_some_and(|n| n <= MAX_LINES);
        if !bounded(g.in_h.max(g.out_h()), g.kernel_h)
            || !bounded(g.in_w.max(g.out_w()), g.kernel_w)
        {
            return None;
        }
        let [rows, columns] = axes(g);
        let channels = g.in_channels / g.groups * rows.phases.len() * columns.phases.len();
        let mut best: Option<(u128, Shape)> = None;
        let sizes = columns.sizes();
        for tile_rows in rows.sizes() {
            for &tile_columns in &sizes {
                let tile = [tile_rows, tile_columns];
                let shape = Shape::new([&rows, &columns], (channels, outputs), tile);
                let Some(shape) = shape else { continue };
                let tiles = rows.tiles(tile_rows) * columns.tiles(tile_columns);
                let cost = coefficients(g.groups, (channels, outputs), &shape, tiles);
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, shape));
                }
            }
        }
        best.map(|(_, shape)| Self::of(geometry, outputs, [rows, columns], &shape))
    }

    fn of(geometry: &Geometry, outputs: usize, [rows, columns]: [Axis; 2], shape: &Shape) -> Self {
        let Shape { tile, stride, block, blocks } = *shape;
        let phases: Vec<(usize, usize)> = rows
            .phases
            .iter()
            .flat_map(|&row| columns.phases.iter().map(move |&column| (row, column)))
            .collect();
        let channels = geometry.in_channels / geometry.groups * phases.len();
        let first_tiles = [rows.first_tiles(tile[0]), columns.first_tiles(tile[1])];
        Self {
            geometry: *geometry,
            own: *geometry,
            own_axes: [&rows, &columns].map(Own::all),
            outputs,
            rows,
            columns,
            phases,
            channels,
            tile,
            first_tiles,
            stride,
            block,
            blocks,
        }
    }

    /// The layout of a layer that reads encryptions which are laid out for another one; `None`
    /// where it needs what those do not hold.
    pub(super) fn read_by(host: &Geometry, own: &Geometry, outputs: usize) -> Option<Self> {
        let geometry = Geometry { out_channels: own.out_channels, ..*host };
        // A layout bounds how long axes are.
        let layout = Self::new(&geometry, outputs)?;
        Some(Self { own: *own, own_axes: own::axes(host, own)?, ..layout })
    }

    /// Rows and columns of the layer's own outputs in a tile.
    pub(super) fn own_lines(&self, tile: &Tile) -> [Lines; 2] {
        let [rows, columns] = &self.own_axes;
        [rows.lines(tile.row, tile.rows), columns.lines(tile.column, tile.columns)]
    }

    /// The tiles of an image.
    pub(super) fn tiles(&self) -> Vec<Tile> {
        let cut = |output: usize, size: usize| {
            (0..output).step_by(size).map(move |start| (start, size.min(output - start)))
        };
        let across: Vec<_> = cut(self.columns.output, self.tile[1]).collect();
        let down = cut(self.rows.output, self.tile[0]);
        down.flat_map(|(row, rows)| {
            across.iter().map(move |&(column, columns)| Tile { row, column, rows, columns })
        })
        .collect()
    }

    /// How many tiles an image has.
    pub(super) const fn tile_count(&self) -> usize {
        self.rows.tiles(self.tile[0]) * self.columns.tiles(self.tile[1])
    }

    /// The chunks of a group's phase channels: a polynomial each.
    pub(super) fn chunks(&self) -> impl ExactSizeIterator<Item = Chunk> {
        let (channels, blocks) = (self.channels, self.blocks);
        (0..channels)
            .step_by(blocks)
            .map(move |first| Chunk { first, count: blocks.min(channels - first) })
    }

    /// Output channels of a group of the convolution.
    pub(super) const fn group_outputs(&self) -> usize {
        self.geometry.out_channels / self.geometry.groups
    }

    /// Polynomials of the outputs of a group.
    pub(super) const fn bundles(&self) -> usize {
        self.group_outputs().div_ceil(self.outputs)
    }

    /// Output channels of one polynomial of them, of all groups.
    pub(super) fn channels_of(&self, bundle: usize) -> Range<usize> {
        let first = bundle % self.bundles() * self.outputs;
        let start = bundle / self.bundles() * self.group_outputs();
        start + first..start + self.group_outputs().min(first + self.outputs)
    }

    /// Exponents that an output is moved up by, in its polynomial.
    pub(super) const fn moved(&self, output: usize) -> usize {
        output % self.outputs * self.blocks * self.block
    }

    /// Elements from one coefficient to the next of a [`Run`].
    pub(super) const fn step(&self) -> usize {
        self.columns.stride
    }

    /// Weights of an output that meet a chunk: exponents, and their places among the output's
    /// weights, `[channel][row][column]`.
    pub(super) fn kernel(&self, chunk: Chunk) -> Vec<Tap> {
        let area = self.own.kernel_h * self.own.kernel_w;
        let phases: Vec<Vec<Tap>> = self.phases.iter().map(|&phase| self.taps_of(phase)).collect();
        let taps = self.blocks_of(chunk).flat_map(|(block, channel, phase)| {
            phases[phase].iter().map(move |tap| Tap {
                offset: block * self.block + tap.offset,
                weight: channel * area + tap.weight,
            })
        });
        taps.collect()
    }

    /// The layer's taps of a phase.
    fn taps_of(&self, phase: (usize, usize)) -> Vec<Tap> {
        let [rows, columns] = [(&self.rows, phase.0), (&self.columns, phase.1)];
        let [down, across] = [(rows, &self.own_axes[0]), (columns, &self.own_axes[1])]
            .map(|((axis, phase), own)| own_taps(axis, own, phase));
        let width = self.own.kernel_w;
        let taps = down.iter().flat_map(|&(i, down)| {
            across.iter().map(move |&(j, across)| Tap {
                offset: down * self.stride + across,
                weight: i * width + j,
            })
        });
        taps.collect()
    }

    /// The blocks of a chunk: their numbers, channels within the group, and phases.
    fn blocks_of(&self, chunk: Chunk) -> impl Iterator<Item = (usize, usize, usize)> {
        let phases = self.phases.len();
        let channels = (chunk.first..chunk.first + chunk.count).enumerate();
        channels.map(move |(block, number)| (block, number / phases, number % phases))
    }

    /// What is sent of a tile of an image, `[group][chunk]`.
    pub(super) fn sent(&self, tile: &Tile) -> Vec<Sent> {
        let touched = Touched::new(self, tile);
        let channels = self.geometry.in_channels / self.geometry.groups;
        let plane = self.geometry.in_h * self.geometry.in_w;
        let mut known: HashMap<(usize, usize), Arc<[Run]>> = HashMap::new();
        let mut sent = Vec::new();
        for group in 0..self.geometry.groups {
            for chunk in self.chunks() {
                let runs = || self.runs(tile, chunk, &touched.of(self, chunk)).into();
                let runs = Arc::clone(known.entry(self.kind(chunk)).or_insert_with(runs));
                let channel = group * channels + chunk.first / self.phases.len();
                sent.push(Sent { base: channel * plane, runs });
            }
        }
        sent
    }

    /// Coefficients of each tile that are sent for one image: those that hold an element for the
    /// first time, and all others.
    pub(super) fn counts(&self) -> Vec<[usize; 2]> {
        let kinds = self.kinds();
        let mut known: HashMap<(usize, usize), usize> = HashMap::new();
        let mut count = |tile: &Tile| {
            *known.entry((tile.rows, tile.columns)).or_insert_with(|| {
                let touched = Touched::new(self, tile);
                self.geometry.groups
                    * kinds
                        .iter()
                        .map(|&(chunk, count)| count * touched.of(self, chunk).count())
                        .sum::<usize>()
            })
        };
        // Elements of a tile are rows times columns of every channel, in whatever phases: those are
        // first whose rows and columns are both.
        let [down, across] = [self.new_lines(0), self.new_lines(1)];
        self.tiles()
            .iter()
            .map(|tile| {
                let new = down[tile.row / self.tile[0]] * across[tile.column / self.tile[1]];
                let first = self.geometry.in_channels * new;
                [first, count(tile) - first]
            })
            .collect()
    }

    /// Of every tile down, or across, how many lines of the input it is the first to need.
    fn new_lines(&self, axis: usize) -> Vec<usize> {
        let tiles = [&self.rows, &self.columns][axis].tiles(self.tile[axis]);
        let mut counts = vec![0; tiles];
        for &tile in &self.first_tiles[axis] {
            // Lines that no tile needs are of none.
            counts.get_mut(tile).into_iter().for_each(|count| *count += 1);
        }
        counts
    }

    /// What a chunk's coefficients depend on: the phase that it begins with, and its length.
    const fn kind(&self, chunk: Chunk) -> (usize, usize) {
        (chunk.first % self.phases.len(), chunk.count)
    }

    /// A chunk of each kind, and how many a group has.
    fn kinds(&self) -> Vec<(Chunk, usize)> {
        let mut kinds: HashMap<(usize, usize), (Chunk, usize)> = HashMap::new();
        for chunk in self.chunks() {
            kinds.entry(self.kind(chunk)).or_insert((chunk, 0)).1 += 1;
        }
        kinds.into_values().collect()
    }

    /// Coefficients with what they hold.
    fn runs(&self, tile: &Tile, chunk: Chunk, touched: &Exponents) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for at in touched.iter() {
            let held = self.held(tile, chunk, at);
            match runs.last_mut() {
                Some(run) if self.follows(run, at, held) => run.len += 1,
                _ => runs.push(Run { at, len: 1, held }),
            }
        }
        runs
    }

    /// Whether a coefficient goes on with a run: within a block, since images come between
    /// channels.
    fn follows(&self, run: &Run, at: usize, held: Option<Held>) -> bool {
        let is_next = at == run.at + run.len && !at.is_multiple_of(self.block);
        is_next
            && held
                == run
                    .held
                    .map(|held| Held { element: held.element + run.len * self.step(), ..held })
    }

    /// The element that an exponent holds.
    fn held(&self, tile: &Tile, chunk: Chunk, at: usize) -> Option<Held> {
        let (block, within) = (at / self.block, at % self.block);
        if block >= chunk.count {
            return None;
        }
        let number = chunk.first % self.phases.len() + block;
        let (phase_row, phase_column) = self.phases[number % self.phases.len()];
        let row = (tile.row + within / self.stride) as isize + self.rows.low;
        let column = (tile.column + within % self.stride) as isize + self.columns.low;
        // Exponents of smaller tiles between their rows are never asked for.
        let (row, column) =
            (self.rows.line(phase_row, row)?, self.columns.line(phase_column, column)?);
        let first = self.first_tiles[0][row] == tile.row / self.tile[0]
            && self.first_tiles[1][column] == tile.column / self.tile[1];
        let channel = number / self.phases.len();
        let element = (channel * self.geometry.in_h + row) * self.geometry.in_w + column;
        Some(Held { element, first })
    }

    /// The exponent of an output of a tile, before it is moved.
    pub(super) const fn exponent(&self, row: usize, column: usize) -> usize {
        row * self.stride + column
    }

    /// Exponents from the first output of a tile to its last, at the most.
    pub(super) const fn span(&self) -> usize {
        self.exponent(self.tile[0] - 1, self.tile[1] - 1) + 1
    }
}

/// The layer's taps of one phase of an axis, and their shifts from the least of all on.
fn own_taps(axis: &Axis, own: &Own, phase: usize) -> Vec<(usize, usize)> {
    let taps = axis.taps.iter().zip(&own.taps).filter(|(tap, _)| tap.0 == phase);
    taps.filter_map(|(tap, own)| Some(((*own)?, (tap.1 - axis.low) as usize))).collect()
}

#[cfg(test)]
mod tests;
