//! Where elements lie: blocks of sixteen channels, with a frame of zeros around every plane.
//!
//! `[C / 16][frame + H + frame][frame + W + frame][16]`. The frame is the padding of the layers
//! that read the value, and of the transposes that read its cotangent: kernels never ask whether
//! they are inside.

use std::ops::Range;

use model::Geometry;

use crate::kernels::{Grid, LANES};
use crate::network::{Network, Op};

/// Rows and columns of the outputs of a tile of Winograd's, and from one tile to the next.
pub(crate) const TILE: usize = 2;

/// The layout of a value and of its cotangent, one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// `[C, H, W]`.
    pub shape: [usize; 3],
    /// Rows above and below, columns to the left and to the right.
    pub frame: [usize; 2],
}

impl Place {
    /// Elements from one row to the next.
    pub const fn row(&self) -> usize {
        (self.shape[2] + 2 * self.frame[1]) * LANES
    }

    /// Elements from one block of channels to the next.
    pub const fn block(&self) -> usize {
        (self.shape[1] + 2 * self.frame[0]) * self.row()
    }

    /// Blocks of channels.
    pub const fn blocks(&self) -> usize {
        self.shape[0].div_ceil(LANES)
    }

    /// Elements in all.
    pub const fn len(&self) -> usize {
        self.blocks() * self.block()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where an element lies. Rows and columns may be of the frame: they count from its corner
    /// less the frame.
    pub const fn at(&self, channel: usize, y: usize, x: usize) -> usize {
        channel / LANES * self.block()
            + (y + self.frame[0]) * self.row()
            + (x + self.frame[1]) * LANES
            + channel % LANES
    }

    /// Where element `index` of `[C, H, W]`, row-major, lies.
    pub const fn position(&self, index: usize) -> usize {
        let [_, rows, columns] = self.shape;
        self.at(index / (rows * columns), index / columns % rows, index % columns)
    }

    /// Puts the elements of `[C, H, W]`, row-major, where they lie.
    pub(crate) fn scatter<T: Copy>(&self, elements: &[T], to: &mut [T]) {
        let [_, rows, columns] = self.shape;
        for (row, elements) in elements.chunks_exact(columns).enumerate() {
            let start = self.at(row / rows, row % rows, 0);
            // Pixels beside each other are a block's channels apart.
            for (to, &element) in to[start..].iter_mut().step_by(LANES).zip(elements) {
                *to = element;
            }
        }
    }

    /// The pixels of a block, from a pixel on, so many rows and columns apart.
    pub(crate) const fn grid(&self, block: usize, from: [usize; 2], step: [usize; 2]) -> Grid {
        Grid {
            start: self.at(block * LANES, from[0], from[1]),
            row: step[0] * self.row(),
            column: step[1] * LANES,
        }
    }

    /// The rows of all planes, without the frame.
    pub(crate) fn rows(self) -> impl Iterator<Item = Range<usize>> {
        let [_, rows, columns] = self.shape;
        (0..self.blocks() * rows).map(move |row| {
            let start = self.at(row / rows * LANES, row % rows, 0);
            start..start + columns * LANES
        })
    }
}

/// The values of a network: which share memory, and where their elements lie.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// By value.
    pub(crate) places: Vec<Place>,
    /// By value: the one whose memory it has.
    pub(crate) memory: Vec<usize>,
}

impl Layout {
    pub(crate) fn of(network: &Network) -> Self {
        let memory = memory(network);
        let mut frames = vec![[0; 2]; memory.len()];
        for (index, node) in network.nodes.iter().enumerate() {
            let Some(geometry) = node.op.layer() else { continue };
            let needed = if matches!(node.op, Op::Winograd(_)) {
                tile_frames(geometry)
            } else {
                [forward_frame(geometry), backward_frame(&unrolled(geometry))]
            };
            // Values that share memory share its layout, and so the largest of their frames.
            for (value, needed) in [node.inputs[0], index + 1].into_iter().zip(needed) {
                let frame = &mut frames[memory[value]];
                *frame = [frame[0].max(needed[0]), frame[1].max(needed[1])];
            }
        }
        let places = (0..memory.len())
            .map(|value| Place { shape: network.shape(value), frame: frames[memory[value]] });
        Self { places: places.collect(), memory }
    }
}

/// By value, the one whose memory it takes over: a ReLU or a sum works in place where nobody else
/// needs what was there.
fn memory(network: &Network) -> Vec<usize> {
    let mut uses = vec![0; network.nodes.len() + 1];
    // The loss reads the output.
    uses[network.output] += 1;
    network.nodes.iter().flat_map(|node| &node.inputs).for_each(|&value| uses[value] += 1);
    let mut memory: Vec<usize> = (0..uses.len()).collect();
    for (index, node) in network.nodes.iter().enumerate() {
        if !matches!(node.op, Op::Relu { .. } | Op::Add { .. }) {
            continue;
        }
        let free = node
            .inputs
            .iter()
            .find(|&&value| uses[value] == 1 && value > 0 && forgets(&network.nodes[value - 1].op));
        if let Some(&value) = free {
            memory[index + 1] = memory[value];
        }
    }
    memory
}

/// Whether the gradient of an operation does without its result.
const fn forgets(op: &Op) -> bool {
    match op {
        Op::Linear(_) | Op::Winograd(_) | Op::PRelu { .. } | Op::Add { .. } | Op::Product => true,
        Op::SumPool { .. } => true,
        Op::Relu { .. }
        | Op::Round(_)
        | Op::RoundEach { .. }
        | Op::MaxPool(_)
        | Op::View(_)
        | Op::Reorder(_)
        | Op::Concat
        | Op::Function(_)
        | Op::Table(_) => false,
    }
}

/// A layer with strides that only count where there is more than one output: a layer whose
/// kernel covers the image then has one tap a pixel on its way back.
pub(crate) fn unrolled(geometry: &Geometry) -> Geometry {
    let g = *geometry;
    let far = [
        g.in_h + g.pad_top + g.pad_bottom + g.kernel_h * g.dilation_h,
        g.in_w + g.pad_left + g.pad_right + g.kernel_w * g.dilation_w,
    ];
    Geometry {
        stride_h: if g.out_h() == 1 { far[0] } else { g.stride_h },
        stride_w: if g.out_w() == 1 { far[1] } else { g.stride_w },
        ..g
    }
}

/// What windows reach beyond the image.
fn forward_frame(g: &Geometry) -> [usize; 2] {
    // One row behind the last that a window reads, counted from the first row of padding.
    let below = (g.out_h() - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1;
    let right = (g.out_w() - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1;
    [
        g.pad_top.max(below.saturating_sub(g.in_h + g.pad_top)),
        g.pad_left.max(right.saturating_sub(g.in_w + g.pad_left)),
    ]
}

/// What the transpose reads beyond the outputs.
fn backward_frame(g: &Geometry) -> [usize; 2] {
    let vertical = Axis::vertical(g);
    let horizontal = Axis::horizontal(g);
    [vertical.frame(), horizontal.frame()]
}

/// What tiles of Winograd's reach beyond an input and beyond an output.
fn tile_frames(g: &Geometry) -> [[usize; 2]; 2] {
    let odd = [g.out_h() % TILE, g.out_w() % TILE];
    // A kernel of 3x3 makes a tile of 2x2 from 4x4 inputs, at every second pixel.
    let tiled = Geometry {
        kernel_h: g.kernel_h + TILE - 1,
        kernel_w: g.kernel_w + TILE - 1,
        stride_h: TILE,
        stride_w: TILE,
        pad_bottom: g.pad_bottom + odd[0],
        pad_right: g.pad_right + odd[1],
        ..*g
    };
    [forward_frame(&tiled), odd]
}

/// One axis of a convolution, seen from its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) size: usize,
    outputs: usize,
    kernel: usize,
    pub(crate) stride: usize,
    dilation: usize,
    pad: usize,
}

impl Axis {
    pub(crate) fn vertical(g: &Geometry) -> Self {
        Self {
            size: g.in_h,
            outputs: g.out_h(),
            kernel: g.kernel_h,
            stride: g.stride_h,
            dilation: g.dilation_h,
            pad: g.pad_top,
        }
    }

    pub(crate) fn horizontal(g: &Geometry) -> Self {
        Self {
            size: g.in_w,
            outputs: g.out_w(),
            kernel: g.kernel_w,
            stride: g.stride_w,
            dilation: g.dilation_w,
            pad: g.pad_left,
        }
    }

    /// Pixels `phase`, `phase + stride`, ... of the input.
    pub(crate) fn pixels(&self, phase: usize) -> usize {
        (self.size - phase).div_ceil(self.stride)
    }

    /// The taps that pixels of a phase are read at, each with the output that pixel `phase` has
    /// there; the next pixel of the phase has the next output.
    pub(crate) fn taps(self, phase: usize) -> impl Iterator<Item = (usize, isize)> {
        let stride = self.stride as isize;
        (0..self.kernel).filter_map(move |tap| {
            // Output `o` reads pixel `o * stride + tap * dilation - pad`.
            let from = (phase + self.pad) as isize - (tap * self.dilation) as isize;
            (from.rem_euclid(stride) == 0).then(|| (tap, from.div_euclid(stride)))
        })
    }

    fn frame(self) -> usize {
        // Pixel `i` of a phase reads output `first + i`: from `first` to `last`, where outputs are
        // those from 0 on.
        let reach = (0..self.stride.min(self.size)).flat_map(|phase| {
            self.taps(phase).map(move |(_, first)| {
                let last = first + self.pixels(phase) as isize - 1;
                (-first).max(last - (self.outputs as isize - 1))
            })
        });
        reach.max().unwrap_or(0).max(0) as usize
    }
}
