//! Networks of one width, without a search: what they are and cost, and whether there is one.

use fusion::Graph;
use model::{Model, Preprocess, Tensor};
use protocols::plan::Plan;

use super::planned::{impossible, planned};
use super::widths::{uniform, uniform_widths};
use super::{FirstAndLast, SearchError, SearchOptions, Uniform};
use crate::quantize::{Quantizer, Ranges, equalized};

/// The integer network at one width for all layers but the first and the last, its weights rounded
/// layer by layer: what is looked at, not what is run.
///
/// # Errors
/// The images do not fit the network, or it cannot be represented in integers.
pub fn uniform_graph(
    model: &Model,
    preprocess: &Preprocess,
    batch: &Tensor,
    fixed: Uniform,
    first_and_last: FirstAndLast,
) -> Result<Graph, SearchError> {
    let model = equalized(model, batch)?;
    let quantizer = Quantizer::new(&model, preprocess, batch, Ranges::Mse)?;
    if quantizer.activations().layers.is_empty() {
        return Err(SearchError::NoLayers);
    }
    Ok(quantizer.quantize(&uniform(quantizer.activations(), fixed, first_and_last))?.0)
}

/// The plan of a network at the widths that `options` fixes, its weights rounded layer by layer:
/// what it would cost, but not what would be run.
///
/// # Errors
/// As [`uniform_graph`]; no widths are fixed; or no plan is within the budgets.
pub fn uniform_plan(
    model: &Model,
    preprocess: &Preprocess,
    batch: &Tensor,
    options: &SearchOptions,
) -> Result<Plan, SearchError> {
    let fixed = options.fixed.ok_or(SearchError::Nothing)?;
    let quantizer = Quantizer::new(model, preprocess, batch, options.ranges)?;
    if quantizer.activations().layers.is_empty() {
        return Err(SearchError::NoLayers);
    }
    let widths = uniform(quantizer.activations(), fixed, options.ends);
    let network = quantizer.quantize(&widths)?;
    match planned(&network, options)? {
        Some(plan) => Ok(plan),
        None => Err(impossible(&network, options)?),
    }
}

/// Verifies that a network can be made one of integers, and those a plan: what a search would fail
/// at, at its widest, in the time that evaluating the images takes.
///
/// # Errors
/// What the search would end with.
pub fn check(model: &Model, preprocess: &Preprocess, batch: &Tensor) -> Result<(), SearchError> {
    let model = equalized(model, batch)?;
    let quantizer = Quantizer::new(&model, preprocess, batch, Ranges::Mse)?;
    if quantizer.activations().layers.is_empty() {
        return Err(SearchError::NoLayers);
    }
    let (graph, _) = quantizer.draft(&uniform_widths(quantizer.activations(), 8))?;
    fusion::fuse(&graph, &fusion::Options::default())?;
    Ok(())
}
