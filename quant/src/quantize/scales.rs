//! Scales that make every rescaling a shift, at the least loss.
//!
//! All scales of a group of activation quantizers are one real number, its *mantissa*, times powers
//! of two. Each activation quantizer takes the power that suits its values best, each output
//! channel the one that suits its weights best, so a choice of mantissas is priced at once: the
//! activation quantizers' relative rounding errors and the layers'. Coordinate descent over the
//! groups, from where the activation quantizers alone are best, finds mantissas that are locally
//! best for all.

use model::Model;

use super::activation_quantizers::{ActivationQuantizer, ActivationQuantizers};
use super::calibrate::{Calibration, Samples};
use super::{BitWidths, conv};

/// The chosen scales, as base-two logarithms.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// Of every activation quantizer.
    pub activations: Vec<f64>,
    /// Of every layer's weights, up to a power of two.
    pub layers: Vec<f64>,
    /// Of every activation quantizer, how many steps linear elements reach below zero; 0 where all
    /// are alike.
    pub below: Vec<u32>,
}

/// Mantissas tried for a group.
const GRID: usize = 16;
/// Rounds of coordinate descent; it nearly always ends before.
const ROUNDS: usize = 6;

/// What solving looks at.
pub(super) struct Problem<'a> {
    pub model: &'a Model,
    pub activations: &'a ActivationQuantizers,
    pub calibration: &'a Calibration,
    pub bit_widths: &'a BitWidths,
}

/// The errors of layers at scales, in millionths of an octave. Layers see the difference of two
/// mantissas, and whole octaves do not matter: on a grid of sixteenths a layer has sixteen errors,
/// however often groups are tried.
type Memo = std::collections::HashMap<(usize, i64), f64>;

impl Problem<'_> {
    /// Solves for the mantissas, then for every activation quantizer's power of two.
    pub(super) fn solve(&self) -> Scales {
        let candidates: Vec<Vec<f64>> =
            (0..self.activations.groups).map(|group| self.candidates(group)).collect();
        let alone: Vec<Vec<f64>> = candidates
            .iter()
            .enumerate()
            .map(|(group, list)| list.iter().map(|&m| self.own_error(group, m)).collect())
            .collect();
        let mut chosen: Vec<usize> = alone.iter().map(|errors| least(errors)).collect();
        let mut memo = Memo::new();
        // Each step takes the best candidate of one group, all others fixed: the sum of errors
        // never rises, and where nothing changes it is a local minimum.
        for _ in 0..ROUNDS {
            let before = chosen.clone();
            for group in 0..self.activations.groups {
                let errors: Vec<f64> = (0..candidates[group].len())
                    .map(|candidate| {
                        let mut trial = chosen.clone();
                        trial[group] = candidate;
                        alone[group][candidate]
                            + self.layers_error(group, &candidates, &trial, &mut memo)
                    })
                    .collect();
                chosen[group] = least(&errors);
            }
            if chosen == before {
                break;
            }
        }
        let activations: Vec<f64> = self
            .activations
            .quantizers
            .iter()
            .enumerate()
            .map(|(id, activation)| {
                let m = candidates[activation.group][chosen[activation.group]];
                m + f64::from(self.best_power(id, m).0)
            })
            .collect();
        Scales {
            below: activations
                .iter()
                .enumerate()
                .map(|(id, scale)| {
                    self.calibration.activations[id].below(scale.exp2(), self.limits(id).1)
                })
                .collect(),
            activations,
            layers: (0..self.activations.layers.len())
                .map(|layer| self.layer_scale(layer, &candidates, &chosen))
                .collect(),
        }
    }

    /// The activation quantizers of a group.
    fn members(&self, group: usize) -> impl Iterator<Item = (usize, &ActivationQuantizer)> {
        self.activations
            .quantizers
            .iter()
            .enumerate()
            .filter(move |(_, activation)| activation.group == group)
    }

    /// The error of a group's activation quantizers at a mantissa, without that of layers.
    fn own_error(&self, group: usize, m: f64) -> f64 {
        self.members(group).map(|(id, _)| self.best_power(id, m).1).sum()
    }

    /// The error of the layers that see a group's mantissa.
    fn layers_error(
        &self,
        group: usize,
        candidates: &[Vec<f64>],
        chosen: &[usize],
        memo: &mut Memo,
    ) -> f64 {
        let touched =
            (0..self.activations.layers.len()).filter(|&layer| self.touches(layer, group));
        touched
            .map(|layer| {
                let log_scale = self.layer_scale(layer, candidates, chosen);
                let key = (layer, (log_scale.rem_euclid(1.0) * 1e6).round() as i64);
                *memo.entry(key).or_insert_with(|| self.layer_error(layer, log_scale))
            })
            .sum()
    }

    /// The mantissas that a group may have: one where the input or a cut-off ReLU demands it, else
    /// a grid.
    fn candidates(&self, group: usize) -> Vec<f64> {
        let exact =
            self.members(group).find_map(|(id, activation)| self.exact_scale(id, activation));
        if let Some(exact) = exact {
            return vec![exact];
        }
        // Mantissas are spread evenly over an octave: scales 1, 1.044, 1.091 to 1.915, times powers
        // of two.
        (0..GRID).map(|i| i as f64 / GRID as f64).collect()
    }

    /// The base-two logarithm of the scale that an activation quantizer must have, up to a power of
    /// two, if any: pixels of 0..255 have theirs, a ReLU that is cut off saturates exactly there,
    /// and gates of products have a power of two.
    fn exact_scale(&self, id: usize, activation: &ActivationQuantizer) -> Option<f64> {
        if activation.value.producer().is_none() {
            return self.activations.input.mantissa;
        }
        let cut_off = activation.max.map(|max| (f64::from(max) / self.limits(id).1).log2());
        cut_off.or_else(|| (!activation.multiplies.is_empty()).then_some(0.0))
    }

    /// The power of two that suits an activation quantizer's values best, and its relative error.
    fn best_power(&self, id: usize, mantissa: f64) -> (i32, f64) {
        best_power(
            &self.calibration.activations[id],
            &self.activations.quantizers[id],
            mantissa,
            self.limits(id),
        )
    }

    fn limits(&self, id: usize) -> (f64, f64) {
        steps(self.bit_widths.activation_bits[id], &self.activations.quantizers[id])
    }

    fn touches(&self, layer: usize, group: usize) -> bool {
        let layer = &self.activations.layers[layer];
        layer.target_group == group || self.activations.quantizers[layer.input].group == group
    }

    /// A layer's weight scale, up to a power of two: its target's over its input's.
    fn layer_scale(&self, layer: usize, candidates: &[Vec<f64>], chosen: &[usize]) -> f64 {
        let layer = &self.activations.layers[layer];
        let (target, input) = (layer.target_group, self.activations.quantizers[layer.input].group);
        candidates[target][chosen[target]] - candidates[input][chosen[input]] - layer.input_offset
    }

    fn layer_error(&self, layer: usize, log_scale: f64) -> f64 {
        let bits = self.bit_widths.weight_bits[layer];
        self.calibration.layers[layer].error(
            conv(self.model, self.activations.layers[layer].node),
            bits,
            log_scale,
        )
    }
}

/// The interval of a width.
pub(super) fn limits(bits: u8, signed: bool) -> (f64, f64) {
    let bits = i32::from(bits);
    if signed {
        (-2f64.powi(bits - 1), 2f64.powi(bits - 1) - 1.0)
    } else {
        (0.0, 2f64.powi(bits) - 1.0)
    }
}

/// The interval of what is kept of an activation quantizer at a width: linear elements have as many
/// steps, some of them below zero.
pub(super) fn steps(bits: u8, quantizer: &ActivationQuantizer) -> (f64, f64) {
    limits(bits, quantizer.signed && quantizer.kept.is_none())
}

/// The interval of its integers: of linear elements together with others, that of a bit more.
pub(super) fn interval(bits: u8, quantizer: &ActivationQuantizer) -> (f64, f64) {
    limits(bits + u8::from(quantizer.kept.is_some()), quantizer.signed)
}

/// The least power at which `high` steps reach the magnitude. With 15 steps, mantissa 0 and 6.0:
/// log2(0.4) = -1.3 gives -1, and 15 / 2 is above 6 where 15 / 4 is not.
fn holding_power(
    activation: &ActivationQuantizer,
    magnitude: f32,
    high: f64,
    mantissa: f64,
) -> i32 {
    let power = ((f64::from(magnitude.max(1e-20)) / high.max(1.0)).log2() - mantissa).ceil() as i32;
    // No cut-off above the ReLU's own, as nearly as the mantissa allows.
    activation.max.map_or(power, |max| power.min(cut_off_power(max, high, mantissa)))
}

/// The power of two that suits an activation quantizer's values best at a mantissa, and its
/// relative error.
pub(super) fn best_power(
    samples: &Samples,
    activation: &ActivationQuantizer,
    mantissa: f64,
    (low, high): (f64, f64),
) -> (i32, f64) {
    let top = holding_power(activation, samples.largest(), high, mantissa);
    // Pixels are not cut off where there is room for all of them.
    let whole = activation.value.producer().is_none() && high >= 127.0;
    // Without a range given, cutting off down to a sixteenth of the largest value is tried too.
    let powers = match samples.reach.map(|reach| holding_power(activation, reach, high, mantissa)) {
        _ if whole || samples.is_dead() => top..=top,
        Some(power) => power..=power,
        None => top - 4..=top,
    };
    powers
        .map(|power| (power, samples.error((mantissa + f64::from(power)).exp2(), low, high)))
        .fold((top, f64::INFINITY), |best, found| if found.1 < best.1 { found } else { best })
}

/// The power of two whose `high` steps end nearest to where a ReLU is cut off: 0 where the mantissa
/// is that activation quantizer's own. Those of a group share one mantissa, whatever their widths.
/// At 8 bits and 6.0 it is log2(6 / 255); an activation quantizer of 4 bits has power 4 there, and
/// ends at 15 * 16 * 6 / 255 = 5.65.
fn cut_off_power(max: f32, high: f64, mantissa: f64) -> i32 {
    ((f64::from(max) / high).log2() - mantissa).round() as i32
}

/// The index of the least error.
fn least(errors: &[f64]) -> usize {
    (0..errors.len()).fold(0, |best, i| if errors[i] < errors[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantizers_of_all_widths_of_a_group_end_near_where_their_relu_is_cut_off() {
        let high = |bits: u8| limits(bits, false).1;
        for own in 2..=8 {
            let mantissa = (6.0 / high(own)).log2();
            assert_eq!(cut_off_power(6.0, high(own), mantissa), 0, "{own} bits");
            for bits in 2..=8 {
                let power = cut_off_power(6.0, high(bits), mantissa);
                let end = high(bits) * (mantissa + f64::from(power)).exp2();
                assert!((4.2..8.5).contains(&end), "{bits} bits in a group of {own}: {end}");
            }
        }
    }
}
