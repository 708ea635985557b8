//! Rounding a layer's weights: a power-of-two scale for each channel, then the rounding that
//! changes the layer's output least.
//!
//! With `H` the covariance of the input, the output of a channel varies by `d H d^T` when its
//! weights move by `d` and its bias keeps the mean. Scales minimize the diagonal part; rounding is
//! greedy, weight by weight, each one's error made up for by those still free (Frantar, Ashkboos,
//! Hoefler, Alistarh: GPTQ, ICLR 2023, section 3; Frantar, Alistarh: Optimal Brain Compression).

use model::Conv;
use model::kernels::{Factor, multiply_add_spaced};
use rayon::prelude::*;

use super::calibrate::Moments;
use super::hessian::{Group, Hessian};

/// A layer's integers under one weight scale.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedWeights {
    /// `[K, N]`.
    pub weights: Vec<i8>,
    /// Channel `c` has the scale `2^(log_scale - exponents[c])`.
    pub exponents: Vec<i32>,
    /// The base-two logarithm of the scale at exponent zero.
    pub log_scale: f64,
    /// The bias that keeps the mean of every channel.
    pub bias: Vec<f64>,
}

/// What a layer's scales are chosen by: the damped diagonal of `H`, of every group.
#[derive(Clone, Debug, Default)]
pub struct Diagonals {
    groups: Vec<Vec<f64>>,
}

/// What rounding a layer needs, prepared once: for every group the upper Cholesky factor of the
/// inverse of `H`.
#[derive(Clone, Debug, Default)]
pub struct WeightQuantizer {
    groups: Vec<Group>,
}

/// The most that channels' exponents differ: each bit of difference is a bit of the accumulators.
const SPREAD: i32 = 3;
/// The exponent of a channel whose weights are all zero: any will do.
const NO_WEIGHTS: i32 = i32::MAX;
/// Weights of a layer whose errors are measured to choose its scale.
const MEASURED: usize = 1 << 22;
/// Channels that are rounded together, and weights whose errors move on together.
const BLOCK: usize = 64;

impl Diagonals {
    /// Of every group, damped.
    pub(super) const fn new(groups: Vec<Vec<f64>>) -> Self {
        Self { groups }
    }

    /// Rounds a layer weight by weight: what a network is looked at with, not what is run.
    pub(super) fn round(&self, conv: &Conv, bits: u8, log_scale: f64) -> QuantizedWeights {
        let channels: Vec<(&Vec<f64>, &[f32])> = channels(&self.groups, conv).collect();
        let exponents = channels
            .par_iter()
            .map(|(diagonal, weights)| best_exponent(weights, diagonal, bits, log_scale).0);
        let mut exponents: Vec<i32> = exponents.collect();
        align(&mut exponents);
        let (low, high) = limits(bits);
        let rows = channels.iter().zip(&exponents);
        let weights = rows.flat_map(|((_, weights), &exponent)| {
            let scale = (log_scale - f64::from(exponent)).exp2();
            weights.iter().map(move |&w| (f64::from(w) / scale).round().clamp(low, high) as i8)
        });
        let (weights, bias) = (weights.collect(), conv.bias.iter().map(|&b| b.into()).collect());
        QuantizedWeights { weights, exponents, log_scale, bias }
    }

    #[cfg(test)]
    pub(super) fn groups(&self) -> &[Vec<f64>] {
        &self.groups
    }

    /// The relative error of the best exponents: the diagonal part of the output's error over its
    /// energy.
    pub fn error(&self, conv: &Conv, bits: u8, log_scale: f64) -> f64 {
        // Some channels stand for all where there are very many weights.
        let step = conv.weight.len().div_ceil(MEASURED);
        let channels: Vec<(&Vec<f64>, &[f32])> =
            channels(&self.groups, conv).step_by(step.max(1)).collect();
        let each: Vec<(f64, f64)> = channels
            .par_iter()
            .map(|(diagonal, weights)| {
                let (_, best) = best_exponent(weights, diagonal, bits, log_scale);
                let energy = weights.iter().zip(*diagonal).map(|(&w, h)| f64::from(w).powi(2) * h);
                (best, energy.sum::<f64>())
            })
            .collect();
        let (error, energy) =
            each.iter().fold((0.0, 0.0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
        if energy > 0.0 { error / energy } else { 0.0 }
    }
}

impl WeightQuantizer {
    /// Prepares the rounding of a layer whose input has these moments, by group.
    pub fn new(moments: Vec<Moments>) -> Self {
        Self { groups: moments.into_iter().map(Group::new).collect() }
    }

    /// Rounds a layer.
    pub fn round(&self, conv: &Conv, bits: u8, log_scale: f64) -> QuantizedWeights {
        let channels: Vec<(&Group, &[f32])> = self.channels(conv).collect();
        let mut exponents: Vec<i32> = channels
            .par_iter()
            .map(|(group, weights)| best_exponent(weights, &group.diagonal, bits, log_scale).0)
            .collect();
        align(&mut exponents);
        let scales: Vec<f64> =
            exponents.iter().map(|&e| (log_scale - f64::from(e)).exp2()).collect();
        let rounded = round_channels(&channels, bits, |channel, _| scales[channel]);
        let bias =
            conv.bias.iter().zip(&rounded).map(|(&b, (_, moved))| f64::from(b) + moved).collect();
        let weights = rounded.into_iter().flat_map(|(weights, _)| weights).collect();
        QuantizedWeights { weights, exponents, log_scale, bias }
    }

    /// What a group was prepared with.
    pub(super) fn group(&self, group: usize) -> &Group {
        &self.groups[group]
    }

    /// Rounds a layer in which parts of `part` weights of a channel have exponents of their own,
    /// `SPREAD` apart and one more at the most: these, `[K, N / part]`, the weights and the bias.
    pub(super) fn round_parts(
        &self,
        conv: &Conv,
        part: usize,
        bits: u8,
        log_scale: f64,
    ) -> (Vec<i32>, Vec<i8>, Vec<f64>) {
        let channels: Vec<(&Group, &[f32])> = self.channels(conv).collect();
        let mut exponents: Vec<Vec<i32>> = channels
            .par_iter()
            .map(|(group, weights): &(&Group, &[f32])| -> Vec<i32> {
                let parts = weights.chunks_exact(part).zip(group.diagonal.chunks_exact(part));
                parts
                    .map(|(weights, diagonal)| best_exponent(weights, diagonal, bits, log_scale).0)
                    .collect()
            })
            .collect();
        let all = exponents.iter().flatten().copied();
        let least = all.min().filter(|&e| e != NO_WEIGHTS).unwrap_or(0);
        exponents
            .iter_mut()
            .flatten()
            .for_each(|exponent| *exponent = (*exponent).min(least + SPREAD + 1));
        let rounded = round_channels(&channels, bits, |channel: usize, at: usize| {
            let exponents: &Vec<i32> = &exponents[channel];
            (log_scale - f64::from(exponents[at / part])).exp2()
        });
        let bias =
            conv.bias.iter().zip(&rounded).map(|(&b, (_, moved))| f64::from(b) + moved).collect();
        let weights = rounded.into_iter().flat_map(|(weights, _)| weights).collect();
        (exponents.into_iter().flatten().collect(), weights, bias)
    }

    /// Every output channel with its group.
    pub(super) fn channels<'a>(
        &'a self,
        conv: &'a Conv,
    ) -> impl Iterator<Item = (&'a Group, &'a [f32])> {
        channels(&self.groups, conv)
    }
}

/// Brings the exponents of a layer's channels together. The coarsest channel has the least one: its
/// scale is `2^(log_scale - least)`. Others are at most `SPREAD` bits finer, channels of zeros
/// exactly so.
fn align(exponents: &mut [i32]) {
    let least = exponents.iter().copied().min().filter(|&e| e != NO_WEIGHTS).unwrap_or(0);
    for exponent in exponents {
        *exponent = (*exponent).min(least + SPREAD);
    }
}

/// Every output channel with what belongs to its group.
fn channels<'a, T>(groups: &'a [T], conv: &'a Conv) -> impl Iterator<Item = (&'a T, &'a [f32])> {
    // Output channels of a group are consecutive, and each one's weights are a row of `[K, N]`.
    let per_group = conv.geometry.out_channels / groups.len().max(1);
    let weights = conv.weight.chunks_exact(conv.geometry.fan_in()).enumerate();
    weights.map(move |(channel, weights)| (&groups[channel / per_group], weights))
}

impl Group {
    /// The integers of some channels, and how much the mean of each one's output falls. `scale` is
    /// of a channel, by its place among these, and a weight.
    ///
    /// Errors move on within blocks of weights at once, and to those beyond a block by one product
    /// (GPTQ, section 3.3).
    fn round_channels(
        &self,
        channels: &[(&Self, &[f32])],
        bits: u8,
        scale: &impl Fn(usize, usize) -> f64,
    ) -> Vec<(Vec<i8>, f64)> {
        let weights: Vec<f64> =
            channels.iter().flat_map(|(_, weights)| *weights).map(|&w| w.into()).collect();
        let (n, (low, high)) = (self.rows, limits(bits));
        let rounded = match &self.hessian {
            Hessian::Dense { factor, .. } => round_dense(factor, n, weights, (low, high), scale),
            Hessian::Thin(thin) => {
                let mut rounded = vec![0_i8; weights.len()];
                thin.round(&weights, |channel, at, value| {
                    let scale = scale(channel, at);
                    let integer = (value / scale).round().clamp(low, high);
                    rounded[channel * n + at] = integer as i8;
                    value - integer * scale
                });
                rounded
            }
        };
        rounded
            .chunks_exact(n)
            .enumerate()
            .map(|(channel, rounded)| {
                // The bias makes up for `(w - s q) . E[x]`, with `w` the weights before any error
                // moved.
                let weights = channels[channel].1.iter().zip(rounded).zip(&self.mean).enumerate();
                let moved = weights.map(|(i, ((&w, &q), mean))| {
                    (f64::from(w) - f64::from(q) * scale(channel, i)) * mean
                });
                (rounded.to_vec(), moved.sum())
            })
            .collect()
    }
}

/// Rounds weights `[channels, N]`, each one's error made up for by those behind it, by the factor
/// of the inverse.
fn round_dense(
    factor: &[f64],
    n: usize,
    weights: Vec<f64>,
    (low, high): (f64, f64),
    scale: &impl Fn(usize, usize) -> f64,
) -> Vec<i8> {
    // Both are `[channels, N]`. `free` holds what the weights still have to give: floats, with
    // the errors of those already rounded moved onto them.
    let channels = weights.len() / n;
    let mut free = weights;
    let mut rounded = vec![0_i8; free.len()];
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        // Negated, `[channels, end - start]`: the product below adds.
        let mut errors = vec![0.0; channels * (end - start)];
        let rows = free.chunks_exact_mut(n).zip(rounded.chunks_exact_mut(n)).enumerate();
        for ((channel, (free, rounded)), errors) in rows.zip(errors.chunks_exact_mut(end - start)) {
            for i in start..end {
                let scale = scale(channel, i);
                let integer = (free[i] / scale).round().clamp(low, high);
                rounded[i] = integer as i8;
                // With `U^T U = H^-1`, the best that the weights behind `i` can do about its
                // error `e` is to move by `-e U[i, j] / U[i, i]` each: row `i` is all that is
                // needed of the inverse with everything before `i` taken out (GPTQ, section
                // 3.3, step 3).
                let row = &factor[i * n..(i + 1) * n];
                let error = (free[i] - integer * scale) / row[i];
                for (later, f) in free[i + 1..end].iter_mut().zip(&row[i + 1..end]) {
                    *later -= error * f;
                }
                errors[i - start] = -error;
            }
        }
        if end < n {
            let (rows, later) = (Factor::Rows(&errors), &factor[start * n + end..]);
            let shape = [channels, end - start, n - end];
            let later = Factor::Spaced(later, n);
            multiply_add_spaced(shape, rows, later, &mut free[end..], n);
        }
    }
    rounded
}

/// The integers of all channels, and how much the mean of each one's output falls.
fn round_channels(
    channels: &[(&Group, &[f32])],
    bits: u8,
    scale: impl Fn(usize, usize) -> f64 + Sync,
) -> Vec<(Vec<i8>, f64)> {
    let blocks = blocks(channels);
    blocks
        .par_iter()
        .map(|&(first, block)| {
            block[0].0.round_channels(block, bits, &|channel, at| scale(first + channel, at))
        })
        .collect::<Vec<_>>()
        .concat()
}

/// Channels of one group, some at a time, each with the index of its first one: what is computed
/// together, whatever the number of cores.
pub(super) fn blocks<'a, 'g, T>(
    channels: &'a [(&'g Group, T)],
) -> Vec<(usize, &'a [(&'g Group, T)])> {
    let groups = channels.chunk_by(|(a, _), (b, _)| std::ptr::eq(*a, *b));
    let blocks = groups.flat_map(|group| group.chunks(BLOCK));
    let mut first = 0;
    blocks
        .map(|block| {
            let at = first;
            first += block.len();
            (at, block)
        })
        .collect()
}

/// The interval of a signed width.
pub(super) fn limits(bits: u8) -> (f64, f64) {
    let half = f64::from(1u32 << (bits - 1));
    (-half, half - 1.0)
}

/// Exponents that are tried for a channel: that of its largest weight, and finer ones.
const FINER: usize = 4;

/// The exponent with the least weighted squared error, and that error.
fn best_exponent(weights: &[f32], diagonal: &[f64], bits: u8, log_scale: f64) -> (i32, f64) {
    let largest = weights.iter().fold(0.0f32, |most, w| w.abs().max(most));
    if largest == 0.0 {
        return (NO_WEIGHTS, 0.0);
    }
    let (low, high) = limits(bits);
    // At this exponent the largest weight is the largest integer; finer scales cut it off.
    let widest = (log_scale - (f64::from(largest) / high.max(1.0)).log2()).floor() as i32;
    // Weights of 3 bits, the largest 2.4, at `log_scale` 0: `widest` is 0, where 2.4 becomes 2; at
    // 1 the step is 1/2 and 2.4 becomes 3 steps, 1.5. The finer step pays where small weights or
    // heavy inputs outweigh that.
    let scales: [f64; FINER] =
        std::array::from_fn(|finer| (log_scale - f64::from(widest + finer as i32)).exp2());
    let mut errors = [0.0; FINER];
    for (&w, h) in weights.iter().zip(diagonal) {
        let w = f64::from(w);
        // All exponents beside each other, so that they share registers.
        for (error, scale) in errors.iter_mut().zip(scales) {
            let rounded = nearest(w / scale).max(low).min(high) * scale;
            *error += (w - rounded) * (w - rounded) * h;
        }
    }
    let found = errors.into_iter().enumerate().map(|(finer, error)| (widest + finer as i32, error));
    found.fold((widest, f64::INFINITY), |best, found| if found.1 < best.1 { found } else { best })
}

/// The nearest integer, halves away from zero, as `f64::round` has it: in additions alone, which
/// every machine does several of at once. For numbers below 2^51.
fn nearest(x: f64) -> f64 {
    // Above it doubles are integers: the sum is rounded to one, halves to the even.
    const WHOLE: f64 = 6_755_399_441_055_744.0;
    let even = (x + WHOLE) - WHOLE;
    let rest = x - even;
    let up = if rest == 0.5 && x > 0.0 { 1.0 } else { 0.0 };
    let down = if rest == -0.5 && x < 0.0 { 1.0 } else { 0.0 };
    even + up - down
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantize::calibrate::Second;
    use protocols::linear::Geometry;

    proptest! {
        #[test]
        fn the_nearest_integer_is_that_of_the_library(
            x in prop_oneof![-1e6f64..1e6, (-2000i32..2000).prop_map(|n| f64::from(n) / 2.0)],
        ) {
            prop_assert_eq!(nearest(x), x.round());
        }
    }

    fn dense(inputs: usize, outputs: usize, weight: Vec<f32>) -> Conv {
        Conv { geometry: Geometry::dense(inputs, outputs), weight, bias: vec![0.5; outputs] }
    }

    proptest! {
        #[test]
        fn rounded_weights_are_within_their_width_and_the_mean_is_kept(
            bits in 2u8..=8,
            log_scale in -9.0f64..3.0,
            weight in prop::collection::vec(-1.0f32..1.0, 12),
            mean in prop::collection::vec(-1.0f64..1.0, 4),
        ) {
            let conv = dense(4, 3, weight);
            let second =
                (0..16).map(|p| mean[p / 4] * mean[p % 4] + if p / 4 == p % 4 { 0.3 } else { 0.0 });
            let (second, first) = (second.collect(), mean.clone());
            let second = Second::Whole(second);
            let moments = Moments { rows: 4, second, first, samples: 1 << 20 };
            let rounded = WeightQuantizer::new(vec![moments]).round(&conv, bits, log_scale);
            let (low, high) = limits(bits);
            prop_assert!(rounded.weights.iter().all(|&w| (low..=high).contains(&f64::from(w))));
            for channel in 0..3 {
                let scale = (log_scale - f64::from(rounded.exponents[channel])).exp2();
                let float: f64 =
                    (0..4).map(|i| f64::from(conv.weight[channel * 4 + i]) * mean[i]).sum::<f64>()
                        + 0.5;
                let integer: f64 = (0..4)
                    .map(|i| f64::from(rounded.weights[channel * 4 + i]) * scale * mean[i])
                    .sum::<f64>();
                prop_assert!((integer + rounded.bias[channel] - float).abs() < 1e-5);
            }
        }
    }
}
