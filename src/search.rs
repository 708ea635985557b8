//! Quantization: from a model to a network within a budget.

use protocols::plan::{Hints, Load};
use quant::search::{self as widths, LayerReport, Progress as SearchProgress, SearchOptions};

use crate::{Error, Images, Model, Network};

/// What a search found.
#[derive(Clone)]
#[non_exhaustive]
pub struct Found {
    /// What two parties run.
    pub network: Network,
    /// Every linear layer, with its widths and what it moves.
    pub layers: Vec<LayerReport>,
    /// Bits of one inference, offline and online, in both directions.
    pub predicted_bits: u64,
    /// Bits of set-up, once per session, for a client that has the hints.
    pub setup_bits: u64,
    /// Seconds of one inference on the connection that was asked for.
    pub predicted_seconds: f64,
}

/// Searches widths of weights and activations, layer by layer, and the protocols of all steps, of
/// the least loss within the budgets of the options; or takes the widths that they fix.
///
/// All images calibrate: 256 are enough. They need no labels. Where layers have hints, these are
/// made.
///
/// # Errors
/// The images do not fit the model, or no network is within the budget: the error names the
/// smallest that is possible.
pub fn search(model: &Model, images: &Images, options: &SearchOptions) -> Result<Found, Error> {
    search_observed(model, images, options, &mut |_| ())
}

/// The same; `progress` is told after each part of the work, on the caller's thread.
///
/// # Errors
/// Those of [`search`].
pub fn search_observed(
    model: &Model,
    images: &Images,
    options: &SearchOptions,
    progress: &mut dyn FnMut(SearchProgress),
) -> Result<Found, Error> {
    let batch = images.tensor()?;
    let calibration = widths::Images { batch: &batch, labels: images.labels(), held_back: None };
    let found = widths::search(&model.0, images.preprocess(), &calibration, options, progress)?;
    Found::of(found)
}

impl Found {
    /// The network of what was found, with its hints.
    pub(crate) fn of(found: widths::Found) -> Result<Self, Error> {
        let network = Network::new(found.plan, found.weights)?.with_new_hints()?;
        Ok(Self {
            setup_bits: network.plan().session_cost(Load::one(1).with(Hints::Known)).bits(),
            network,
            layers: found.layers,
            predicted_bits: found.predicted_bits,
            predicted_seconds: found.predicted_seconds,
        })
    }
}
