//! The ring of a layer's sum, foreseen before there is a graph.

use model::{Model, Op};

use super::super::BitWidths;
use super::super::activation_quantizers::{ActivationQuantizers, SAME, Target, off_power};
use super::super::round::QuantizedWeights;
use super::super::scales::Scales;
use super::channel::Channel;

/// What there is in a ring beside a layer's products, and the steps of everything, as base-two
/// logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Room {
    /// The least and the largest integer of the input.
    pub(super) input: (f64, f64),
    /// Of the input's scale.
    pub(super) input_scale: f64,
    /// Of the sum's scale: the finest of its terms'.
    pub(super) sum_scale: f64,
    /// The least and the largest that comes on top, in steps of the sum.
    pub(super) rest: (f64, f64),
    /// The narrowest ring that the sum may have.
    pub(super) least: u32,
}

impl Room {
    /// That of a layer whose integers are `rounded`; `None` where it is not what decides its ring.
    pub(in super::super) fn of(
        model: &Model,
        activations: &ActivationQuantizers,
        scales: &Scales,
        bit_widths: &BitWidths,
        layer: usize,
        rounded: &QuantizedWeights,
    ) -> Option<Self> {
        let place = &activations.layers[layer];
        // All below is counted in steps of `sum_scale`, the finest among the terms of the sum: the
        // intervals that `fuse` will find, before there is a graph.
        let interval = |activation: usize| {
            scales.interval(bit_widths, &activations.quantizers[activation], activation)
        };
        // An average is a sum: so much wider is what is read, and so much finer.
        let read = |activation: usize, offset: f64| {
            let ((low, high), area) = (interval(activation), (-offset).exp2());
            ((low * area, high * area), scales.activations[activation] + offset)
        };
        let (input, input_scale) = read(place.input, place.input_offset);
        let finest = rounded.exponents.iter().copied().max().unwrap_or(0);
        let mut sum_scale = rounded.log_scale - f64::from(finest) + input_scale;
        let mut others = Vec::new();
        // Walking from the layer to its activation quantizer collects the terms of all sums on the
        // way. A second reader, or pooling, makes it give up.
        let mut value = model.nodes[place.node].output;
        while activations.activation(value).is_none() && value != model.output {
            let [consumer] = model.consumers(value)[..] else { return None };
            let node = &model.nodes[consumer];
            match &node.op {
                Op::Add => {
                    let other = *node.inputs.iter().find(|&&input| input != value)?;
                    let (activation, offset) = activations.source(model, other)?;
                    let (interval, scale) = read(activation, offset);
                    sum_scale = sum_scale.min(scale);
                    others.push((interval, scale));
                }
                Op::Relu { .. } | Op::PartRelu(_) | Op::View(_) | Op::Reorder(_) => {}
                Op::Conv(_) | Op::Function(_) | Op::Mul | Op::MaxPool(_) | Op::AvgPool(_) => {
                    return None;
                }
                Op::Concat => return None,
            }
            value = node.output;
        }
        let (mut rest, mut least) = ((0.0, 0.0), 0);
        if let Target::Quantizer(activation) = place.target {
            sum_scale = sum_scale.min(scales.activations[activation]);
            // A requantization drops `shift` bits, with half of a step added first.
            let shift = (scales.activations[activation] - sum_scale).round();
            let bits = bit_widths.activation_bits[activation];
            let low = match activations.quantizers[activation].kept {
                // What is linear reaches so far below zero at most.
                Some(_) => -1 << bits,
                None => scales.lows[activation],
            };
            rest = rounding_constants(shift, low);
            least = (shift + f64::from(bits)) as u32 + 1;
        }
        for ((low, high), scale) in others {
            // What has to be multiplied first is finer than its scale says.
            if off_power(scale - sum_scale) > SAME {
                return None;
            }
            let steps = (scale - sum_scale).round().exp2();
            rest = (rest.0 + low * steps, rest.1 + high * steps);
        }
        Some(Self { input, input_scale, sum_scale, rest, least })
    }

    /// The least and the largest sum that a channel can come to.
    pub(super) fn interval(&self, channel: &Channel) -> (f64, f64) {
        // Positive weights reach furthest with the largest input, negative ones with the least:
        // weights of sums 5 and 3 on inputs from 0 to 15 come to -45 up to 75.
        let (low, high) = self.input;
        // Steps of the sum that one of this channel's integers is worth at an input of 1: a power
        // of two.
        let step = (channel.scale.log2() + self.input_scale - self.sum_scale).round().exp2();
        let (positive, negative) = (channel.sums.0 as f64 * step, channel.sums.1 as f64 * step);
        // The bias is rounded later, to steps of this sum or coarser ones.
        let bias = channel.bias / self.sum_scale.exp2();
        let slack = (step / 2.0).max(0.5);
        (
            positive * low - negative * high + (bias - slack).floor() + self.rest.0,
            positive * high - negative * low + (bias + slack).ceil() + self.rest.1,
        )
    }

    /// The least ring that holds what a channel can come to.
    pub(super) fn ring(&self, channel: &Channel) -> u32 {
        let (least, largest) = self.interval(channel);
        (-least).max(largest + 1.0).max(1.0).log2().ceil() as u32 + 1
    }
}

/// What a requantization adds before it drops `shift` bits: half of a step, and with what makes the
/// least result zero.
fn rounding_constants(shift: f64, low: i64) -> (f64, f64) {
    let rounding = (shift.exp2() / 2.0).floor();
    (rounding, rounding - low as f64 * shift.exp2())
}
