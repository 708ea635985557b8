//! Probabilities of classes from logits.

/// The probabilities.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    log_softmax(logits).into_iter().map(|v| v.exp() as f32).collect()
}

/// Their logarithms.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().fold(f32::NEG_INFINITY, |most, &v| most.max(v));
    let shifted: Vec<f64> = logits.iter().map(|&v| f64::from(v - most)).collect();
    let sum = shifted.iter().map(|v| v.exp()).sum::<f64>().ln();
    shifted.iter().map(|v| v - sum).collect()
}
