//! Adam (Kingma and Ba, ICLR 2015), and how its rate rises and falls.

/// The moments of some parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adam {
    /// Of the gradients.
    pub mean: Vec<f32>,
    /// Of their squares.
    pub square: Vec<f32>,
}

/// How much of a moment is kept, of gradients and of their squares.
const KEPT: [f32; 2] = [0.9, 0.99];
/// Beside the root of the squares, against division by zero.
const SMALL: f32 = 1e-12;

impl Adam {
    /// Moments of so many parameters, all zero.
    pub fn new(parameters: usize) -> Self {
        Self { mean: vec![0.0; parameters], square: vec![0.0; parameters] }
    }

    /// Moves parameters against their gradients, by about `rate` each, and then holds them within
    /// limits. `step` counts from 1.
    pub fn update(
        &mut self,
        parameters: &mut [f32],
        gradients: &[f32],
        rate: f32,
        step: u64,
        [low, high]: [f32; 2],
    ) {
        let [mean, square] = KEPT.map(|kept| 1.0 - f64::from(kept).powf(step as f64));
        let (rate, square) = ((f64::from(rate) / mean) as f32, square as f32);
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((parameter, &gradient), (mean, second)) in
            parameters.iter_mut().zip(gradients).zip(moments)
        {
            *mean += (1.0 - KEPT[0]) * (gradient - *mean);
            *second += (1.0 - KEPT[1]) * (gradient * gradient - *second);
            let moved = *parameter - rate * *mean / ((*second / square).sqrt() + SMALL);
            *parameter = moved.max(low).min(high);
        }
    }
}

/// The part of the full rate at a step of so many, both counted from 0: it rises over the first
/// twentieth, and all along falls to zero as a cosine does.
pub fn rate(step: u64, steps: u64) -> f32 {
    let done = step as f64 / steps.max(1) as f64;
    let rise = ((step + 1) as f64 / (0.05 * steps as f64).max(1.0)).min(1.0);
    (rise * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_a_parabola_is_found_within_limits() {
        let (mut adam, mut at) = (Adam::new(2), vec![4.0_f32, 4.0]);
        for step in 0..400 {
            let gradients: Vec<f32> = at.iter().map(|x| 2.0 * (x - 1.0)).collect();
            let part = rate(step, 400);
            adam.update(&mut at, &gradients, 0.1 * part, step + 1, [-9.0, 9.0]);
            at[1] = at[1].max(2.0);
        }
        assert!((at[0] - 1.0).abs() < 1e-2, "{at:?}");
        adam.update(&mut at, &[-1.0, -1.0], 5.0, 401, [0.0, 1.5]);
        assert!(at.iter().all(|x| (0.0..=1.5).contains(x)), "{at:?}");
    }

    #[test]
    fn rates_rise_and_fall() {
        let rates: Vec<f32> = (0..100).map(|step| rate(step, 100)).collect();
        assert!(rates[0] > 0.0 && rates[0] < rates[3] && rates[5] > rates[50]);
        assert!(rates[99] < 0.001 && rates.iter().all(|rate| (0.0..=1.0).contains(rate)));
        assert_eq!(rate(0, 1), 1.0);
    }
}
