//! Probabilities of classes from logits.

use crate::kernels::Element;

/// The probabilities.
#[must_use]
pub fn softmax<T: Element>(logits: &[T]) -> Vec<T> {
    log_softmax(logits).into_iter().map(|v| T::of(v.exp())).collect()
}

/// Their logarithms.
#[must_use]
pub fn log_softmax<T: Element>(logits: &[T]) -> Vec<f64> {
    let most = logits.iter().fold(T::neg_infinity(), |most, &v| most.max(v));
    let shifted: Vec<f64> = logits.iter().map(|&v| (v - most).wide()).collect();
    let sum = shifted.iter().map(|v| v.exp()).sum::<f64>().ln();
    shifted.iter().map(|v| v - sum).collect()
}

/// The Kullback-Leibler divergence of probabilities from those of reference, in nats; both are
/// logarithms.
#[must_use]
pub fn divergence(reference: &[f64], found: &[f64]) -> f64 {
    reference.iter().zip(found).map(|(p, q)| p.exp() * (p - q)).sum()
}
