//! One layer, or one activation quantizer, at some width, all else being float: what losses and
//! prices are estimated by before widths are chosen.

use model::Tensor;
use protocols::linear::Geometry;
use rayon::prelude::*;

use super::activation_quantizers::QuantizerId;
use super::{BitWidths, Quantizer, Rounding, Scales, conv, extent, scales};

/// The width of everything else, where scales depend on it.
const MIDDLE: u8 = 4;

impl Quantizer<'_> {
    /// The scales at one width for everything, solved once: what stands in before widths are
    /// chosen.
    fn middle(&self) -> &Scales {
        self.middle.get_or_init(|| {
            let (layers, activations) =
                (self.activations.layers.len(), self.activations.quantizers.len());
            self.scales(&BitWidths {
                weight_bits: vec![MIDDLE; layers],
                activation_bits: vec![MIDDLE; activations],
            })
        })
    }

    /// A layer's float weights and biases after rounding to a width, all else being float.
    pub fn rounded_weights(&self, layer: usize, bits: u8) -> (Vec<f32>, Vec<f32>) {
        let rounded = self.rounded(layer, bits, self.middle().layers[layer]);
        let channels =
            rounded.weights.chunks_exact(self.geometry(layer).fan_in()).zip(&rounded.exponents);
        let mut floats = Vec::with_capacity(rounded.weights.len());
        for (weights, &exponent) in channels {
            let scale = (rounded.log_scale - f64::from(exponent)).exp2() as f32;
            floats.extend(weights.iter().map(|&w| f32::from(w) * scale));
        }
        (floats, rounded.bias.iter().map(|&b| b as f32).collect())
    }

    /// An activation quantizer's values after rounding to a width.
    pub fn rounded_activation(&self, activation: QuantizerId, bits: u8, value: &Tensor) -> Tensor {
        let rounding = self.activation_rounding(activation, bits);
        let data = value.data.par_iter().map(|&v| rounding.apply(v)).collect();
        Tensor { shape: value.shape, data }
    }

    /// How an activation quantizer is rounded to a width, all else being float.
    pub fn activation_rounding(&self, activation: QuantizerId, bits: u8) -> Rounding<f32> {
        let quantizer = &self.activations.quantizers[activation];
        // The scale of a ReLU that is cut off follows from the width: the largest integer stands
        // for exactly the cut-off, or for it divided by a power of two.
        let mantissa = match quantizer.max {
            Some(max) => (f64::from(max) / (f64::from(bits).exp2() - 1.0)).log2(),
            None => self.middle().activations[activation],
        };
        let samples = &self.calibration.activations[activation];
        let found = scales::best_power(samples, quantizer, mantissa, bits);
        let scale = (mantissa + f64::from(found.power)).exp2();
        let (low, high) = extent::limits(bits, found.low);
        let low = low - f64::from(samples.below(scale, high));
        Rounding { scale: scale as f32, low: low as f32, high: high as f32 }
    }

    /// The width of a layer's accumulators at some widths of its weights and its input.
    pub fn ring(&self, layer: usize, weight_bits: u8, input_bits: u8) -> u32 {
        let rounded = self.rounded(layer, weight_bits, self.middle().layers[layer]);
        let activation = self.activations.layers[layer].input;
        let (low, high) = match self.activations.quantizers[activation].kept {
            Some(_) => extent::signed(input_bits + 1),
            None => {
                let input = self.activation_rounding(activation, input_bits);
                (f64::from(input.low), f64::from(input.high))
            }
        };
        // Averages are sums: their windows widen the input.
        let area = (-self.activations.layers[layer].input_offset).exp2();
        let finest = rounded.exponents.iter().copied().max().unwrap_or(0);
        let channels =
            rounded.weights.chunks_exact(self.geometry(layer).fan_in()).zip(&rounded.exponents);
        let most = channels.map(|(weights, &exponent)| {
            let up: f64 = weights.iter().map(|&w| f64::from(w).max(0.0)).sum();
            let down: f64 = weights.iter().map(|&w| (-f64::from(w)).max(0.0)).sum();
            // Both ends of the channel's sum: positive weights on the largest input and negative
            // ones on the least, and the other way round.
            let reach = (up * high - down * low).max(down * high - up * low);
            reach * area * f64::from(finest - exponent).exp2()
        });
        most.fold(1.0, f64::max).log2().ceil() as u32 + 1
    }

    /// The channel shifts of a layer at a width of its weights.
    pub fn shifts(&self, layer: usize, weight_bits: u8) -> Vec<u8> {
        let rounded = self.rounded(layer, weight_bits, self.middle().layers[layer]);
        let finest = rounded.exponents.iter().copied().max().unwrap_or(0);
        rounded.exponents.iter().map(|e| (finest - e) as u8).collect()
    }

    /// The geometry of a layer.
    pub fn geometry(&self, layer: usize) -> Geometry {
        conv(self.model, self.activations.layers[layer].node).geometry
    }

    /// Elements of an activation quantizer for one image.
    pub fn activation_elements(&self, activation: QuantizerId) -> usize {
        self.model.shape(self.activations.quantizers[activation].value).iter().product()
    }
}
