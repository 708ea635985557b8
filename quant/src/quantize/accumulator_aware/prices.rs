//! What a weight that moves toward zero costs in error, for what it saves.

use super::super::hessian::Group;
use super::channel::Channel;

/// By how much the error grows, for what is saved, if a weight moves toward zero.
///
/// When `d` moves by `step` at weight `i`, `d H d^T` grows by `2 step (H d)[i] + step^2 H[i, i]`:
/// only `(H d)[i]` changes from round to round.
pub(super) struct Prices {
    /// What a step of a positive and of a negative weight saves.
    pub(super) saved: (f64, f64),
    /// `2 step / saved`, by weight.
    slopes: Vec<f64>,
    /// `step^2 H[i, i] / saved`; infinite where nothing is saved.
    curvatures: Vec<f64>,
}

/// Weights whose prices are computed beside each other.
const TOGETHER: usize = 64;

impl Prices {
    pub(super) fn of(group: &Group, channel: &Channel, saved: (f64, f64)) -> Self {
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
    pub(super) fn growth(group: &Group, channel: &Channel, slope: f64, at: usize) -> f64 {
        let step = -f64::from(channel.weights[at].signum()) * channel.scale;
        2.0 * step * slope + step * step * group.diagonal[at]
    }

    /// The first of the weights with the least price, if there is any that saves something.
    pub(super) fn least(&self, slope: &[f64]) -> Option<usize> {
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
    pub(super) fn exhaust(&mut self, at: usize) {
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
