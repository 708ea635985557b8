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

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::lattice::DEGREE;
use crate::linear::Geometry;

/// One axis: where taps are, and how many lines of a phase there are.
#[derive(Clone, Debug)]
struct Axis {
    /// Of each tap: its phase and its shift.
    taps: Vec<(usize, isize)>,
    /// Phases that have taps, in order.
    phases: Vec<usize>,
    /// The least and the largest shift.
    low: isize,
    high: isize,
    stride: usize,
    /// Lines of the input, and of the output.
    input: usize,
    output: usize,
}

impl Axis {
    fn new(
        kernel: usize,
        stride: usize,
        dilation: usize,
        pad: usize,
        [input, output]: [usize; 2],
    ) -> Self {
        let tap = |i: usize| {
            let offset = (i * dilation) as isize - pad as isize;
            (offset.rem_euclid(stride as isize) as usize, offset.div_euclid(stride as isize))
        };
        let taps: Vec<(usize, isize)> = (0..kernel).map(tap).collect();
        let shifts = taps.iter().map(|tap| tap.1);
        let (low, high) = (shifts.clone().min().unwrap_or(0), shifts.max().unwrap_or(0));
        let mut phases: Vec<usize> = taps.iter().map(|tap| tap.0).collect();
        phases.sort_unstable();
        phases.dedup();
        Self { taps, phases, low, high, stride, input, output }
    }

    /// Lines that the windows of `count` outputs take, and how many of them are padding at both
    /// ends, where these are all outputs.
    const fn extent(&self, count: usize) -> (usize, usize) {
        let length = count + (self.high - self.low) as usize;
        if count < self.output {
            return (length, 0);
        }
        // Whatever the phase, lines from `lines` on are beyond the image.
        let lines = self.input.div_ceil(self.stride) as isize;
        let before = if self.low < 0 { -self.low } else { 0 };
        let after = self.low + length as isize - lines;
        let after = if after < 0 { 0 } else { after };
        (length, if before < after { before as usize } else { after as usize })
    }

    /// Lines of a tile from which on the next tile, or block, begins.
    const fn pitch(&self, count: usize) -> usize {
        let (length, shared) = self.extent(count);
        length - shared
    }

    /// The line of the input at a line of a phase; `None` beyond the image.
    fn line(&self, phase: usize, line: isize) -> Option<usize> {
        let line = line.checked_mul(self.stride as isize)?.checked_add(phase as isize)?;
        usize::try_from(line).ok().filter(|line| *line < self.input)
    }

    /// Sizes of tiles that may fit a polynomial, the largest first: for each number of tiles the
    /// smallest that do. Only all outputs together share padding, so none else has more than the
    /// degree.
    fn sizes(&self) -> Vec<usize> {
        let smaller = (1..self.output.min(DEGREE + 1))
            .rev()
            .filter(|size| self.output.div_ceil(self.output.div_ceil(*size)) == *size);
        std::iter::once(self.output).chain(smaller).collect()
    }

    /// Tiles of a size.
    const fn tiles(&self, size: usize) -> usize {
        self.output.div_ceil(size)
    }

    /// For every line of the input, the first tile of a size with outputs that need it.
    fn first_tiles(&self, size: usize) -> Vec<usize> {
        let mut first = vec![usize::MAX; self.input];
        for output in 0..self.output {
            for &(phase, shift) in &self.taps {
                if let Some(line) = self.line(phase, output as isize + shift) {
                    first[line] = first[line].min(output / size);
                }
            }
        }
        first
    }

    /// Shifts of the taps of a phase, from the least of all on.
    fn shifts(&self, phase: usize) -> impl Iterator<Item = usize> {
        let taps = self.taps.iter().filter(move |tap| tap.0 == phase);
        taps.map(|tap| (tap.1 - self.low) as usize)
    }
}

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

/// How the windows of a tile fill polynomials.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Outputs of a tile, at the most.
    tile: [usize; 2],
    stride: usize,
    block: usize,
    blocks: usize,
}

impl Shape {
    /// `None` where not even one window fits.
    fn new(
        [rows, columns]: [&Axis; 2],
        (channels, outputs): (usize, usize),
        tile: [usize; 2],
    ) -> Option<Self> {
        let stride = columns.pitch(tile[1]);
        let block = rows.pitch(tile[0]).checked_mul(stride)?;
        let room = DEGREE.checked_div(block.checked_mul(outputs)?)?;
        let blocks = room.min(channels);
        (blocks > 0).then_some(Self { tile, stride, block, blocks })
    }
}

/// The public layout of a layer.
pub(super) struct Layout {
    pub(super) geometry: Geometry,
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
        let area = self.geometry.kernel_h * self.geometry.kernel_w;
        let phases: Vec<Vec<Tap>> = self.phases.iter().map(|&phase| self.taps_of(phase)).collect();
        let taps = self.blocks_of(chunk).flat_map(|(block, channel, phase)| {
            phases[phase].iter().map(move |tap| Tap {
                offset: block * self.block + tap.offset,
                weight: channel * area + tap.weight,
            })
        });
        taps.collect()
    }

    /// The taps of a phase.
    fn taps_of(&self, phase: (usize, usize)) -> Vec<Tap> {
        let (rows, columns) = (&self.rows, &self.columns);
        let mut taps = Vec::new();
        for (i, &(_, down)) in rows.taps.iter().enumerate().filter(|(_, tap)| tap.0 == phase.0) {
            for (j, &(column_phase, across)) in columns.taps.iter().enumerate() {
                if column_phase == phase.1 {
                    let (down, across) = (down - rows.low, across - columns.low);
                    let offset = down as usize * self.stride + across as usize;
                    taps.push(Tap { offset, weight: i * columns.taps.len() + j });
                }
            }
        }
        taps
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

/// What used outputs of tiles of one size touch, by phase: of a block that begins at exponent 0,
/// in a polynomial of one output.
struct Touched(Vec<Exponents>);

impl Touched {
    fn new(layout: &Layout, tile: &Tile) -> Self {
        let mut outputs = Exponents::NONE;
        for row in 0..tile.rows {
            let start = layout.exponent(row, 0);
            (start..start + tile.columns).for_each(|at| outputs.insert(at));
        }
        let mut phases = Vec::with_capacity(layout.phases.len());
        for &row in &layout.rows.phases {
            // Taps of a phase are all pairs of a row's and a column's.
            let down = layout.rows.shifts(row).map(|shift| outputs.moved(shift * layout.stride));
            let down = down.fold(Exponents::NONE, Exponents::or);
            for &column in &layout.columns.phases {
                let across = layout.columns.shifts(column).map(|shift| down.moved(shift));
                phases.push(across.fold(Exponents::NONE, Exponents::or));
            }
        }
        Self(phases)
    }

    /// What is touched of a chunk.
    fn of(&self, layout: &Layout, chunk: Chunk) -> Exponents {
        let blocks = layout.blocks_of(chunk);
        let blocks = blocks.map(|(block, _, phase)| self.0[phase].moved(block * layout.block));
        let own = blocks.fold(Exponents::NONE, Exponents::or);
        // What output `m` of a polynomial takes of kernel `n` is `m - n` times all blocks away.
        let size = layout.blocks * layout.block;
        let lowest = DEGREE - (layout.outputs - 1) * size;
        let all = (0..2 * layout.outputs - 1).map(|d| own.moved(lowest + d * size));
        all.fold(Exponents::NONE, Exponents::or)
    }
}

/// A set of exponents, modulo the degree: a bit each.
#[derive(Clone, Copy)]
struct Exponents([u64; WORDS]);

const WORDS: usize = DEGREE / 64;

impl Exponents {
    const NONE: Self = Self([0; WORDS]);

    const fn insert(&mut self, at: usize) {
        self.0[at % DEGREE / 64] |= 1 << (at % 64);
    }

    /// All of them, so much higher.
    fn moved(&self, by: usize) -> Self {
        let (words, bits) = (by % DEGREE / 64, by as u32 % 64);
        Self(std::array::from_fn(|at| {
            let (high, low) = (at + WORDS - words, at + WORDS - words + WORDS - 1);
            let (high, low) = (self.0[high % WORDS], self.0[low % WORDS]);
            // By 64 in two steps, which are defined for no bits as well.
            high << bits | low >> 1 >> (63 - bits)
        }))
    }

    fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The exponents, the least first.
    fn iter(&self) -> impl Iterator<Item = usize> {
        (0..DEGREE).filter(|&at| self.0[at / 64] >> (at % 64) & 1 == 1)
    }
}

/// Coefficients that are sent for one image, about: all of every block, what other outputs of the
/// polynomial add, and keys.
fn coefficients(
    groups: usize,
    (channels, outputs): (usize, usize),
    shape: &Shape,
    tiles: usize,
) -> u128 {
    let blocks = groups as u128 * channels as u128 * shape.block as u128;
    let polynomials = groups as u128 * channels.div_ceil(shape.blocks) as u128;
    let size = shape.blocks * shape.block;
    let more = (2 * (outputs - 1) * size).min(DEGREE - size);
    tiles as u128 * (blocks + polynomials * more as u128 + DEGREE as u128)
}

/// Rows and columns.
fn axes(g: &Geometry) -> [Axis; 2] {
    [
        Axis::new(g.kernel_h, g.stride_h, g.dilation_h, g.pad_top, [g.in_h, g.out_h()]),
        Axis::new(g.kernel_w, g.stride_w, g.dilation_w, g.pad_left, [g.in_w, g.out_w()]),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linear::testing::any_geometry;

    impl Layout {
        /// The coefficients of a chunk that are sent, and the elements that they hold.
        pub(in super::super) fn places(
            &self,
            tile: &Tile,
            group: usize,
            chunk: Chunk,
        ) -> Vec<(usize, Option<usize>)> {
            let number = group * self.chunks().len() + chunk.first / self.blocks;
            let Sent { base, runs } = &self.sent(tile)[number];
            let place = |run: &Run, at: usize| {
                let held = run.held.map(|held| base + held.element + at * self.step());
                (run.at + at, held)
            };
            runs.iter().flat_map(|run| (0..run.len).map(move |at| place(run, at))).collect()
        }
    }

    /// Exponents that outputs touch, one by one.
    fn touched(layout: &Layout, tile: &Tile, chunk: Chunk) -> Vec<usize> {
        let mut touched = vec![false; DEGREE];
        let size = layout.blocks * layout.block;
        for to in 0..layout.outputs {
            for from in 0..layout.outputs {
                let distance = DEGREE + to * size - from * size;
                for tap in layout.kernel(chunk) {
                    for row in 0..tile.rows {
                        for column in 0..tile.columns {
                            let at = distance + tap.offset + layout.exponent(row, column);
                            touched[at % DEGREE] = true;
                        }
                    }
                }
            }
        }
        (0..DEGREE).filter(|&at| touched[at]).collect()
    }

    /// The element that an exponent holds.
    fn element(
        layout: &Layout,
        tile: &Tile,
        (group, chunk): (usize, Chunk),
        at: usize,
    ) -> Option<usize> {
        let g = &layout.geometry;
        let (_, channel, phase) = layout.blocks_of(chunk).nth(at / layout.block)?;
        let (phase_row, phase_column) = layout.phases[phase];
        let within = at % layout.block;
        let line = |start: usize, at: usize, low: isize, (phase, stride): (usize, usize)| {
            let line = ((start + at) as isize + low) * stride as isize + phase as isize;
            usize::try_from(line).ok()
        };
        let row = within / layout.stride;
        let row = line(tile.row, row, layout.rows.low, (phase_row, g.stride_h))?;
        let column = within % layout.stride;
        let column = line(tile.column, column, layout.columns.low, (phase_column, g.stride_w))?;
        let channel = group * (g.in_channels / g.groups) + channel;
        (row < g.in_h && column < g.in_w).then_some((channel * g.in_h + row) * g.in_w + column)
    }

    /// Sizes of tiles along an axis, by number of tiles.
    fn splits(output: usize) -> Vec<usize> {
        let mut sizes: Vec<usize> = (1..=output).map(|count| output.div_ceil(count)).collect();
        sizes.dedup();
        sizes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_is_sent_is_what_outputs_touch(
            geometry in any_geometry(), share in any::<prop::sample::Index>()) {
            let outputs = geometry.out_channels / geometry.groups;
            let layout = Layout::new(&geometry, 1 + share.index(outputs)).unwrap();
            let mut seen = vec![false; geometry.in_shape().iter().product()];
            let counts = layout.counts();
            prop_assert_eq!(counts.len(), layout.tile_count());
            for (tile, counts) in layout.tiles().iter().zip(counts) {
                let (sent, mut found) = (layout.sent(tile), [0; 2]);
                let chunks = (0..geometry.groups)
                    .flat_map(|group| layout.chunks().map(move |chunk| (group, chunk)));
                for ((group, chunk), Sent { base, runs }) in chunks.zip(&sent) {
                    let mut places = Vec::new();
                    for run in runs.iter() {
                        for at in 0..run.len {
                            let element =
                                run.held.map(|held| base + held.element + at * layout.step());
                            let first = element
                                .is_some_and(|at| !std::mem::replace(&mut seen[at], true));
                            prop_assert_eq!(run.held.is_some_and(|held| held.first), first);
                            found[usize::from(!first)] += 1;
                            places.push((run.at + at, element));
                        }
                    }
                    let expected: Vec<_> = touched(&layout, tile, chunk)
                        .into_iter()
                        .map(|at| (at, element(&layout, tile, (group, chunk), at)))
                        .collect();
                    prop_assert_eq!(places, expected);
                }
                prop_assert_eq!(found, counts);
            }
        }

        #[test]
        fn sizes_of_tiles_are_those_of_all_numbers_of_them(output in 1usize..5000) {
            let axis = Axis::new(1, 1, 1, 0, [output, output]);
            let fit = |size: &usize| *size == output || *size <= DEGREE;
            let expected: Vec<usize> = splits(output).into_iter().filter(fit).collect();
            prop_assert_eq!(axis.sizes(), expected);
        }
    }
}
