//! Precision search: widths of weights and activations, layer by layer, of the least loss within
//! budgets of communication or time; then the fastest protocols for them.
//!
//! 1. Sensitivity: the loss of every layer's weights, and of every activation quantizer's values,
//!    at each width.
//! 2. A dynamic program over activation quantizers and the layers that read them, exact for
//!    estimated prices.
//! 3. The plan's own price holds the choice to the budgets: the estimate's budgets are corrected
//!    until the plan meets them, then single widths are raised while the plan still does.
//! 4. Where the loss is saturated, the cheapest widths whose measured loss is as good; then pairs
//!    of widths are swapped where that lowers the measured loss.
//! 5. Careful rounding, and reconstruction.
//! 6. Protocols: the fastest for the network profile that meet the budgets.
//! 7. The integers of the plan are compared with the float network on calibration images.

mod choose;
mod correction;
mod dynamic;
mod error;
mod estimate;
mod fidelity;
mod fingerprint;
mod found;
mod listed;
mod measured;
mod options;
mod planned;
mod prepared;
mod sensitivity;
mod tuned;
mod uniform;
mod widths;

use model::{Model, Preprocess, Tensor};

pub use crate::quantize::{Memory, Ranges, Winograd, equalized};
pub use error::SearchError;
pub use fidelity::Fidelity;
pub use fingerprint::{digest, fingerprint};
pub use found::{Found, LayerReport};
pub use listed::{LayerWidths, WidthsError};
pub use options::{FirstAndLast, SearchOptions, Uniform};
pub use prepared::Prepared;
pub use sensitivity::{Measure, Sensitivity};
pub use tuned::Tuning;
pub use uniform::{check, uniform_graph, uniform_plan};

/// How far a search has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What it does.
    pub phase: &'static str,
    /// Parts done.
    pub done: usize,
    /// Parts in all.
    pub of: usize,
}

/// Searches the widths of a network, or takes the fixed ones, and plans its protocols. The result
/// depends on the arguments alone, not on the machine's cores; but for the weights' salt, which is
/// random, and the digest under it.
///
/// # Errors
/// [`SearchError::Impossible`] names the smallest possible budget.
pub fn search(
    model: &Model,
    preprocess: &Preprocess,
    images: &Images<'_>,
    options: &SearchOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Found, SearchError> {
    let model = equalized(model, images.batch)?;
    Prepared::new(&model, preprocess, images, options, None, progress)?.find(options, progress)
}

/// Calibration images.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// Preprocessed.
    pub batch: &'a Tensor,
    /// Their labels; without them, the float network's classes count as right.
    pub labels: Option<&'a [usize]>,
    /// Others, preprocessed, that the result is compared with the float network on: those that it
    /// was calibrated on flatter it.
    pub held_back: Option<&'a Tensor>,
}
