//! Losses of one image, with their gradients by the logits.

/// Adds to `gradient` a part of that of the cross-entropy of the softmax with a class; returns the
/// same part of the cross-entropy, in nats.
///
/// # Panics
/// Where there is no such class.
pub fn cross_entropy(logits: &[f32], class: usize, part: f64, gradient: &mut [f32]) -> f64 {
    let total = log_sum(logits, 1.0);
    for (index, (gradient, &logit)) in gradient.iter_mut().zip(logits).enumerate() {
        let likely = (f64::from(logit) - total).exp();
        *gradient += (part * (likely - f64::from(u8::from(index == class)))) as f32;
    }
    part * (total - f64::from(logits[class]))
}

/// Adds to `gradient` that of `T^2 KL(softmax(teacher / T) || softmax(logits / T))` and returns it,
/// in nats (Hinton, Vinyals, Dean 2015).
pub fn distillation(
    logits: &[f32],
    teacher: &[f32],
    temperature: f64,
    gradient: &mut [f32],
) -> f64 {
    let totals = [log_sum(logits, temperature), log_sum(teacher, temperature)];
    let mut loss = 0.0;
    for ((gradient, &logit), &wanted) in gradient.iter_mut().zip(logits).zip(teacher) {
        let found = f64::from(logit) / temperature - totals[0];
        let wanted = f64::from(wanted) / temperature - totals[1];
        loss += wanted.exp() * (wanted - found);
        // One of the two temperatures is that of the derivative.
        *gradient += (temperature * (found.exp() - wanted.exp())) as f32;
    }
    temperature * temperature * loss
}

/// `ln sum exp(logit / temperature)`.
fn log_sum(logits: &[f32], temperature: f64) -> f64 {
    let most = logits.iter().fold(f32::NEG_INFINITY, |most, &logit| most.max(logit));
    let most = f64::from(most) / temperature;
    most + logits.iter().map(|&x| (f64::from(x) / temperature - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Holds a gradient against differences of its loss.
    fn check(logits: &[f32], loss: impl Fn(&[f32], &mut [f32]) -> f64) -> Result<(), String> {
        let mut gradient = vec![0.0; logits.len()];
        loss(logits, &mut gradient);
        for at in 0..logits.len() {
            let mut moved = [logits.to_vec(), logits.to_vec()];
            moved[0][at] -= 0.01;
            moved[1][at] += 0.01;
            let mut ignored = gradient.clone();
            let [before, after] = moved.map(|logits| loss(&logits, &mut ignored));
            let slope = (after - before) / 0.02;
            if (slope - f64::from(gradient[at])).abs() > 2e-3 * (1.0 + slope.abs()) {
                return Err(format!("{} against {slope}", gradient[at]));
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn gradients_are_the_differences(
            logits in prop::collection::vec(-5.0f32..5.0, 4),
            teacher in prop::collection::vec(-5.0f32..5.0, 4),
            class in 0usize..4,
        ) {
            let hard = |logits: &[f32], gradient: &mut [f32]| {
                cross_entropy(logits, class, 0.25, gradient)
            };
            prop_assert_eq!(check(&logits, hard), Ok(()));
            let soft = |logits: &[f32], gradient: &mut [f32]| {
                distillation(logits, &teacher, 4.0, gradient)
            };
            prop_assert_eq!(check(&logits, soft), Ok(()));
            prop_assert!(distillation(&logits, &logits, 4.0, &mut [0.0; 4]).abs() < 1e-9);
        }
    }

    #[test]
    fn huge_logits_have_finite_losses() {
        let mut gradient = [0.0; 2];
        assert_eq!(cross_entropy(&[1e30, 0.0], 0, 1.0, &mut gradient), 0.0);
        assert_eq!(gradient, [0.0, 0.0]);
    }
}
