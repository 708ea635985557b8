//! Accumulators that are a bit narrower: where a layer's exact interval is only a little too wide
//! for the next ring, some of its integers move toward zero until it fits. A bit of the ring is
//! worth its share of everything that the layer moves.
//!
//! No channel may reach further than the ring, which is a budget for the sums of its positive and
//! of its negative weights (Colbert, Pappalardo, Petri-Koenig: A2Q, ICCV 2023; with GPTQ's
//! objective Colbert et al.: AXE, 2024). Theirs hold from the first integer on; ours are met
//! afterwards, and only where the output's error hardly grows.

mod block;
mod channel;
mod prices;
mod room;

use model::Conv;
use rayon::prelude::*;

use super::hessian::Group;
use super::round::{QuantizedWeights, WeightQuantizer, blocks};
use block::{error, narrowed};
use channel::Channel;
pub(super) use room::Room;

/// How much a layer's error may grow, of itself.
pub(super) const GROWTH: f64 = 1.0 / 16.0;

/// The most weights of a layer that is narrowed: every step looks at all weights of a channel, and
/// with so many to choose from takes minutes.
const NARROWED: usize = 1 << 24;

/// Blocks of channels that are narrowed before it is asked whether the error has grown too much
/// already: most layers are hopeless, and told by the first.
const BLOCKS: usize = 2;

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
    use crate::quantize::{BitWidths, Quantizer, Ranges};

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
