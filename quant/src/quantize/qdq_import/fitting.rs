//! Weights under scales that are powers of two of one real number.

use model::Conv;

use super::super::round::{QuantizedWeights, limits};
use super::change::{QdqChange, QdqChangeKind};
use super::given::QdqLayer;

/// How far base-two logarithms of scales may be from a shift and still count as one: two hundredths
/// of a percent.
pub(super) const TOLERANCE: f64 = 3e-4;
/// The most that exponents of a layer's channels differ; each bit of difference is a bit of the
/// accumulators.
const SPREAD: i32 = 8;
/// The same for channels whose weights are all zero.
const IDLE_SPREAD: i32 = 3;

/// A layer's weights, under scales that are powers of two of one real number.
pub(super) struct Fitting<'a> {
    pub(super) conv: &'a Conv,
    pub(super) given: &'a QdqLayer,
    pub(super) log_scale: f64,
}

impl Fitting<'_> {
    pub(super) fn run(&self) -> (QuantizedWeights, Option<QdqChange>) {
        let (conv, n) = (self.conv, self.conv.fan_in());
        let channels: Vec<&[f32]> = conv.weight.chunks_exact(n).collect();
        let exponents: Vec<Option<i32>> = channels
            .iter()
            .zip(&self.given.log_scales)
            .map(|(weights, log)| self.exponent(weights, *log))
            .collect();
        let least = exponents.iter().flatten().min().copied().unwrap_or(0);
        let exponents: Vec<i32> = exponents
            .iter()
            .zip(&self.given.stated)
            .map(|(exponent, &stated)| match exponent {
                Some(exponent) => (*exponent).min(least + SPREAD),
                // A channel of zeros has a bias nevertheless, in steps that its scale may say.
                None => {
                    ((self.log_scale - stated).round() as i32).clamp(least, least + IDLE_SPREAD)
                }
            })
            .collect();
        let (low, high) = limits(self.given.bits);
        let mut weights = Vec::with_capacity(conv.weight.len());
        let (mut change, mut norm) = (0.0, 0.0);
        for (channel, &exponent) in channels.iter().zip(&exponents) {
            let scale = (self.log_scale - f64::from(exponent)).exp2();
            for &real in *channel {
                let integer = (f64::from(real) / scale).round().clamp(low, high);
                weights.push(integer as i8);
                change += (integer * scale - f64::from(real)).powi(2);
                norm += f64::from(real).powi(2);
            }
        }
        let coarsest =
            self.given.log_scales.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let by = (change / norm.max(f64::MIN_POSITIVE)).sqrt();
        let used = (self.log_scale - f64::from(least)).exp2();
        let change = QdqChange {
            node: String::new(),
            what: QdqChangeKind::Weights,
            found: coarsest.exp2(),
            used,
            by,
        };
        let bias = conv.bias.iter().map(|&b| f64::from(b)).collect();
        (
            QuantizedWeights { weights, exponents, log_scale: self.log_scale, bias },
            Some(change).filter(|_| by > TOLERANCE),
        )
    }

    /// The exponent of a channel: that of its own scale, if there is one and it holds all weights;
    /// else the finest that does.
    fn exponent(&self, weights: &[f32], log: Option<f64>) -> Option<i32> {
        let log = log?;
        let (low, high) = limits(self.given.bits);
        let (least, most) =
            weights.iter().fold((0f64, 0f64), |(a, b), &w| (a.min(w.into()), b.max(w.into())));
        // A channel whose own scale is a power of two from `log_scale` keeps its integers, if they
        // are within the width: half of a step beyond still rounds into it.
        let exact = self.log_scale - log;
        let steps = log.exp2();
        if off(exact) < TOLERANCE && least / steps > low - 0.5 && most / steps < high + 0.5 {
            return Some(exact.round() as i32);
        }
        // The coarsest demand of both ends: steps that `high` takes to `most` and `low` to `least`.
        // The small term keeps a logarithm that is whole, but for rounding, from falling to the one
        // below.
        let reach = (most / high).max(least / low);
        Some((self.log_scale - reach.log2() + 1e-6).floor() as i32)
    }
}

/// How far a number is from a whole one.
pub(super) fn off(x: f64) -> f64 {
    (x - x.round()).abs()
}
