//! Images as text.

use std::fmt::Write;

use quant::Dataset;

/// From dark to bright; two characters make a pixel about as wide as it is high.
const SHADES: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];
/// Images beside each other.
const ACROSS: usize = 5;

/// The first images, each over its label and prediction.
pub(super) fn rows(data: &Dataset, predictions: &[usize], labels: &[usize]) -> String {
    let [_, height, width] = data.shape();
    let mut text = String::new();
    for start in (0..predictions.len()).step_by(ACROSS) {
        let images = start..(start + ACROSS).min(predictions.len());
        for y in 0..height {
            let lines = images.clone().map(|image| line(data, image, y, width));
            let _ = writeln!(text, "{}", lines.collect::<Vec<_>>().join("  ").trim_end());
        }
        let captions = images.map(|image| {
            let verdict = if labels.get(image) == Some(&predictions[image]) { "" } else { " (!)" };
            let label = labels.get(image).map(usize::to_string).unwrap_or_default();
            format!(
                "{:<1$}",
                format!("a {label}, read as {}{verdict}", predictions[image]),
                2 * width
            )
        });
        let _ = writeln!(text, "{}\n", captions.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn line(data: &Dataset, image: usize, y: usize, width: usize) -> String {
    let Some(bytes) = data.bytes(image) else { return String::new() };
    let row = &bytes[y * width..(y + 1) * width];
    row.iter().map(|&pixel| SHADES[usize::from(pixel) * SHADES.len() / 256]).collect()
}
