//! A layer of weights that are rounded behind their transform.

use fusion::{Kernel, Linear, WireId};
use model::Conv;
use protocols::linear::Geometry;
use protocols::linear::winograd::POSITIONS;
use protocols::weights::LayerWeights;

use super::super::QuantizeError;
use super::super::calibrate::Moments;
use super::super::least_squares::{Cross, least_squares};
use super::super::round::WeightQuantizer;
use super::Network;
use super::rebuilt::rebuilt;

/// A layer of transformed weights.
pub(super) struct Transformed {
    /// `[K, 16, C / groups]`.
    weights: Vec<i8>,
    /// `[K, 16]`: the weights of a channel and position have the scale `2^(log_scale - exponent)`.
    exponents: Vec<i32>,
    bias: Vec<f64>,
}

impl Transformed {
    pub(super) fn of(conv: &Conv, linear: &Linear, input_scale: f64, moments: &[Cross]) -> Self {
        // Exponent zero is the scale that the layer's accumulators have now.
        let (g, log_scale) = (&linear.geometry, (linear.scale / input_scale).log2());
        let inputs = g.in_channels / g.groups;
        let rows = POSITIONS * inputs;
        // To the weight_quantizer the layer is dense: one output channel has `16 * inputs` weights,
        // position by position, so that each part of `inputs` is one position.
        let geometry =
            Geometry { groups: g.groups, ..Geometry::dense(rows * g.groups, g.out_channels) };
        let dense =
            Conv { geometry, weight: transform(&conv.weight, inputs), bias: conv.bias.clone() };
        let features: Vec<Moments> = moments.iter().map(|cross| cross.input.clone()).collect();
        let weight_quantizer = WeightQuantizer::new(features);
        let moved = least_squares(&dense, moments, &weight_quantizer);
        let (exponents, weights, bias) =
            weight_quantizer.round_parts(&moved, inputs, linear.weight_bits, log_scale);
        Self { weights, exponents, bias }
    }

    /// The network with this layer in the place of a node's, which was `old`.
    pub(super) fn put(
        &self,
        (graph, weights): &Network,
        id: WireId,
        old: &Linear,
    ) -> Result<Network, QuantizeError> {
        // Accumulators are not made coarser than they were, even if all exponents are negative:
        // what reads them counts in their steps, and shifts only grow.
        let finest = self.exponents.iter().copied().max().unwrap_or(0).max(0);
        let scale = old.scale / f64::from(finest).exp2();
        let bias = self.bias.iter().map(|b| (b / scale).round() as i64).collect();
        let g = &old.geometry;
        let inputs = g.in_channels / g.groups;
        let exponents = by_position(&self.exponents, 1);
        let shifts = exponents.into_iter().map(|exponent| (finest - exponent) as u8).collect();
        let layer = LayerWeights { weights: by_position(&self.weights, inputs), bias };
        let linear = Linear { kernel: Kernel::Winograd, shifts, scale, ..old.clone() };
        rebuilt(graph, weights, id, (linear, layer, finest as u8))
    }
}

/// From `[K, 16, inputs]`, as weights are rounded, to `[16, K, inputs]`, as the products of 16
/// groups have their channels.
pub(crate) fn by_position<T: Copy>(values: &[T], inputs: usize) -> Vec<T> {
    let channels = values.len() / (POSITIONS * inputs);
    let order = (0..POSITIONS).flat_map(|p| (0..channels).map(move |k| k * POSITIONS + p));
    order.flat_map(|at| &values[at * inputs..(at + 1) * inputs]).copied().collect()
}

/// `G g G^T` of all kernels, `[out channels][16][in channels]`.
pub(crate) fn transform(weights: &[f32], inputs: usize) -> Vec<f32> {
    const G: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
    let mut transformed = Vec::with_capacity(weights.len() / 9 * POSITIONS);
    for kernels in weights.chunks_exact(9 * inputs) {
        for p in 0..POSITIONS {
            let (row, column) = (G[p / 4], G[p % 4]);
            for kernel in kernels.chunks_exact(9) {
                let taps = (0..9).map(|tap| row[tap / 3] * column[tap % 3] * kernel[tap]);
                transformed.push(taps.sum::<f32>());
            }
        }
    }
    transformed
}
