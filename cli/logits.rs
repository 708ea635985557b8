//! The most likely classes of an image, as text.

use std::fmt::Write;

use crate::table::cell;

/// How many classes are shown of an image.
const SHOWN: usize = 5;

/// The most likely classes of one image, with their probabilities, as text.
pub(crate) fn top(logits: &[f64], names: Option<&[String]>) -> String {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut text = String::new();
    for class in ranked(logits).into_iter().take(SHOWN) {
        let percent = 100.0 * weights[class] / sum;
        let _ = writeln!(text, "    {percent:6.2} %  {}", name(class, names));
    }
    text
}

/// A class by its name, if it has one.
pub(crate) fn name(class: usize, names: Option<&[String]>) -> String {
    match names.and_then(|names| names.get(class)) {
        Some(name) => format!("{class} {}", cell(name)),
        None => class.to_string(),
    }
}

fn ranked<T: PartialOrd>(row: &[T]) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..row.len()).collect();
    classes.sort_by(|&a, &b| row[b].partial_cmp(&row[a]).unwrap_or(std::cmp::Ordering::Equal));
    classes
}
