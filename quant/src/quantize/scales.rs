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
use super::extent::{Extent, limits, signed, steps};
use super::{BitWidths, conv};

/// The chosen scales, as base-two logarithms.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// Of every activation quantizer.
    pub activations: Vec<f64>,
    /// The least integer of every activation quantizer.
    pub lows: Vec<i64>,
    /// Of every layer's weights, up to a power of two.
    pub layers: Vec<f64>,
    /// Of every activation quantizer, how many steps linear elements reach below zero; 0 where all
    /// are alike.
    pub below: Vec<u32>,
}

impl Scales {
    /// The integers of an activation quantizer. Of linear elements the least is of those that are
    /// not kept, and the largest of those that are.
    pub(super) fn limits(&self, bit_widths: &BitWidths, activation: usize) -> (f64, f64) {
        let (low, high) = limits(bit_widths.activation_bits[activation], self.lows[activation]);
        (low - f64::from(self.below[activation]), high)
    }

    /// The interval that its wire has: with linear elements, two's complement of a bit more.
    pub(super) fn interval(
        &self,
        bit_widths: &BitWidths,
        quantizer: &ActivationQuantizer,
        activation: usize,
    ) -> (f64, f64) {
        match quantizer.kept {
            Some(_) => signed(bit_widths.activation_bits[activation] + 1),
            None => self.limits(bit_widths, activation),
        }
    }
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
        let quantizers = self.activations.quantizers.iter().enumerate();
        let (activations, lows): (Vec<f64>, Vec<i64>) = quantizers
            .map(|(id, activation)| {
                let m = candidates[activation.group][chosen[activation.group]];
                let found = self.best_power(id, m);
                (m + f64::from(found.power), found.low)
            })
            .unzip();
        let below = activations.iter().enumerate().map(|(id, scale)| {
            let most = steps(self.bit_widths.activation_bits[id]);
            self.calibration.activations[id].below(scale.exp2(), most)
        });
        Scales {
            below: below.collect(),
            activations,
            lows,
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
        self.members(group).map(|(id, _)| self.best_power(id, m).error).sum()
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
        let most = steps(self.bit_widths.activation_bits[id]);
        let cut_off = activation.max.map(|max| (f64::from(max) / most).log2());
        cut_off.or_else(|| (!activation.multiplies.is_empty()).then_some(0.0))
    }

    /// The power of two that suits an activation quantizer's values best.
    fn best_power(&self, id: usize, mantissa: f64) -> Power {
        best_power(
            &self.calibration.activations[id],
            &self.activations.quantizers[id],
            mantissa,
            self.bit_widths.activation_bits[id],
        )
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

/// A power of two for the scale of an activation quantizer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Power {
    pub power: i32,
    /// The least integer at that scale.
    pub low: i64,
    /// The relative error of rounding.
    pub error: f64,
}

impl ActivationQuantizer {
    /// Whether its steps begin at zero. Those of linear elements do too, before some of them are
    /// given to what is below it.
    fn is_unsigned(&self) -> bool {
        !self.signed || self.kept.is_some()
    }

    /// The least integer at a scale. Pixels that calibration images do not show may reach as far
    /// as these, on either side.
    fn low(&self, extent: Extent, scale: f64, bits: u8) -> i64 {
        match self.value.producer() {
            _ if self.is_unsigned() => 0,
            Some(_) => extent.low(scale, bits),
            None => -1 << (bits - 1),
        }
    }

    /// The least power at which the integers of a width reach from end to end. With 15 steps,
    /// mantissa 0 and 6.0: log2(0.4) = -1.3 gives -1, and 15 / 2 is above 6 where 15 / 4 is not.
    fn holding_power(&self, extent: Extent, bits: u8, mantissa: f64) -> i32 {
        let magnitude = extent.largest.max(-extent.least);
        let (reach, most) = match self.value.producer() {
            _ if self.is_unsigned() => (magnitude, steps(bits)),
            Some(_) => (extent.span(), steps(bits)),
            None => (magnitude, steps(bits - 1).max(1.0)),
        };
        let power = ((reach.max(1e-20) / most).log2() - mantissa).ceil() as i32;
        // No cut-off above the ReLU's own, as nearly as the mantissa allows.
        self.max.map_or(power, |max| power.min(cut_off_power(max, most, mantissa)))
    }
}

/// The power of two that suits an activation quantizer's values best at a mantissa.
pub(super) fn best_power(
    samples: &Samples,
    activation: &ActivationQuantizer,
    mantissa: f64,
    bits: u8,
) -> Power {
    let extent = samples.extent();
    let top = activation.holding_power(extent, bits, mantissa);
    // Pixels are not cut off where there is room for all of them.
    let whole =
        activation.value.producer().is_none() && steps(bits - u8::from(activation.signed)) >= 127.0;
    // Without a range given, cutting off down to a sixteenth of the largest value is tried too.
    let extent = samples.reach.map_or(extent, |reach| extent.within(reach.into()));
    let powers = match samples.reach {
        _ if whole || samples.is_dead() => top..=top,
        Some(_) => {
            let power = activation.holding_power(extent, bits, mantissa);
            power..=power
        }
        None => top - 4..=top,
    };
    let found = powers.map(|power| {
        let scale = (mantissa + f64::from(power)).exp2();
        let low = activation.low(extent, scale, bits);
        let (least, most) = limits(bits, low);
        Power { power, low, error: samples.error(scale, least, most) }
    });
    let best = found.reduce(|best, found| if found.error < best.error { found } else { best });
    best.expect("invariant: there is a power at least")
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
        let high = steps;
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
