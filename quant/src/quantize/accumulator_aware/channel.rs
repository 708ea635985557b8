//! The integers of one output channel, and how far they reach.

/// A channel's integers.
#[derive(Clone)]
pub(super) struct Channel {
    pub(super) weights: Vec<i8>,
    pub(super) bias: f64,
    /// What an integer of one is worth.
    pub(super) scale: f64,
    /// How much the error has grown.
    pub(super) growth: f64,
    /// The sums of the positive weights and of the magnitudes of the negative ones.
    pub(super) sums: (i64, i64),
}

impl Channel {
    pub(super) fn new(weights: &[i8], bias: f64, scale: f64) -> Self {
        let sums = weights.iter().fold((0, 0), |(positive, negative), &w| {
            let w = i64::from(w);
            (positive + w.max(0), negative + (-w).max(0))
        });
        Self { weights: weights.to_vec(), bias, scale, growth: 0.0, sums }
    }

    /// Moves a weight that is not zero toward it; the step, in real numbers.
    pub(super) fn shrink(&mut self, at: usize) -> f64 {
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
