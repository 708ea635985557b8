//! A linear layer: its sweeps, and its weights in the order that the sweeps read them in.

use model::Geometry;
use pulp::{Arch, NullaryFnOnce};

use crate::depthwise;
use crate::kernels::{LANES, Number, Sweep, Tap, lanes};
use crate::layout::{Axis, Place, tiled, unrolled};

/// Weights of one tap: sixteen by sixteen.
const SQUARE: usize = LANES * LANES;
/// Weights of one tap where each channel meets itself alone.
const DIAGONAL: usize = LANES;
/// Where weights are put that no sweep has read yet.
const NOWHERE: u32 = u32::MAX;

/// A layer, ready to be run at the places of its input and of its output.
#[derive(Clone, Debug)]
pub(crate) struct Convolution {
    /// Of tiles: a tile of outputs counts as one.
    geometry: Geometry,
    /// Whether each group is one channel that makes another one.
    is_depthwise: bool,
    /// Rows and columns of outputs of a tile, each with a kernel of its own; 1 of a plain layer.
    tile: usize,
    /// Rows and columns of outputs.
    outputs: [usize; 2],
    /// For each block of outputs one for each place in a tile.
    forward: Vec<Sweep>,
    /// For each block of inputs, one for each phase of the strides: together they write every
    /// pixel.
    backward: Vec<Sweep>,
    /// Where each weight lies in [`Packed::forward`] and in [`Packed::backward`].
    packed: [Vec<u32>; 2],
    lengths: [usize; 2],
}

/// A kernel that sums products: sweep, input, weights, biases, output.
type Products<T> = fn(&Sweep, &[T], &[T], Option<&[T; LANES]>, &mut [T]);

/// Weights and biases as the kernels read them.
#[derive(Clone)]
pub(crate) struct Packed<T> {
    /// `[sweep][tap][channel of the input][16]`; `[sweep][tap][16]` where layers are depthwise.
    pub(crate) forward: Vec<T>,
    /// `[sweep][tap][channel of the output][16]`; likewise.
    pub(crate) backward: Vec<T>,
    /// Of all blocks.
    pub(crate) bias: Vec<T>,
}

impl Convolution {
    /// A layer whose outputs have kernels by their place in a tile of so many rows and columns; of
    /// one, all have the same.
    pub(crate) fn new(geometry: &Geometry, tile: usize, [input, output]: [&Place; 2]) -> Self {
        let outputs = [geometry.out_h(), geometry.out_w()];
        let geometry = tiled(geometry, tile);
        let weights = tile * tile * geometry.weights();
        let Geometry { groups, in_channels, out_channels, .. } = geometry;
        let mut layer = Self {
            geometry,
            is_depthwise: [in_channels, out_channels] == [groups; 2],
            tile,
            outputs,
            forward: Vec::new(),
            backward: Vec::new(),
            packed: [vec![NOWHERE; weights], vec![NOWHERE; weights]],
            lengths: [0; 2],
        };
        // Biases of a block are those of its sweep: sweeps forward come in the order of blocks.
        for block in 0..output.blocks() {
            for place in 0..layer.places() {
                layer.push_forward(block, place, [input, output]);
            }
        }
        // Pixels of one phase, as far from a multiple of the stride, are read at the same taps.
        // With stride 2 and a kernel of 3, even rows are read at taps 0 and 2, odd ones at 1.
        let through = unrolled(&geometry);
        let (rows, columns) = (Axis::vertical(&through), Axis::horizontal(&through));
        for block in 0..input.blocks() {
            for phase in 0..rows.stride.min(rows.size) * columns.stride.min(columns.size) {
                let across = columns.stride.min(columns.size);
                let phases = [phase / across, phase % across];
                layer.push_backward(block, [rows, columns], phases, [input, output]);
            }
        }
        layer.bury();
        layer
    }

    /// Gives a place of their own to weights that are never read: those that only meet padding.
    fn bury(&mut self) {
        for (packed, length) in self.packed.iter_mut().zip(&mut self.lengths) {
            for at in packed.iter_mut().filter(|at| **at == NOWHERE) {
                *at = *length as u32;
            }
            *length += 1;
        }
    }

    /// Adds the sweep that writes one place of all tiles of a block.
    fn push_forward(&mut self, block: usize, place: usize, [input, output]: [&Place; 2]) {
        let (g, tile) = (self.geometry, self.tile);
        let within = [place / tile, place % tile];
        // Tiles at the far ends may lack some of their places.
        let size = [0, 1].map(|axis| (self.outputs[axis] + tile - 1 - within[axis]) / tile);
        let mut taps = Vec::new();
        for from in self.inputs_of(block) {
            for tap in 0..g.kernel_h * g.kernel_w {
                let (ky, kx) = (tap / g.kernel_w, tap % g.kernel_w);
                let weights = self.tap_weights(0, place, [block, from], [ky, kx]);
                let (y, x) = (ky * g.dilation_h, kx * g.dilation_w);
                taps.push(Tap {
                    input: from * input.block() + y * input.row() + x * LANES,
                    weights,
                    channels: (g.in_channels - from * LANES).min(LANES),
                });
            }
        }
        // The first window starts in the frame.
        let mut grid = input.grid(0, [0, 0], [g.stride_h, g.stride_w]);
        grid.start -= g.pad_top * input.row() + g.pad_left * LANES;
        let to = output.grid(block, within, [tile; 2]);
        self.forward.push(Sweep { size, input: grid, output: to, taps });
    }

    fn push_backward(
        &mut self,
        block: usize,
        [rows, columns]: [Axis; 2],
        phases: [usize; 2],
        [input, output]: [&Place; 2],
    ) {
        let mut taps = Vec::new();
        for to in 0..output.blocks() {
            if !self.inputs_of(to).contains(&block) {
                continue;
            }
            // A pixel is read by outputs at all places of a tile, each with a kernel of its own.
            for place in 0..self.places() {
                for (ky, y) in rows.taps(phases[0]) {
                    for (kx, x) in columns.taps(phases[1]) {
                        let [y, x] = self.pixel([y, x], place, output);
                        taps.push(Tap {
                            input: to * output.block() + y * output.row() + x * LANES,
                            weights: self.tap_weights(1, place, [to, block], [ky, kx]),
                            channels: (self.geometry.out_channels - to * LANES).min(LANES),
                        });
                    }
                }
            }
        }
        let mut grid = output.grid(0, [0, 0], [self.tile; 2]);
        grid.start = 0;
        self.backward.push(Sweep {
            size: [rows.pixels(phases[0]), columns.pixels(phases[1])],
            input: grid,
            output: input.grid(block, phases, [rows.stride, columns.stride]),
            taps,
        });
    }

    /// The row and the column of an output, counted from the frame's corner, by its tile and its
    /// place there. Tiles before the first lie in the frame, which holds zeros.
    fn pixel(&self, tiles: [isize; 2], place: usize, output: &Place) -> [usize; 2] {
        let within = [place / self.tile, place % self.tile];
        [0, 1].map(|axis| {
            let first = (output.frame[axis] + within[axis]) as isize;
            (tiles[axis] * self.tile as isize + first) as usize
        })
    }

    /// The blocks of inputs that a block of outputs reads: those of its groups.
    fn inputs_of(&self, block: usize) -> std::ops::RangeInclusive<usize> {
        let g = &self.geometry;
        let (of_inputs, of_outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
        // Sixteen outputs may be of several groups, and of parts of groups. Of 20 channels in 5
        // groups, block 1 has outputs 16 to 19: group 4, and its inputs 16 to 19, block 1.
        let last = (block * LANES + LANES - 1).min(g.out_channels - 1);
        // The last input of the last group is in the last block.
        let groups = [block * LANES / of_outputs, last / of_outputs];
        groups[0] * of_inputs / LANES..=((groups[1] + 1) * of_inputs - 1) / LANES
    }

    /// Where the weights of a tap between two blocks start, the next free place; notes where each
    /// of them lies. Weights that a group lacks stay zero.
    fn tap_weights(
        &mut self,
        way: usize,
        place: usize,
        [to, from]: [usize; 2],
        [ky, kx]: [usize; 2],
    ) -> usize {
        let g = self.geometry;
        // Kernels of one place in a tile follow those of the one before.
        let before = place * g.weights();
        let start = self.lengths[way];
        self.lengths[way] += if self.is_depthwise { DIAGONAL } else { SQUARE };
        let (of_inputs, of_outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
        // All weights of this tap whose output and input are of these two blocks and of one group.
        for k in to * LANES..(to * LANES + LANES).min(g.out_channels) {
            let first = k / of_outputs * of_inputs;
            for c in (from * LANES).max(first)..(from * LANES + LANES).min(first + of_inputs) {
                let weight = ((k * of_inputs + c - first) * g.kernel_h + ky) * g.kernel_w + kx;
                let (k, c) = (k % LANES, c % LANES);
                // Whoever is summed over comes first: channels of the input forward, of the output
                // backward.
                let within = match (self.is_depthwise, way) {
                    (true, _) => k,
                    (false, 0) => c * LANES + k,
                    (false, _) => k * LANES + c,
                };
                self.packed[way][before + weight] = (start + within) as u32;
            }
        }
        start
    }

    /// How many weights and biases it has.
    pub(crate) const fn parameters(&self) -> [usize; 2] {
        [self.places() * self.geometry.weights(), self.geometry.out_channels]
    }

    /// Outputs of a tile.
    const fn places(&self) -> usize {
        self.tile * self.tile
    }

    /// The sweeps forward of each block.
    fn blocks(&self) -> impl Iterator<Item = &[Sweep]> {
        self.forward.chunks_exact(self.places())
    }

    /// Zeros in place of weights and biases.
    pub(crate) fn zeros<T: Number>(&self) -> Packed<T> {
        Packed {
            forward: vec![T::zero(); self.lengths[0]],
            backward: vec![T::zero(); self.lengths[1]],
            bias: vec![T::zero(); self.forward.len() / self.places() * LANES],
        }
    }

    /// Puts weights and biases, in the order of [`model::Conv`], where the kernels read them.
    pub(crate) fn pack<T: Number>(&self, weight: &[T], bias: &[T], packed: &mut Packed<T>) {
        let [forward, backward] = &self.packed;
        for (&value, (&one, &other)) in weight.iter().zip(forward.iter().zip(backward)) {
            packed.forward[one as usize] = value;
            packed.backward[other as usize] = value;
        }
        // Behind the last channel, biases stay zero, and so do the outputs there.
        packed.bias[..bias.len()].copy_from_slice(bias);
    }

    /// Gradients of weights in the order of [`model::Conv`], from those in the kernels' order.
    pub(crate) fn unpack<T: Number>(&self, sums: &[T], weight: &mut [T]) {
        for (weight, &at) in weight.iter_mut().zip(&self.packed[0]) {
            *weight = sums[at as usize];
        }
    }

    /// The kernel of its sweeps, forward and backward.
    fn products<T: Number>(&self) -> Products<T> {
        if self.is_depthwise { depthwise::products } else { T::products }
    }

    pub(crate) fn forward<T: Number>(&self, packed: &Packed<T>, input: &[T], output: &mut [T]) {
        let products = self.products();
        for (sweeps, bias) in self.blocks().zip(packed.bias.as_chunks().0) {
            for sweep in sweeps {
                products(sweep, input, &packed.forward, Some(bias), output);
            }
        }
    }

    /// The cotangent of the input, which is written, or added to what is there.
    pub(crate) fn backward<T: Number>(
        &self,
        packed: &Packed<T>,
        cotangent: &[T],
        input: &mut [T],
        add: bool,
    ) {
        // A bias of zero overwrites what the last image has left there.
        let zeros = [T::zero(); LANES];
        let start = (!add).then_some(&zeros);
        let products = self.products();
        for sweep in &self.backward {
            products(sweep, cotangent, &packed.backward, start, input);
        }
    }

    /// Adds the gradients of weights and biases, in the order of the kernels.
    pub(crate) fn sums<T: Number>(
        &self,
        input: &[T],
        cotangent: &[T],
        [weights, bias]: [&mut [T]; 2],
    ) {
        let sums = if self.is_depthwise { depthwise::weight_sums } else { T::weight_sums };
        for sweep in &self.forward {
            sums(sweep, input, cotangent, weights);
        }
        for (sweeps, bias) in self.blocks().zip(bias.as_chunks_mut().0) {
            for sweep in sweeps {
                Arch::new().dispatch(PixelSums { sweep, cotangent, sums: bias });
            }
        }
    }
}

impl<T: Number> Packed<T> {
    /// Zeros in place of the gradients of weights and biases.
    pub(crate) fn sums(&self) -> [Vec<T>; 2] {
        [vec![T::zero(); self.forward.len()], vec![T::zero(); self.bias.len()]]
    }
}

/// Adds all pixels of a block.
struct PixelSums<'a, T> {
    sweep: &'a Sweep,
    cotangent: &'a [T],
    sums: &'a mut [T; LANES],
}

impl<T: Number> NullaryFnOnce for PixelSums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Sweep { size: [rows, columns], output, .. } = self.sweep;
        // A copy, for registers: others may look at what is behind a reference.
        let mut found = *self.sums;
        for y in 0..*rows {
            let row = &self.cotangent[output.at(y, 0)..];
            for x in 0..*columns {
                let pixel = lanes(&row[x * output.column..]);
                found.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += value);
            }
        }
        *self.sums = found;
    }
}
