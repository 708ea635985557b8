//! Winograd's F(2x2, 3x3) on weights in its domain: 16 products a tile of four outputs and a pair
//! of channels, where a 3x3 kernel has 36. (Lavin, Gray, CVPR 2016.)
//!
//! `Y = A^T [sum_c U . (B^T d B)] A` of a tile of 4x4 inputs `d`, with
//!
//! ```text
//! B^T = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1]
//! A^T = [1 1 1 0; 0 1 -1 -1]
//! ```
//!
//! At each of 16 positions this is a convolution with a 1x1 kernel over tiles. What is around it is
//! linear, and its own transpose backward. All factors are 1 or -1: of integers, sums are exact.

mod tiles;

use model::Geometry;

use crate::convolution::{Convolution, Cotangent};
use crate::kernels::Number;
use crate::layout::{Place, TILE};
use tiles::{INPUTS, OF_INPUT, Side, TO_OUTPUT, transposed};

/// Positions of the domain.
const POSITIONS: usize = 16;
/// The position that is one part of each of a tile's outputs: `A^T` has ones in its second column.
const EACH: usize = INPUTS + 1;
/// The most tiles of a channel, times channels, that are in the domain at once: what all positions
/// of an input and of an output take, 128 KiB, stays in the second cache.
const BAND: usize = 1024;

/// Memory that layers share, each while it is computed: what inputs and outputs are in the domain,
/// and lines on the way there.
pub(crate) type Scratch<T> = [Vec<T>; 3];

/// A layer, ready to be run at the places of its input and of its output.
#[derive(Clone, Debug)]
pub(crate) struct Winograd {
    input: Side,
    output: Side,
    /// The products of a position. Tiles of a band are its pixels.
    product: Convolution,
    /// How many bands of rows of tiles there are, all of them alike.
    bands: usize,
}

impl Winograd {
    pub(crate) fn new(geometry: &Geometry, [input, output]: [&Place; 2]) -> Self {
        let g = geometry;
        // Bands are alike, so that one layer of products serves all: of 16 rows of tiles four times
        // four, of seven seven times one.
        let [rows, columns] = [g.out_h(), g.out_w()].map(|outputs| outputs.div_ceil(TILE));
        let most = BAND / (columns * g.in_channels.max(g.out_channels)).max(1);
        let of_band = (1..=rows).rev().find(|&of| of <= most && rows.is_multiple_of(of));
        let tiles = [of_band.unwrap_or(1), columns];
        let count = tiles[0] * tiles[1];
        let [of_input, of_output] = [g.in_channels, g.out_channels]
            .map(|channels| Place { shape: [channels, 1, count], frame: [0; 2] });
        let within = Geometry {
            in_w: count,
            groups: g.groups,
            ..Geometry::dense(g.in_channels, g.out_channels)
        };
        let pad = [g.pad_top, g.pad_left];
        Self {
            input: Side { place: *input, pad, tiles, domain: of_input },
            output: Side { place: *output, pad: [0; 2], tiles, domain: of_output },
            product: Convolution::new(&within, [&of_input, &of_output]),
            bands: rows / tiles[0],
        }
    }

    /// How many weights and biases it has.
    pub(crate) const fn parameters(&self) -> [usize; 2] {
        let [weights, biases] = self.product.parameters();
        [POSITIONS * weights, biases]
    }

    /// Elements of the weights of all positions as they lie forward and backward.
    pub(crate) const fn lengths(&self) -> [usize; 2] {
        let [forward, backward] = self.product.lengths();
        [POSITIONS * forward, POSITIONS * backward]
    }

    /// Elements of the biases of all blocks.
    pub(crate) const fn biases(&self) -> usize {
        self.product.biases()
    }

    /// Elements of the domains of its input and of its output, and of lines between.
    pub(crate) const fn scratch(&self) -> [usize; 3] {
        let [inputs, outputs] = [self.input.domain.len(), self.output.domain.len()];
        [POSITIONS * inputs, POSITIONS * outputs, self.input.lines()]
    }

    /// Puts weights, `[16, K, C / groups]`, where the kernels read them.
    pub(crate) fn pack<T: Number>(&self, weight: &[T], [forward, backward]: [&mut [T]; 2]) {
        let [[weights, _], [one, other]] = [self.product.parameters(), self.product.lengths()];
        let parts = forward.chunks_exact_mut(one).zip(backward.chunks_exact_mut(other));
        for (weight, (forward, backward)) in weight.chunks_exact(weights).zip(parts) {
            self.product.pack(weight, [forward, backward]);
        }
    }

    /// Gradients of weights, `[16, K, C / groups]`, from those in the kernels' order.
    pub(crate) fn unpack<T: Number>(&self, sums: &[T], weight: &mut [T]) {
        let [[weights, _], [length, _]] = [self.product.parameters(), self.product.lengths()];
        for (sums, weight) in sums.chunks_exact(length).zip(weight.chunks_exact_mut(weights)) {
            self.product.unpack(sums, weight);
        }
    }

    pub(crate) fn forward<T: Number>(
        &self,
        [weights, bias]: [&[T]; 2],
        input: &[T],
        output: &mut [T],
        [inputs, outputs, lines]: &mut Scratch<T>,
    ) {
        let lengths = [self.input.domain.len(), self.output.domain.len()];
        let [length, _] = self.product.lengths();
        for band in 0..self.bands {
            self.input.enter(OF_INPUT, band, (input, inputs), lines);
            let parts = inputs.chunks_exact(lengths[0]).zip(outputs.chunks_exact_mut(lengths[1]));
            // A bias is a part of each output of a tile once, and so is this position.
            for (at, (weights, (from, to))) in weights.chunks_exact(length).zip(parts).enumerate() {
                let bias = (at == EACH).then_some(bias);
                self.product.forward(weights, bias, from, to);
            }
            self.output.leave(TO_OUTPUT, band, (outputs, output, false), lines);
        }
    }

    /// Adds the gradients of weights and biases, in the order of the kernels; writes or adds the
    /// cotangent of the input, if it is asked for.
    pub(crate) fn backward<T: Number>(
        &self,
        backward: &[T],
        [input, cotangent]: [&[T]; 2],
        ([weights, bias], mut back): ([&mut [T]; 2], Option<Cotangent<'_, T>>),
        [inputs, outputs, lines]: &mut Scratch<T>,
    ) {
        // Tiles share inputs, so that each has a part in what is there.
        if let Some(Cotangent { to, add: false }) = &mut back {
            to.fill(T::zero());
        }
        let lengths = [self.input.domain.len(), self.output.domain.len()];
        let [one, other] = self.product.lengths();
        for band in 0..self.bands {
            self.input.enter(OF_INPUT, band, (input, inputs), lines);
            self.output.enter(transposed(TO_OUTPUT), band, (cotangent, outputs), lines);
            let parts = inputs.chunks_exact(lengths[0]).zip(outputs.chunks_exact(lengths[1]));
            let positions = weights.chunks_exact_mut(one).zip(parts).enumerate();
            for (at, (weights, (input, cotangent))) in positions {
                self.product.weight_sums(input, cotangent, weights);
                if at == EACH {
                    self.product.bias_sums(cotangent, bias);
                }
            }
            let Some(Cotangent { to, .. }) = &mut back else { continue };
            // The input's part of the domain is not needed any more: its cotangent takes its place.
            let parts = inputs.chunks_exact_mut(lengths[0]).zip(outputs.chunks_exact(lengths[1]));
            for (weights, (to, from)) in backward.chunks_exact(other).zip(parts) {
                self.product.backward(weights, from, Cotangent { to, add: false });
            }
            self.input.leave(transposed(OF_INPUT), band, (inputs, to, true), lines);
        }
    }
}
