//! Images on the command line: which, how they are normalized, and the integers that the client
//! feeds in.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use protocols::plan::Plan;
use quant::data::OffScale;
use quant::{Dataset, Preprocess, Tensor};

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// How pixels become the network's input.
#[derive(clap::Args)]
pub(crate) struct PreprocessArgs {
    /// Mean of each channel, of pixels scaled to 0..1, such as 0.485,0.456,0.406.
    #[arg(
        long,
        value_name = "R,G,B",
        value_delimiter = ',',
        requires = "std",
        allow_negative_numbers = true
    )]
    mean: Option<Vec<f32>>,
    /// Standard deviation of each channel, of pixels scaled to 0..1.
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', requires = "mean")]
    std: Option<Vec<f32>>,
    /// Leave pixels as they are, 0..255 (the default is x/255).
    #[arg(long, conflicts_with_all = ["mean", "std"])]
    raw: bool,
}

impl PreprocessArgs {
    pub(crate) fn preprocess(&self) -> Preprocess {
        match (&self.mean, &self.std) {
            (Some(mean), Some(std)) => {
                Preprocess::Normalize { mean: mean.clone(), std: std.clone() }
            }
            _ if self.raw => Preprocess::Raw,
            _ => Preprocess::Unit,
        }
    }
}

/// Images of a file: `a..b`, half-open, or a single one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Indices(pub(crate) Range<usize>);

impl FromStr for Indices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = match text.split_once("..") {
            Some((from, to)) => index(from).zip(index(to)).map(|(from, to)| from..to),
            None => index(text).map(|one| one..one + 1),
        };
        match range {
            Some(range) if !range.is_empty() => Ok(Self(range)),
            _ => {
                Err("expected a number, or a range a..b with a below b (b is not included)".into())
            }
        }
    }
}

/// A number that another one follows.
fn index(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|&index| index < usize::MAX)
}

/// Opens the images for a plan's input; their labels are among the classes of its output.
pub(crate) fn open(plan: &Plan, path: &Path, labels: Option<&PathBuf>) -> Outcome<Dataset> {
    Ok(Dataset::open(path, labels.map(PathBuf::as_path), plan.into())?)
}

/// Whether float pixels are far from what the plan's integers hold.
pub(crate) fn off_scale(plan: &Plan, images: &Dataset, indices: Range<usize>) -> Option<OffScale> {
    let (low, high) = plan.input_wire().range();
    let held = [low, high].map(|integer| integer as f64 * plan.input.scale);
    images.off_scale(indices, &plan.input.preprocess, Some(held))
}

/// A line for people about pixels that are off their scale.
pub(crate) fn warn(console: &Console, path: &Path, off_scale: Option<&OffScale>) {
    if let Some(off_scale) = off_scale {
        console.warn(format_args!("{}: {off_scale}", path.display()));
    }
}

/// A batch of a file, as the plan's input says, `[N, C, H, W]`.
pub(crate) fn batch(plan: &Plan, images: &Dataset, indices: Range<usize>) -> Outcome<Tensor> {
    Ok(images.batch(indices, &plan.input.preprocess)?)
}

/// The names of the classes, if a file of them was given.
pub(crate) fn class_names(path: Option<&PathBuf>) -> Outcome<Option<Vec<String>>> {
    path.map(|path| quant::data::class_names(path).map_err(Failure::from)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open_and_not_empty() {
        assert_eq!("0..4".parse(), Ok(Indices(0..4)));
        assert_eq!("7".parse(), Ok(Indices(7..8)));
        for text in ["4..4", "5..2", "-1", "a", "..3", "", "18446744073709551615"] {
            assert!(text.parse::<Indices>().is_err(), "{text}");
        }
    }
}
