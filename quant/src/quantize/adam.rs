//! Adam (Kingma, Ba: ICLR 2015), with a rate that falls along a cosine.

/// Moments of the gradients of a list of numbers.
#[derive(Clone, Debug)]
pub(super) struct Adam {
    mean: Vec<f32>,
    square: Vec<f32>,
    steps: i32,
}

/// How far a descent has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub step: usize,
    pub of: usize,
}

impl Schedule {
    /// The rate at this step: it rises for a twentieth of all steps, then falls to zero.
    pub(super) fn rate(&self, most: f32) -> f32 {
        let done = (self.step as f32 + 0.5) / self.of.max(1) as f32;
        let warm = (done * 20.0).min(1.0);
        most * warm * 0.5 * (1.0 + (std::f32::consts::PI * done).cos())
    }
}

impl Adam {
    pub(super) fn new(len: usize) -> Self {
        Self { mean: vec![0.0; len], square: vec![0.0; len], steps: 0 }
    }

    /// One step against a gradient.
    pub(super) fn step(&mut self, values: &mut [f32], gradient: impl Fn(usize) -> f32, rate: f32) {
        const DECAY: (f32, f32) = (0.9, 0.99);
        self.steps += 1;
        let (mean_bias, square_bias) =
            (1.0 - DECAY.0.powi(self.steps), 1.0 - DECAY.1.powi(self.steps));
        for (at, value) in values.iter_mut().enumerate() {
            let g = gradient(at);
            self.mean[at] += (1.0 - DECAY.0) * (g - self.mean[at]);
            self.square[at] += (1.0 - DECAY.1) * (g * g - self.square[at]);
            let size = (self.square[at] / square_bias).sqrt() + 1e-12;
            *value -= rate * (self.mean[at] / mean_bias) / size;
        }
    }
}
