//! A linear layer: its sweeps, and its weights in the order that the sweeps read them in.

use model::Geometry;
use pulp::{Arch, NullaryFnOnce};

use crate::depthwise;
use crate::kernels::{LANES, Number, Sweep, Tap, lanes};
use crate::layout::{Axis, Place, unrolled};

/// Weights of one tap: sixteen by sixteen.
const SQUARE: usize = LANES * LANES;
/// Weights of one tap where each channel meets itself alone.
const DIAGONAL: usize = LANES;
/// Where weights are put that no sweep has read yet.
const NOWHERE: u32 = u32::MAX;

/// A layer, ready to be run at the places of its input and of its output.
#[derive(Clone, Debug)]
pub(crate) struct Convolution {
    geometry: Geometry,
    /// Whether each group is one channel that makes another one.
    is_depthwise: bool,
    /// One for each block of outputs.
    forward: Vec<Sweep>,
    /// For each block of inputs, one for each phase of the strides: together they write every
    /// pixel.
    backward: Vec<Sweep>,
    /// Where each weight lies forward and backward: `[sweep][tap][channel][16]`, of the input's
    /// channels forward, of the output's backward; `[sweep][tap][16]` of depthwise layers.
    packed: [Vec<u32>; 2],
    lengths: [usize; 2],
}

/// Where the cotangent of an input is written, or added to what is there.
pub(crate) struct Cotangent<'a, T> {
    pub(crate) to: &'a mut [T],
    pub(crate) add: bool,
}

/// A kernel that sums products: sweep, input, weights, biases, output.
type Products<T> = fn(&Sweep, &[T], &[T], Option<&[T; LANES]>, &mut [T]);

impl Convolution {
    pub(crate) fn new(geometry: &Geometry, [input, output]: [&Place; 2]) -> Self {
        let geometry = *geometry;
        let weights = geometry.weights();
        let Geometry { groups, in_channels, out_channels, .. } = geometry;
        let mut layer = Self {
            geometry,
            is_depthwise: [in_channels, out_channels] == [groups; 2],
            forward: Vec::new(),
            backward: Vec::new(),
            packed: [vec![NOWHERE; weights], vec![NOWHERE; weights]],
            lengths: [0; 2],
        };
        // Biases of a block are those of its sweep: sweeps forward come in the order of blocks.
        for block in 0..output.blocks() {
            layer.push_forward(block, [input, output]);
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

    /// Adds the sweep that writes a block.
    fn push_forward(&mut self, block: usize, [input, output]: [&Place; 2]) {
        let g = self.geometry;
        let mut taps = Vec::new();
        for from in self.inputs_of(block) {
            for tap in 0..g.kernel_h * g.kernel_w {
                let (ky, kx) = (tap / g.kernel_w, tap % g.kernel_w);
                let weights = self.tap_weights(0, [block, from], [ky, kx]);
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
        let (size, to) = ([g.out_h(), g.out_w()], output.grid(block, [0, 0], [1, 1]));
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
            for (ky, y) in rows.taps(phases[0]) {
                for (kx, x) in columns.taps(phases[1]) {
                    // Outputs before the first lie in the frame, which holds zeros: counted from
                    // its corner.
                    let y = (y + output.frame[0] as isize) as usize;
                    let x = (x + output.frame[1] as isize) as usize;
                    taps.push(Tap {
                        input: to * output.block() + y * output.row() + x * LANES,
                        weights: self.tap_weights(1, [to, block], [ky, kx]),
                        channels: (self.geometry.out_channels - to * LANES).min(LANES),
                    });
                }
            }
        }
        let mut grid = output.grid(0, [0, 0], [1, 1]);
        grid.start = 0;
        self.backward.push(Sweep {
            size: [rows.pixels(phases[0]), columns.pixels(phases[1])],
            input: grid,
            output: input.grid(block, phases, [rows.stride, columns.stride]),
            taps,
        });
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
    fn tap_weights(&mut self, way: usize, [to, from]: [usize; 2], [ky, kx]: [usize; 2]) -> usize {
        let g = self.geometry;
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
                self.packed[way][weight] = (start + within) as u32;
            }
        }
        start
    }

    /// How many weights and biases it has.
    pub(crate) const fn parameters(&self) -> [usize; 2] {
        [self.geometry.weights(), self.geometry.out_channels]
    }

    /// Elements of the weights as they lie forward and backward.
    pub(crate) const fn lengths(&self) -> [usize; 2] {
        self.lengths
    }

    /// Elements of the biases of all blocks.
    pub(crate) const fn biases(&self) -> usize {
        self.forward.len() * LANES
    }

    /// Puts weights, in the order of [`model::Conv`], where the kernels read them.
    pub(crate) fn pack<T: Number>(&self, weight: &[T], [forward, backward]: [&mut [T]; 2]) {
        let [one, other] = &self.packed;
        for (&value, (&one, &other)) in weight.iter().zip(one.iter().zip(other)) {
            forward[one as usize] = value;
            backward[other as usize] = value;
        }
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

    /// The output, of weights as they lie forward and of biases of all blocks, if there are any.
    pub(crate) fn forward<T: Number>(
        &self,
        weights: &[T],
        bias: Option<&[T]>,
        input: &[T],
        output: &mut [T],
    ) {
        let (products, zeros) = (self.products(), [T::zero(); LANES]);
        for (block, sweep) in self.forward.iter().enumerate() {
            let bias = bias.map_or(&zeros, |bias| lanes(&bias[block * LANES..]));
            products(sweep, input, weights, Some(bias), output);
        }
    }

    /// The cotangent of the input, which is written, or added to what is there; of weights as they
    /// lie backward.
    pub(crate) fn backward<T: Number>(
        &self,
        weights: &[T],
        cotangent: &[T],
        Cotangent { to, add }: Cotangent<'_, T>,
    ) {
        // A bias of zero overwrites what the last image has left there.
        let zeros = [T::zero(); LANES];
        let start = (!add).then_some(&zeros);
        let products = self.products();
        for sweep in &self.backward {
            products(sweep, cotangent, weights, start, to);
        }
    }

    /// Adds the gradients of weights, as they lie forward.
    pub(crate) fn weight_sums<T: Number>(&self, input: &[T], cotangent: &[T], weights: &mut [T]) {
        let sums = if self.is_depthwise { depthwise::weight_sums } else { T::weight_sums };
        for sweep in &self.forward {
            sums(sweep, input, cotangent, weights);
        }
    }

    /// Adds the gradients of biases, of all blocks.
    pub(crate) fn bias_sums<T: Number>(&self, cotangent: &[T], bias: &mut [T]) {
        for (sweep, sums) in self.forward.iter().zip(bias.as_chunks_mut().0) {
            Arch::new().dispatch(PixelSums { sweep, cotangent, sums });
        }
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
