//! One layer's secret integers.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Algorithm, Geometry, Layer, winograd};
use crate::Error;

/// One linear step's integers.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct LayerWeights {
    /// `[out channels][in channels / groups][kernel rows][kernel columns]`; in Winograd's domain
    /// `[position][out channels][in channels / groups]`.
    pub weights: Vec<i8>,
    /// One for each output channel, in units of the shifted accumulator.
    pub bias: Vec<i64>,
}

impl LayerWeights {
    /// Those of a step.
    pub(crate) fn of_step<'a>(
        layers: &'a BTreeMap<String, Self>,
        step: &str,
    ) -> Result<&'a Self, Error> {
        layers.get(step).ok_or_else(|| {
            Error::invalid(format!("weights of step {step}: tensors"), "weight and bias", "none")
        })
    }

    /// The biases as a file has them.
    pub(crate) fn bias_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(8 * self.bias.len()));
        self.bias.iter().for_each(|bias| bytes.extend(bias.to_le_bytes()));
        bytes
    }

    pub(crate) fn check(&self, layer: &Layer, step: &str) -> Result<(), Error> {
        let (weights, channels) = (layer.weights(), layer.geometry.out_channels);
        if self.weights.len() != weights {
            return Err(Error::invalid(
                format!("weights of step {step}: weight"),
                format!("{weights} elements"),
                self.weights.len(),
            ));
        }
        if self.bias.len() != channels {
            return Err(Error::invalid(
                format!("weights of step {step}: bias"),
                format!("{channels} elements"),
                self.bias.len(),
            ));
        }
        let most = 1i16 << (layer.weight_bits - 1);
        if self.weights.iter().any(|&w| !(-most..most).contains(&i16::from(w))) {
            let expected = format!("{} bit two's complement", layer.weight_bits);
            let what = format!("weights of step {step}: weight");
            return Err(Error::invalid(what, expected, "a wider value"));
        }
        let bound = 1u64 << 60;
        if self.bias.iter().any(|b| b.unsigned_abs() >= bound) {
            let what = format!("weights of step {step}: bias");
            return Err(Error::invalid(what, "less than 2^60", "a larger value"));
        }
        Ok(())
    }

    /// The exact interval of the accumulators for inputs within `(low, high)`.
    pub fn range(&self, layer: &Layer, inputs: (i128, i128)) -> (i128, i128) {
        accumulators(&layer.geometry, layer.algorithm, self, &layer.shifts, inputs)
    }
}

/// The exact interval of `(W x)[c] << shifts[c] + bias[c]` over all output channels, for inputs
/// within `(low, high)`, from the sums of positive and of negative weights. Padding adds zero to
/// what an input can be. Of weights in Winograd's domain the kernels count that they amount to at a
/// tile's outputs.
///
/// # Panics
/// Where the weights are not as many as the geometry says.
pub fn accumulators(
    geometry: &Geometry,
    algorithm: Algorithm,
    layer: &LayerWeights,
    shifts: &[u8],
    (low, high): (i128, i128),
) -> (i128, i128) {
    let g = geometry;
    let padded = g.pad_top + g.pad_left + g.pad_bottom + g.pad_right > 0;
    let zero = padded || algorithm == Algorithm::Winograd;
    let inputs = if zero { (low.min(0), high.max(0)) } else { (low, high) };
    let channels = layer.bias.iter().enumerate();
    let intervals = channels.map(|(channel, &bias)| match algorithm {
        Algorithm::Direct | Algorithm::WinogradExact => {
            let weights = &layer.weights[channel * g.fan_in()..(channel + 1) * g.fan_in()];
            let sums = weights.iter().fold((0i128, 0i128), |(negative, positive), &weight| {
                let weight = i128::from(weight);
                (negative + weight.min(0), positive + weight.max(0))
            });
            let shift = shift(shifts, channel);
            interval((sums.0 << shift, sums.1 << shift), bias, inputs)
        }
        Algorithm::Winograd => {
            let fan_in = g.in_channels / g.groups;
            let kernels = winograd::effective(fan_in, |position, input| {
                let at = position * g.out_channels + channel;
                i128::from(layer.weights[at * fan_in + input]) << shift(shifts, at)
            });
            let [first, others @ ..] = kernels.map(|sums| interval(sums, bias, inputs));
            others.into_iter().fold(first, join)
        }
    });
    intervals.reduce(join).unwrap_or((0, 0))
}

/// The interval of an accumulator, from the sums of its negative and of its positive weights.
fn interval(
    (negative, positive): (i128, i128),
    bias: i64,
    (low, high): (i128, i128),
) -> (i128, i128) {
    let least = positive.saturating_mul(low).saturating_add(negative.saturating_mul(high));
    let most = positive.saturating_mul(high).saturating_add(negative.saturating_mul(low));
    (least.saturating_add(bias.into()), most.saturating_add(bias.into()))
}

/// The least interval that holds both.
fn join((a, b): (i128, i128), (c, d): (i128, i128)) -> (i128, i128) {
    (a.min(c), b.max(d))
}

/// One entry of a layer's shifts, 64 at the most; zero where there are none.
fn shift(shifts: &[u8], at: usize) -> u32 {
    shifts.get(at).map_or(0, |&e| u32::from(e).min(64))
}

impl Drop for LayerWeights {
    fn drop(&mut self) {
        self.weights.zeroize();
        self.bias.zeroize();
    }
}

impl ZeroizeOnDrop for LayerWeights {}

impl fmt::Debug for LayerWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayerWeights({} weights, {} biases)", self.weights.len(), self.bias.len())
    }
}
