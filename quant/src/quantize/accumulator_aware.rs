//! Accumulators that are a bit narrower: where a layer's exact interval is only a little too wide
//! for the next ring, some of its integers move toward zero until it fits. A bit of the ring is
//! worth its share of everything that the layer moves.
//!
//! No channel may reach further than the ring, which is a budget for the sums of its positive and
//! of its negative weights (Colbert, Pappalardo, Petri-Koenig: A2Q, ICCV 2023; with GPTQ's
//! objective Colbert et al.: AXE, 2024). Theirs hold from the first integer on; ours are met
//! afterwards, and only where the output's error hardly grows.

use model::{Conv, Model, Op};
use rayon::prelude::*;

use super::BitWidths;
use super::activation_quantizers::{ActivationQuantizers, SAME, Target, off_power};
use super::hessian::{Group, Slope};
use super::round::{QuantizedWeights, WeightQuantizer, blocks};
use super::scales::Scales;

/// What there is in a ring beside a layer's products, and the steps of everything, as base-two
/// logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Room {
    /// The least and the largest integer of the input.
    input: (f64, f64),
    /// Of the input's scale.
    input_scale: f64,
    /// Of the sum's scale: the finest of its terms'.
    sum_scale: f64,
    /// The least and the largest that comes on top, in steps of the sum.
    rest: (f64, f64),
    /// The narrowest ring that the sum may have.
    least: u32,
}

/// How much a layer's error may grow, of itself.
pub(super) const GROWTH: f64 = 1.0 / 16.0;

/// The most weights of a layer that is narrowed: every step looks at all weights of a channel, and
/// with so many to choose from takes minutes.
const NARROWED: usize = 1 << 24;

/// Blocks of channels that are narrowed before it is asked whether the error has grown too much
/// already: most layers are hopeless, and told by the first.
const BLOCKS: usize = 2;

/// A channel's integers.
#[derive(Clone)]
struct Channel {
    weights: Vec<i8>,
    bias: f64,
    /// What an integer of one is worth.
    scale: f64,
    /// How much the error has grown.
    growth: f64,
    /// The sums of the positive weights and of the magnitudes of the negative ones.
    sums: (i64, i64),
}

impl Channel {
    fn new(weights: &[i8], bias: f64, scale: f64) -> Self {
        let sums = weights.iter().fold((0, 0), |(positive, negative), &w| {
            let w = i64::from(w);
            (positive + w.max(0), negative + (-w).max(0))
        });
        Self { weights: weights.to_vec(), bias, scale, growth: 0.0, sums }
    }

    /// Moves a weight that is not zero toward it; the step, in real numbers.
    fn shrink(&mut self, at: usize) -> f64 {
        let sign = self.weights[at].signum();
        self.weights[at] -= sign;
        if sign > 0 {
            self.sums.0 -= 1
        } else {
            self.sums.1 -= 1
        }
        -f64::from(sign) * self.scale
    }
}

impl Room {
    /// That of a layer whose integers are `rounded`; `None` where it is not what decides its ring.
    pub(super) fn of(
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
    fn interval(&self, channel: &Channel) -> (f64, f64) {
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
    fn ring(&self, channel: &Channel) -> u32 {
        let (least, largest) = self.interval(channel);
        (-least).max(largest + 1.0).max(1.0).log2().ceil() as u32 + 1
    }
}

impl WeightQuantizer {
    /// The layer with accumulators a bit narrower, where its error grows by no more than `growth`
    /// of itself; else as it was. `conv` is what `rounded` was rounded from.
    pub(super) fn narrowed(
        &self,
        conv: &Conv,
        rounded: QuantizedWeights,
        room: &Room,
        growth: f64,
    ) -> QuantizedWeights {
        if conv.weight.len() > NARROWED {
            return rounded;
        }
        let integers = rounded.weights.chunks_exact(conv.geometry.fan_in());
        let given: Vec<(&Group, (&[f32], Channel))> = self
            .channels(conv)
            .zip(integers)
            .enumerate()
            .map(|(at, ((group, floats), weights))| {
                let scale = (rounded.log_scale - f64::from(rounded.exponents[at])).exp2();
                (group, (floats, Channel::new(weights, rounded.bias[at], scale)))
            })
            .collect();
        // The layer's ring is that of its widest channel: below `least`, and below two bits, there
        // is nothing to win.
        let widest =
            given.par_iter().map(|(_, (_, channel))| room.ring(channel)).max().unwrap_or(0);
        if widest <= room.least.max(2) {
            return rounded;
        }
        let blocks = blocks(&given);
        let errors: Vec<f64> = blocks.par_iter().map(|(_, block)| error(block)).collect();
        let most = growth * errors.iter().sum::<f64>();
        let mut channels = Vec::new();
        // A hopeless layer is told after few blocks: what has grown too much already is hardly ever
        // won back by channels to come.
        for some in blocks.chunks(BLOCKS) {
            let narrowed: Option<Vec<Vec<Channel>>> =
                some.par_iter().map(|(_, block)| narrowed(block, room, widest - 1, most)).collect();
            let Some(narrowed) = narrowed else { return rounded };
            channels.extend(narrowed.into_iter().flatten());
            if channels.iter().map(|channel| channel.growth).sum::<f64>() > most {
                return rounded;
            }
        }
        let bias = channels.iter().map(|channel| channel.bias).collect();
        let weights = channels.into_iter().flat_map(|channel| channel.weights).collect();
        QuantizedWeights { weights, bias, ..rounded }
    }
}

impl Group {
    /// `d`: what rounding has changed.
    fn change(floats: &[f32], channel: &Channel) -> Vec<f64> {
        let pairs = floats.iter().zip(&channel.weights);
        pairs.map(|(&w, &q)| f64::from(q) * channel.scale - f64::from(w)).collect()
    }

    /// Moves integers toward zero until the channel fits a ring, those first by which the error
    /// grows least for what they save; `None` where it grows by more than `most`. `slope` is `H d`.
    fn narrowed(
        &self,
        slope: Vec<f64>,
        mut channel: Channel,
        room: &Room,
        ring: u32,
        most: f64,
    ) -> Option<Channel> {
        let (low, high) = room.input;
        // A ring of `l` bits holds sums below `2^(l-1)`: that end is checked first, then the lower
        // one.
        let half = f64::from(ring - 1).exp2();
        let (mut slope, mut prices) = (Slope::new(slope), None::<Prices>);
        // Every round takes one off one magnitude, so it ends: the channel fits, the error is too
        // large, or no weight is left that would help.
        while room.ring(&channel) > ring {
            // What a step of a positive and of a negative weight takes off the end that is too far
            // out.
            let saved = if room.interval(&channel).1 >= half { (high, -low) } else { (-low, high) };
            let known = prices.take().filter(|prices| prices.saved == saved);
            let prices = prices.insert(known.unwrap_or_else(|| Prices::of(self, &channel, saved)));
            let at = prices.least(&slope.values)?;
            channel.growth += Prices::growth(self, &channel, self.slope(&slope, at), at);
            let step = channel.shrink(at);
            channel.bias -= step * self.mean[at];
            if channel.growth > most {
                return None;
            }
            if channel.weights[at] == 0 {
                prices.exhaust(at);
            }
            // `H d` follows by one row, `H` being symmetric: no product is made anew.
            self.step(&mut slope, at, step);
        }
        Some(channel)
    }
}

/// By how much the error grows, for what is saved, if a weight moves toward zero.
///
/// When `d` moves by `step` at weight `i`, `d H d^T` grows by `2 step (H d)[i] + step^2 H[i, i]`:
/// only `(H d)[i]` changes from round to round.
struct Prices {
    /// What a step of a positive and of a negative weight saves.
    saved: (f64, f64),
    /// `2 step / saved`, by weight.
    slopes: Vec<f64>,
    /// `step^2 H[i, i] / saved`; infinite where nothing is saved.
    curvatures: Vec<f64>,
}

/// Weights whose prices are computed beside each other.
const TOGETHER: usize = 64;

impl Prices {
    fn of(group: &Group, channel: &Channel, saved: (f64, f64)) -> Self {
        let mut prices = Self { saved, slopes: Vec::new(), curvatures: Vec::new() };
        for (at, &q) in channel.weights.iter().enumerate() {
            let saved = if q > 0 { saved.0 } else { saved.1 };
            let step = -f64::from(q.signum()) * channel.scale;
            let possible = q != 0 && saved > 0.0;
            let curvature = step * step * group.diagonal[at];
            prices.slopes.push(if possible { 2.0 * step / saved } else { 0.0 });
            prices.curvatures.push(if possible { curvature / saved } else { f64::INFINITY });
        }
        prices
    }

    /// By how much the error grows if a weight moves toward zero.
    fn growth(group: &Group, channel: &Channel, slope: f64, at: usize) -> f64 {
        let step = -f64::from(channel.weights[at].signum()) * channel.scale;
        2.0 * step * slope + step * step * group.diagonal[at]
    }

    /// The first of the weights with the least price, if there is any that saves something.
    fn least(&self, slope: &[f64]) -> Option<usize> {
        let mut best = (f64::INFINITY, 0);
        let mut prices = [f64::INFINITY; TOGETHER];
        let parts = self.slopes.chunks(TOGETHER).zip(self.curvatures.chunks(TOGETHER));
        for (part, ((slopes, curvatures), slope)) in parts.zip(slope.chunks(TOGETHER)).enumerate() {
            let given = slopes.iter().zip(curvatures).zip(slope);
            for (price, ((s, curvature), slope)) in prices.iter_mut().zip(given) {
                *price = s * slope + curvature;
            }
            // Minima of lanes, in registers; which weight it was is asked of the best part only.
            let least = least(&prices[..slopes.len()]);
            if least < best.0 {
                let at = prices.iter().position(|price| *price == least)?;
                best = (least, part * TOGETHER + at);
            }
        }
        (best.0 < f64::INFINITY).then_some(best.1)
    }

    /// A weight has become zero.
    fn exhaust(&mut self, at: usize) {
        (self.slopes[at], self.curvatures[at]) = (0.0, f64::INFINITY);
    }
}

/// The least of some numbers.
fn least(numbers: &[f64]) -> f64 {
    let mut lanes = [f64::INFINITY; 8];
    for numbers in numbers.chunks(lanes.len()) {
        for (lane, &number) in lanes.iter_mut().zip(numbers) {
            *lane = if number < *lane { number } else { *lane };
        }
    }
    lanes.into_iter().fold(f64::INFINITY, f64::min)
}

/// Channels with the weights that they were rounded from, all of one group.
type Block<'a> = [(&'a Group, (&'a [f32], Channel))];

/// Of every channel, `d` and `H d`; the latter in one product.
fn slopes(block: &Block<'_>) -> (Vec<f64>, Vec<f64>) {
    let group = block[0].0;
    let changes: Vec<f64> =
        block.iter().flat_map(|(_, (floats, channel))| Group::change(floats, channel)).collect();
    let slopes = group.times(&changes);
    (changes, slopes)
}

/// The sum of `d H d^T`.
fn error(block: &Block<'_>) -> f64 {
    let (changes, slopes) = slopes(block);
    slopes.iter().zip(&changes).map(|(slope, d)| slope * d).sum()
}

/// All of the channels within a ring.
fn narrowed(block: &Block<'_>, room: &Room, ring: u32, most: f64) -> Option<Vec<Channel>> {
    if block.iter().all(|(_, (_, channel))| room.ring(channel) <= ring) {
        return Some(block.iter().map(|(_, (_, channel))| channel.clone()).collect());
    }
    let (_, slopes) = slopes(block);
    let each = block.par_iter().zip(slopes.par_chunks_exact(block[0].0.rows));
    each.map(|((group, (_, channel)), slope)| {
        if room.ring(channel) <= ring {
            return Some(channel.clone());
        }
        group.narrowed(slope.to_vec(), channel.clone(), room, ring, most)
    })
    .collect()
}

/// What a requantization adds before it drops `shift` bits: half of a step, and with what makes the
/// least result zero.
fn rounding_constants(shift: f64, low: i64) -> (f64, f64) {
    let rounding = (shift.exp2() / 2.0).floor();
    (rounding, rounding - low as f64 * shift.exp2())
}

#[cfg(test)]
mod tests {
    use model::{Preprocess, Tensor, import_file};
    use proptest::prelude::*;
    use protocols::linear::Geometry;
    use protocols::plan::Algorithm;
    use protocols::weights::{LayerWeights, accumulators};

    use super::*;
    use crate::quantize::calibrate::{Moments, Second};
    use crate::quantize::extent::limits;
    use crate::quantize::{Quantizer, Ranges};

    const ROWS: usize = 12;
    const CHANNELS: usize = 3;

    /// The exact interval of a rounded layer as it will be emitted, in steps of its finest channel,
    /// with the rest.
    fn exact(rounded: &QuantizedWeights, room: &Room) -> (f64, f64) {
        let finest = rounded.exponents.iter().copied().max().unwrap();
        let step = (rounded.log_scale - f64::from(finest) + room.input_scale).exp2();
        let bias = rounded.bias.iter().map(|b| (b / step).round() as i64).collect();
        let shifts: Vec<u8> = rounded.exponents.iter().map(|e| (finest - e) as u8).collect();
        let layer = LayerWeights { weights: rounded.weights.clone(), bias };
        let input = (room.input.0 as i128, room.input.1 as i128);
        let (lo, hi) = accumulators(
            &Geometry::dense(ROWS, CHANNELS),
            Algorithm::Direct,
            &layer,
            &shifts,
            input,
        );
        (lo as f64 + room.rest.0, hi as f64 + room.rest.1)
    }

    fn ring((lo, hi): (f64, f64)) -> u32 {
        fusion::ring_width(lo as i128, hi as i128)
    }

    proptest! {
        #[test]
        fn narrowed_layers_fit_keep_their_means_and_hardly_change(
            weight in prop::collection::vec(-1.0f32..1.0, ROWS * CHANNELS),
            bias in prop::collection::vec(-3.0f32..3.0, CHANNELS),
            mean in prop::collection::vec(0.0f64..1.0, ROWS),
            bits in 2u8..=8,
            input_bits in 2u8..=8,
            below in 0i64..256,
            log_scale in -6.0f64..-1.0,
            input_scale in -6.0f64..0.0,
            rounding in 0u32..64,
            any in prop::bool::ANY,
        ) {
            let conv = Conv { geometry: Geometry::dense(ROWS, CHANNELS), weight, bias };
            let second = (0..ROWS * ROWS).map(|p| {
                mean[p / ROWS] * mean[p % ROWS] + if p / ROWS == p % ROWS { 0.3 } else { 0.05 }
            });
            let (second, first) = (second.collect(), mean.clone());
            let second = Second::Whole(second);
            let moments = Moments { rows: ROWS, second, first, samples: 1 << 20 };
            let weight_quantizer = WeightQuantizer::new(vec![moments]);
            let before = weight_quantizer.round(&conv, bits, log_scale);
            let finest = before.exponents.iter().copied().max().unwrap();
            let rest = (f64::from(rounding), f64::from(2 * rounding));
            let sum_scale = log_scale - f64::from(finest) + input_scale;
            let input = limits(input_bits, -(below % (1 << input_bits)));
            let room = Room { input, input_scale, sum_scale, rest, least: 0 };
            let growth = if any { 1e9 } else { GROWTH };
            let after = weight_quantizer.narrowed(&conv, before.clone(), &room, growth);
            let error_of = |rounded: &QuantizedWeights| -> f64 {
                let of = |(at, (group, floats)): (usize, (&Group, &[f32]))| {
                    let scale = (rounded.log_scale - f64::from(rounded.exponents[at])).exp2();
                    let weights = &rounded.weights[at * ROWS..(at + 1) * ROWS];
                    error(&[(group, (floats, Channel::new(weights, 0.0, scale)))])
                };
                weight_quantizer.channels(&conv).enumerate().map(of).sum()
            };
            if after != before {
                // The bias may be counted a step wider than it comes to.
                let (was, is) = (ring(exact(&before, &room)), ring(exact(&after, &room)));
                let (lo, hi) = exact(&before, &room);
                prop_assert!(
                    is < was || (is == was && ring((lo - 2.0, hi + 2.0)) > was),
                    "{was} to {is}"
                );
                prop_assert!(
                    error_of(&after) <= error_of(&before) * (1.0 + growth) * (1.0 + 1e-9) + 1e-12
                );
            }
            let mut pairs = before.weights.iter().zip(&after.weights);
            let nearer_to_zero = |(&b, &a): (&i8, &i8)| {
                a.signum() * b.signum() >= 0 && a.unsigned_abs() <= b.unsigned_abs()
            };
            prop_assert!(pairs.all(nearer_to_zero));
            for channel in 0..CHANNELS {
                let by = |at: usize| f64::from(before.weights[at] - after.weights[at]);
                let moved: f64 = (0..ROWS).map(|at| by(channel * ROWS + at) * mean[at]).sum();
                let scale = (log_scale - f64::from(before.exponents[channel])).exp2();
                prop_assert!(
                    (after.bias[channel] - before.bias[channel] - moved * scale).abs() < 1e-9
                );
            }
        }
    }

    #[test]
    fn a_channel_that_is_a_little_too_wide_gives_way_if_it_may() {
        // 35 * 15 is above 511, 34 * 15 below.
        let weight = [[3.0f32; ROWS - 1].as_slice(), &[2.4]].concat();
        let conv = Conv { geometry: Geometry::dense(ROWS, 1), weight, bias: vec![0.0] };
        let unit = (0..ROWS * ROWS).map(|p| f64::from(u8::from(p / ROWS == p % ROWS)));
        let weight_quantizer = WeightQuantizer::new(vec![Moments {
            samples: 1 << 20,
            rows: ROWS,
            second: Second::Whole(unit.collect()),
            first: vec![0.0; ROWS],
        }]);
        let rest = (0.0, 0.0);
        let room = Room { input: limits(4, 0), input_scale: 0.0, sum_scale: 0.0, rest, least: 0 };
        let rounded = weight_quantizer.round(&conv, 3, 0.0);
        let sum =
            |rounded: &QuantizedWeights| rounded.weights.iter().map(|&w| i32::from(w)).sum::<i32>();
        assert_eq!(sum(&rounded), 35);
        assert_eq!(weight_quantizer.narrowed(&conv, rounded.clone(), &room, GROWTH), rounded);
        assert_eq!(sum(&weight_quantizer.narrowed(&conv, rounded, &room, 10.0)), 34);
    }

    #[test]
    fn the_room_that_is_foreseen_is_the_ring_of_the_plan() {
        let file = |name: &str| {
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets").join(name)
        };
        let model = import_file(&file("digits.onnx")).unwrap();
        let images =
            crate::Dataset::open(&file("digits-calib-images-idx3-ubyte"), None, model.interface())
                .unwrap();
        let batch: Tensor = images.batch(0..32, &Preprocess::Unit).unwrap();
        let quantizer = Quantizer::new(&model, &Preprocess::Unit, &batch, Ranges::Mse).unwrap();
        for bits in [3, 8] {
            let (layers, activations) =
                (quantizer.activations.layers.len(), quantizer.activations.quantizers.len());
            let bit_widths = BitWidths {
                weight_bits: vec![bits; layers],
                activation_bits: vec![bits; activations],
            };
            let (graph, weights) = quantizer.quantize(&bit_widths).unwrap();
            let options =
                fusion::Options { weights: weights.digest(), ..fusion::Options::default() };
            let plan = fusion::fuse(&graph, &options).unwrap();
            let scales = quantizer.scales(&bit_widths);
            let mut compared = 0;
            for (layer, rounded) in quantizer.all_rounded(&bit_widths, &scales).iter().enumerate() {
                let place = &quantizer.activations.layers[layer];
                let Some(room) =
                    Room::of(&model, &quantizer.activations, &scales, &bit_widths, layer, rounded)
                else {
                    continue;
                };
                let fan_in = quantizer.geometry(layer).fan_in();
                let channels =
                    rounded.weights.chunks_exact(fan_in).enumerate().map(|(at, weights)| {
                        let scale = (rounded.log_scale - f64::from(rounded.exponents[at])).exp2();
                        Channel::new(weights, rounded.bias[at], scale)
                    });
                let foreseen =
                    channels.map(|channel| room.ring(&channel)).max().unwrap().max(room.least);
                let step = plan
                    .steps
                    .iter()
                    .find(|step| step.name == model.nodes[place.node].name)
                    .unwrap();
                let protocols::plan::Op::Linear(protocols::steps::Linear {
                    ring, algorithm, ..
                }) = &step.op
                else {
                    unreachable!()
                };
                if *algorithm == Algorithm::Direct {
                    assert_eq!(foreseen, ring.get(), "{} at {bits} bits", step.name);
                    compared += 1;
                }
            }
            assert!(compared > 0);
        }
    }
}
