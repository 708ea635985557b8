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
use super::triangular::inverse_factor;

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

/// One group of a convolution.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) rows: usize,
    /// `H`, damped, `[N, N]`.
    pub(super) damped: Vec<f64>,
    diagonal: Vec<f64>,
    pub(super) mean: Vec<f64>,
    factor: Vec<f64>,
    /// What was added to the diagonal.
    damping: f64,
}

/// The most that channels' exponents differ: each bit of difference is a bit of the accumulators.
const SPREAD: i32 = 3;
/// The exponent of a channel whose weights are all zero: any will do.
const NO_WEIGHTS: i32 = i32::MAX;
/// What is added to the diagonal of `H`, of its mean.
const DAMPING: f64 = 0.01;
/// What is added to it at least, of the inputs' mean square.
const CONSTANT: f64 = 1e-3;
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
        let channels: Vec<(&Vec<f64>, &[f32])> = channels(&self.groups, conv).collect();
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

    /// `U` with `U^T U` the inverse of a group's damped `H`, `[N, N]`.
    pub(super) fn factor(&self, group: usize) -> &[f64] {
        &self.groups[group].factor
    }

    /// How many of a group's weights samples can tell apart: the trace of `C (C + d)^-1`, with `C`
    /// the covariance and `d` the damping.
    pub(super) fn freedom(&self, group: usize) -> f64 {
        let Group { rows, factor, damping, .. } = &self.groups[group];
        let squares: f64 = factor.par_iter().map(|entry| entry * entry).sum();
        (*rows as f64 - damping * squares).max(0.0)
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

/// Adds to the diagonal of `H` what makes it positive definite also where inputs are constant or
/// linearly dependent. `squares` are the inputs' mean squares: where they hardly vary around their
/// means, as those of a single image, `H` is mostly rounding errors of these.
pub(super) fn damp<'a>(diagonal: impl Iterator<Item = &'a mut f64>, squares: &[f64]) {
    let mut diagonal: Vec<&mut f64> = diagonal.collect();
    let trace: f64 = diagonal.iter().map(|entry| **entry).sum();
    // Sums in single precision are off by about 1e-6 of the squares: the least damping is a
    // thousand times that, and less than `DAMPING` asks for where inputs vary.
    let least = CONSTANT * squares.iter().sum::<f64>();
    let damping = ((DAMPING * trace).max(least) / diagonal.len() as f64).max(1e-12);
    diagonal.iter_mut().for_each(|entry| **entry += damping);
}

/// Moves a covariance `[n, n]` of so many samples toward its diagonal, as far as what is beside it
/// may be chance (Schafer, Strimmer: Shrinkage approach to covariance estimation, 2005, section 2).
/// Else errors of rounding are made up for by weights that only seem to tell of each other.
fn shrink(covariance: &mut [f64], n: usize, samples: usize) {
    let all: f64 = covariance.par_iter().map(|entry| entry * entry).sum();
    let diagonal = covariance.iter().step_by(n + 1);
    let trace: f64 = diagonal.clone().sum();
    let own: f64 = diagonal.map(|entry| entry * entry).sum();
    let beside = all - own;
    if beside <= 0.0 {
        return;
    }
    // Of normal values, an entry has the variance `(c_ii c_jj + c_ij^2) / samples`.
    let chance = (trace * trace - own + beside) / samples.max(1) as f64;
    // Where all may be chance, rounding is to the nearest.
    let kept = (1.0 - chance / beside).max(0.0);
    covariance.par_chunks_mut(n).enumerate().for_each(|(row, entries)| {
        let own = entries[row];
        entries.iter_mut().for_each(|entry| *entry *= kept);
        entries[row] = own;
    });
}

impl Group {
    fn new(moments: Moments) -> Self {
        let n = moments.rows;
        let squares: Vec<f64> = moments.second.iter().step_by(n + 1).copied().collect();
        let samples = moments.samples;
        let (mut damped, mean) = moments.into_covariance();
        shrink(&mut damped, n, samples);
        let before = damped.first().copied().unwrap_or(0.0);
        damp(damped.iter_mut().step_by(n + 1), &squares);
        let damping = damped.first().copied().unwrap_or(0.0) - before;
        let diagonal = damped.iter().step_by(n + 1).copied().collect();
        let factor = inverse_factor(damped.clone(), n);
        Self { rows: n, damped, diagonal, mean, factor, damping }
    }

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
        let (n, (low, high)) = (self.rows, limits(bits));
        // Both are `[channels, N]`. `free` holds what the weights still have to give: floats, with
        // the errors of those already rounded moved onto them.
        let mut free: Vec<f64> =
            channels.iter().flat_map(|(_, weights)| *weights).map(|&w| w.into()).collect();
        let mut rounded = vec![0_i8; free.len()];
        for start in (0..n).step_by(BLOCK) {
            let end = n.min(start + BLOCK);
            // Negated, `[channels, end - start]`: the product below adds.
            let mut errors = vec![0.0; channels.len() * (end - start)];
            let rows = free.chunks_exact_mut(n).zip(rounded.chunks_exact_mut(n)).enumerate();
            for ((channel, (free, rounded)), errors) in
                rows.zip(errors.chunks_exact_mut(end - start))
            {
                for i in start..end {
                    let scale = scale(channel, i);
                    let integer = (free[i] / scale).round().clamp(low, high);
                    rounded[i] = integer as i8;
                    // With `U^T U = H^-1`, the best that the weights behind `i` can do about its
                    // error `e` is to move by `-e U[i, j] / U[i, i]` each: row `i` is all that is
                    // needed of the inverse with everything before `i` taken out (GPTQ, section
                    // 3.3, step 3).
                    let row = &self.factor[i * n..(i + 1) * n];
                    let error = (free[i] - integer * scale) / row[i];
                    for (later, f) in free[i + 1..end].iter_mut().zip(&row[i + 1..end]) {
                        *later -= error * f;
                    }
                    errors[i - start] = -error;
                }
            }
            if end < n {
                let (rows, later) = (Factor::Rows(&errors), &self.factor[start * n + end..]);
                let shape = [channels.len(), end - start, n - end];
                let later = Factor::Spaced(later, n);
                multiply_add_spaced(shape, rows, later, &mut free[end..], n);
            }
        }
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
    (widest..widest + 4)
        .map(|exponent| {
            let scale = (log_scale - f64::from(exponent)).exp2();
            let error = weights.iter().zip(diagonal).map(|(&w, h)| {
                let w = f64::from(w);
                let rounded = (w / scale).round().clamp(low, high) * scale;
                (w - rounded).powi(2) * h
            });
            (exponent, error.sum())
        })
        .fold((widest, f64::INFINITY), |best, found| if found.1 < best.1 { found } else { best })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use protocols::linear::Geometry;

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

    #[test]
    fn covariances_of_few_samples_lose_what_may_be_chance() {
        // Independent inputs that few samples make look dependent, and one input twice.
        let chance = [1.0, 0.3, 0.3, 1.0];
        for (samples, least, most) in [(4, 0.0, 1e-9), (1 << 20, 0.299, 0.3)] {
            let mut found = chance;
            shrink(&mut found, 2, samples);
            assert!(found[1] >= least && found[1] <= most, "{samples}: {found:?}");
            assert_eq!((found[0], found[3]), (1.0, 1.0));
        }
        let mut twice = [1.0; 4];
        shrink(&mut twice, 2, 64);
        assert!(twice[1] > 0.95, "{twice:?}");
    }
}
