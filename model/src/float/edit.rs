//! Evaluation of what depends on a change, from values that were kept.

use rayon::prelude::*;

use super::error::{check_tensor, check_weights};
use super::{Activations, FloatError, run, stack};
use crate::model::{Model, ValueId};
use crate::tensor::Tensor;

/// A change to a model, for [`reevaluate`].
#[derive(Clone, Copy, Debug)]
pub enum Edit<'a> {
    /// The value is this tensor, `[N, C, H, W]`, whatever its node computes.
    Value {
        /// Which value.
        id: ValueId,
        /// What it becomes.
        tensor: &'a Tensor,
    },
    /// The layer has these weights and biases; their order is that of [`Conv`](crate::Conv).
    Weights {
        /// The index of the node, a convolution.
        node: usize,
        /// The weights.
        weight: &'a [f32],
        /// The biases, one per output channel.
        bias: &'a [f32],
    },
}

/// The logits that the kept activations lead to when the model is changed: recomputes what depends
/// on `edits`, only.
///
/// A value that is edited is not computed, so that what lies above it does not matter. Values that
/// are needed and do not depend on an edit are taken from `kept`. Without edits, and with the
/// output kept, the output is copied.
///
/// # Errors
/// An edit does not fit the model, or a value that is needed was not kept.
pub fn reevaluate(
    model: &Model,
    kept: &Activations,
    edits: &[Edit<'_>],
) -> Result<Tensor, FloatError> {
    let suffix = Suffix::new(model, kept, edits)?;
    let rows: Vec<Vec<f32>> = (0..kept.images)
        .into_par_iter()
        .map_init(Vec::new, |scratch, n| suffix.image(n, scratch))
        .collect();
    Ok(stack(model.shape(model.output), &rows))
}

/// What [`reevaluate`] computes and from what.
struct Suffix<'a> {
    model: &'a Model,
    /// Values that are given: edited, or kept and independent of the edits.
    given: Vec<Option<&'a Tensor>>,
    /// Weights and biases that replace the model's.
    weights: Vec<Option<(&'a [f32], &'a [f32])>>,
    /// The nodes to run, in order: those that the output needs.
    nodes: Vec<usize>,
}

impl<'a> Suffix<'a> {
    fn new(
        model: &'a Model,
        kept: &'a Activations,
        edits: &[Edit<'a>],
    ) -> Result<Self, FloatError> {
        let mut given = vec![None; model.nodes.len() + 1];
        let mut weights = vec![None; model.nodes.len()];
        for edit in edits {
            match *edit {
                Edit::Value { id, tensor } => {
                    check_tensor(model, id, tensor, kept.images)?;
                    given[id.0] = Some(tensor);
                }
                Edit::Weights { node, weight, bias } => {
                    check_weights(model, node, weight, bias)?;
                    weights[node] = Some((weight, bias));
                }
            }
        }
        // `depends[v]`: the value has to be computed, because something that it depends on was
        // edited.
        let mut depends = vec![false; given.len()];
        for (i, node) in model.nodes.iter().enumerate() {
            depends[i + 1] = given[i + 1].is_none()
                && (weights[i].is_some()
                    || node.inputs.iter().any(|id| depends[id.0] || is_edited(edits, *id)));
        }
        // From the output back: what depends on an edit is computed, and needs its inputs; all else
        // is taken from `kept`, and needs nothing.
        let mut needed = vec![false; given.len()];
        needed[model.output.0] = true;
        let mut nodes = Vec::new();
        for value in (0..given.len()).rev() {
            if !needed[value] {
                continue;
            }
            if depends[value] {
                nodes.push(value - 1);
                for input in &model.nodes[value - 1].inputs {
                    needed[input.0] = true;
                }
            } else if given[value].is_none() {
                let tensor = kept.value(ValueId(value)).ok_or(FloatError::NotKept { value })?;
                check_tensor(model, ValueId(value), tensor, kept.images)?;
                given[value] = Some(tensor);
            }
        }
        nodes.reverse();
        Ok(Self { model, given, weights, nodes })
    }

    fn image(&self, n: usize, scratch: &mut Vec<f32>) -> Vec<f32> {
        let mut values = vec![Vec::new(); self.given.len()];
        for &i in &self.nodes {
            values[i + 1] = run(
                self.model,
                i,
                self.weights[i],
                |id| self.given[id.0].map_or(&values[id.0], |tensor| tensor.image(n)),
                scratch,
            );
        }
        match self.given[self.model.output.0] {
            Some(tensor) => tensor.image(n).to_vec(),
            None => std::mem::take(&mut values[self.model.output.0]),
        }
    }
}

fn is_edited(edits: &[Edit<'_>], value: ValueId) -> bool {
    edits.iter().any(|edit| matches!(edit, Edit::Value { id, .. } if *id == value))
}
