//! How a layer becomes products of polynomials: tiles of outputs, phases of a stride, blocks of
//! channels. Public, the same at both parties.
//!
//! *Phases.* With stride `s`, tap `i` of a kernel (dilation `d`, padding `p`) meets row `y s + i d -
//! p`: row `y + shift` of phase `(i d - p) mod s`. So every convolution is one of stride 1 over
//! phase channels, and inputs in phases without taps are in none.
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
//! The encoding is Cheetah's (Huang, Lu, Hong, Ding, USENIX Security 2022, section 4), with negative
//! exponents.

use crate::lattice::DEGREE;
use crate::linear::Geometry;

/// One axis: where taps are, and how many lines of a phase there are.
#[derive(Clone, Debug)]
struct Axis {
    /// Of each tap: its phase and its shift.
    taps: Vec<(usize, isize)>,
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
        Self { taps, low, high, stride, input, output }
    }

    /// Phases that have taps, in order.
    fn phases(&self) -> Vec<usize> {
        let mut phases: Vec<usize> = self.taps.iter().map(|tap| tap.0).collect();
        phases.sort_unstable();
        phases.dedup();
        phases
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

    /// The line of the input at a line of a phase; `None` beyond the image.
    fn line(&self, phase: usize, line: isize) -> Option<usize> {
        let line = line.checked_mul(self.stride as isize)?.checked_add(phase as isize)?;
        usize::try_from(line).ok().filter(|line| *line < self.input)
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

/// Phase channels of one polynomial: an input channel of its group, and a phase.
pub(super) type Chunk<'a> = &'a [(usize, usize)];

/// A coefficient that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its exponent.
    pub(super) at: usize,
    /// The element that it holds, `[channel][row][column]` of one image; none is padding.
    pub(super) element: Option<usize>,
}

/// The coefficients of one chunk of one tile.
pub(super) struct Sent<'a> {
    pub(super) group: usize,
    pub(super) chunk: Chunk<'a>,
    /// Those that are sent, in the order of their exponents, and whether each holds an element for
    /// the first time in its image.
    pub(super) places: Vec<(Place, bool)>,
}

impl Sent<'_> {
    /// How many are first, and how many are not.
    fn counts(&self) -> [usize; 2] {
        let first = self.places.iter().filter(|place| place.1).count();
        [first, self.places.len() - first]
    }
}

/// The elements of an image that have been encrypted.
pub(super) struct Seen(Vec<bool>);

impl Seen {
    /// Whether a place holds an element for the first time: it is seen from now on.
    fn is_first(&mut self, place: &Place) -> bool {
        place.element.is_some_and(|element| !std::mem::replace(&mut self.0[element], true))
    }
}

/// The public layout of a layer.
pub(super) struct Layout {
    pub(super) geometry: Geometry,
    /// Outputs that share a polynomial.
    pub(super) outputs: usize,
    rows: Axis,
    columns: Axis,
    /// Taps by phase.
    taps: Vec<Vec<Tap>>,
    /// Phase rows and columns by phase.
    phases: Vec<(usize, usize)>,
    /// Phase channels of a group, `(channel, phase)`.
    channels: Vec<(usize, usize)>,
    /// Outputs of a tile, at the most.
    tile: [usize; 2],
    /// Exponents from row to row of a block.
    pub(super) stride: usize,
    /// Exponents from block to block.
    pub(super) block: usize,
    /// Blocks of a polynomial.
    pub(super) blocks: usize,
}

impl Layout {
    /// The layout with `outputs` outputs a polynomial that sends the fewest coefficients, keys of
    /// tiles among them; `None` where not even one element fits.
    pub(super) fn new(geometry: &Geometry, outputs: usize) -> Option<Self> {
        let [rows, columns] = axes(geometry);
        let mut best: Option<(usize, Self)> = None;
        for tile_rows in splits(rows.output) {
            for tile_columns in splits(columns.output) {
                let tile = [tile_rows, tile_columns];
                let Some(layout) = Self::of_tile(geometry, outputs, tile) else { continue };
                let cost = layout.coefficients();
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, layout));
                }
            }
        }
        best.map(|(_, layout)| layout)
    }

    fn of_tile(geometry: &Geometry, outputs: usize, tile: [usize; 2]) -> Option<Self> {
        let g = geometry;
        let [rows, columns] = axes(g);
        let (width, shared_columns) = columns.extent(tile[1]);
        let (height, shared_rows) = rows.extent(tile[0]);
        let stride = width - shared_columns;
        let block = (height - shared_rows) * stride;
        let room = DEGREE.checked_div(block.checked_mul(outputs)?)?;
        let (phase_rows, phase_columns) = (rows.phases(), columns.phases());
        let phases: Vec<(usize, usize)> = phase_rows
            .iter()
            .flat_map(|&row| phase_columns.iter().map(move |&column| (row, column)))
            .collect();
        let taps = phases.iter().map(|&phase| taps_of(&rows, &columns, phase, stride)).collect();
        let channels: Vec<(usize, usize)> = (0..g.in_channels / g.groups)
            .flat_map(|channel| (0..phases.len()).map(move |phase| (channel, phase)))
            .collect();
        let blocks = room.min(channels.len());
        (blocks > 0).then(|| Self {
            geometry: *g,
            outputs,
            rows,
            columns,
            taps,
            phases,
            channels,
            tile,
            stride,
            block,
            blocks,
        })
    }

    /// The tiles of an image.
    pub(super) fn tiles(&self) -> Vec<Tile> {
        let cut = |output: usize, size: usize| {
            (0..output).step_by(size).map(move |start| (start, size.min(output - start)))
        };
        let across: Vec<_> = cut(self.columns.output, self.tile[1]).collect();
        let down = cut(self.rows.output, self.tile[0]);
        down.flat_map(|(row, rows)| {
            let tile = move |&(column, columns)| Tile { row, column, rows, columns };
            across.iter().map(tile)
        })
        .collect()
    }

    /// The chunks of a group's phase channels: a polynomial each.
    pub(super) fn chunks(&self) -> impl ExactSizeIterator<Item = Chunk<'_>> {
        self.channels.chunks(self.blocks)
    }

    /// Output channels of a group of the convolution.
    pub(super) const fn group_outputs(&self) -> usize {
        self.geometry.out_channels / self.geometry.groups
    }

    /// Polynomials of the outputs of a group.
    pub(super) const fn bundles(&self) -> usize {
        self.group_outputs().div_ceil(self.outputs)
    }

    /// Exponents that an output is moved up by, in its polynomial.
    pub(super) const fn moved(&self, output: usize) -> usize {
        output % self.outputs * self.blocks * self.block
    }

    /// Weights of an output that meet a chunk: exponents, and their places among the output's
    /// weights, `[channel][row][column]`.
    pub(super) fn kernel(&self, chunk: Chunk<'_>) -> Vec<Tap> {
        let area = self.geometry.kernel_h * self.geometry.kernel_w;
        let blocks = chunk.iter().enumerate();
        let taps = blocks.flat_map(|(block, &(channel, phase))| {
            self.taps[phase].iter().map(move |tap| Tap {
                offset: block * self.block + tap.offset,
                weight: channel * area + tap.weight,
            })
        });
        taps.collect()
    }

    /// The coefficients of a chunk that used outputs of a tile touch, in the order of their
    /// exponents: by geometry alone, whatever the weights are.
    pub(super) fn places(&self, tile: &Tile, group: usize, chunk: Chunk<'_>) -> Vec<Place> {
        self.touched(tile, chunk)
            .into_iter()
            .map(|at| Place { at, element: self.element(tile, group, chunk, at) })
            .collect()
    }

    /// No element of an image is encrypted yet.
    pub(super) fn unseen(&self) -> Seen {
        Seen(vec![false; self.geometry.in_shape().iter().product()])
    }

    /// What is sent of the next tile of an image, `[group][chunk]`.
    pub(super) fn sent(&self, tile: &Tile, seen: &mut Seen) -> Vec<Sent<'_>> {
        let mut sent = Vec::new();
        for group in 0..self.geometry.groups {
            for chunk in self.chunks() {
                let places = self.places(tile, group, chunk).into_iter();
                let places = places.map(|place| (place, seen.is_first(&place))).collect();
                sent.push(Sent { group, chunk, places });
            }
        }
        sent
    }

    /// Coefficients of each tile that are sent for one image: those that hold an element for the
    /// first time, and all others.
    pub(super) fn counts(&self) -> Vec<[usize; 2]> {
        let mut seen = self.unseen();
        let of_tile = |tile: &Tile| {
            let sent = self.sent(tile, &mut seen);
            sent.iter().map(Sent::counts).fold([0; 2], |[a, b], [c, d]| [a + c, b + d])
        };
        self.tiles().iter().map(of_tile).collect()
    }

    fn touched(&self, tile: &Tile, chunk: Chunk<'_>) -> Vec<usize> {
        let mut touched = vec![false; DEGREE];
        let size = self.blocks * self.block;
        // What output `m` of a polynomial takes of kernel `n` is `m - n` times all blocks away.
        let distances =
            (0..2 * self.outputs - 1).map(|d| d * size + DEGREE - (self.outputs - 1) * size);
        for distance in distances {
            for tap in self.kernel(chunk) {
                for row in 0..tile.rows {
                    let start = distance + tap.offset + row * self.stride;
                    for at in start..start + tile.columns {
                        touched[at % DEGREE] = true;
                    }
                }
            }
        }
        (0..DEGREE).filter(|&at| touched[at]).collect()
    }

    /// The element that an exponent holds.
    fn element(&self, tile: &Tile, group: usize, chunk: Chunk<'_>, at: usize) -> Option<usize> {
        let (block, within) = (at / self.block, at % self.block);
        let &(channel, phase) = chunk.get(block)?;
        let (phase_row, phase_column) = self.phases[phase];
        let row = (tile.row + within / self.stride) as isize + self.rows.low;
        let column = (tile.column + within % self.stride) as isize + self.columns.low;
        // Exponents of smaller tiles between their rows are never asked for.
        let (row, column) =
            (self.rows.line(phase_row, row)?, self.columns.line(phase_column, column)?);
        let channel = group * (self.geometry.in_channels / self.geometry.groups) + channel;
        Some((channel * self.geometry.in_h + row) * self.geometry.in_w + column)
    }

    /// The exponent of an output of a tile, before it is moved.
    pub(super) const fn exponent(&self, row: usize, column: usize) -> usize {
        row * self.stride + column
    }

    /// Exponents from the first output of a tile to its last.
    pub(super) const fn span(&self, tile: &Tile) -> usize {
        self.exponent(tile.rows - 1, tile.columns - 1) + 1
    }

    /// Coefficients that are sent for one image, about: all of every block, what other outputs of
    /// the polynomial add, and keys.
    fn coefficients(&self) -> usize {
        let blocks = self.geometry.groups * self.channels.len() * self.block;
        let polynomials = self.geometry.groups * self.chunks().len();
        let size = self.blocks * self.block;
        let more = (2 * (self.outputs - 1) * size).min(DEGREE - size);
        let down = self.rows.output.div_ceil(self.tile[0]);
        let tiles = down * self.columns.output.div_ceil(self.tile[1]);
        tiles * (blocks + polynomials * more + DEGREE)
    }
}

/// Rows and columns.
fn axes(g: &Geometry) -> [Axis; 2] {
    [
        Axis::new(g.kernel_h, g.stride_h, g.dilation_h, g.pad_top, [g.in_h, g.out_h()]),
        Axis::new(g.kernel_w, g.stride_w, g.dilation_w, g.pad_left, [g.in_w, g.out_w()]),
    ]
}

/// Sizes of tiles along an axis: for each number of tiles the smallest that do.
fn splits(output: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = (1..=output).map(|count| output.div_ceil(count)).collect();
    sizes.dedup();
    sizes
}

/// The taps of a phase.
fn taps_of(rows: &Axis, columns: &Axis, phase: (usize, usize), stride: usize) -> Vec<Tap> {
    let mut taps = Vec::new();
    for (i, &(row_phase, down)) in rows.taps.iter().enumerate() {
        for (j, &(column_phase, across)) in columns.taps.iter().enumerate() {
            if (row_phase, column_phase) == phase {
                let (down, across) = (down - rows.low, across - columns.low);
                let offset = down as usize * stride + across as usize;
                taps.push(Tap { offset, weight: i * columns.taps.len() + j });
            }
        }
    }
    taps
}
