//! From integer logits to predictions.

use std::fmt::Write;

use crate::table::cell;

/// The logits of a batch, by image.
pub(crate) struct Logits {
    rows: Vec<Vec<i64>>,
    scale: f64,
}

/// How many classes are shown of an image.
const SHOWN: usize = 5;

impl Logits {
    /// From the layout `[classes][images]`; `scale` is the real value of one integer step.
    pub(crate) fn new(values: &[i64], images: usize, scale: f64) -> Self {
        let row = |image| values.iter().skip(image).step_by(images).copied().collect();
        Self { rows: (0..images).map(row).collect(), scale }
    }

    /// The integers, `[images][classes]`.
    pub(crate) fn integers(&self) -> Vec<Vec<i64>> {
        self.rows.clone()
    }

    /// The real values, `[images][classes]`.
    pub(crate) fn floats(&self) -> Vec<Vec<f64>> {
        self.rows.iter().map(|row| row.iter().map(|&v| v as f64 * self.scale).collect()).collect()
    }

    /// The class of the largest logit of every image; the first of equals.
    pub(crate) fn predictions(&self) -> Vec<usize> {
        self.rows.iter().map(|row| ranked(row).first().copied().unwrap_or(0)).collect()
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_are_rows_of_images_and_the_first_of_equals_wins() {
        let logits = Logits::new(&[1, 5, 7, 5, 7, -1], 2, 0.5);
        assert_eq!(logits.integers(), [[1, 7, 7], [5, 5, -1]]);
        assert_eq!(logits.predictions(), [1, 0]);
        assert_eq!(logits.floats()[1], [2.5, 2.5, -0.5]);
    }
}
