//! Evaluation of a [`Model`] in float.
//!
//! Every image runs through the whole network on one core, and the images spread over all of them:
//! no sum is ever split between cores, so the results do not depend on how many there are.

pub mod conv;
pub mod ops;

use rayon::prelude::*;

use crate::model::{Conv, Model, Op, ValueId};
use crate::tensor::Tensor;

/// How many images [`activations`] gathers at a time: bounds what it holds twice.
const GATHERED: usize = 64;

/// Arguments of an evaluation that do not fit the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FloatError {
    /// A tensor has another shape than the value that it stands for.
    #[error("value {value} of the model is {expected:?} per image, but the tensor has {found:?}")]
    Shape {
        /// The value.
        value: usize,
        /// Its shape per image, `[C, H, W]`.
        expected: [usize; 3],
        /// The tensor's shape per image, `[C, H, W]`.
        found: [usize; 3],
    },
    /// Tensors of one evaluation hold different numbers of images, or one has not as many elements
    /// as its shape says.
    #[error("value {value} is needed for {expected} images, but the tensor holds {found}")]
    Images {
        /// The value.
        value: usize,
        /// The number of images of the evaluation.
        expected: usize,
        /// The number of images of the tensor.
        found: usize,
    },
    /// A value that has to be given was not kept.
    #[error(
        "value {value} is needed and was not kept; keep it in `activations_of`, or edit a value \
         above it"
    )]
    NotKept {
        /// The value.
        value: usize,
    },
    /// There is no such value or layer in the model.
    #[error("the model has no {what} {index}")]
    Unknown {
        /// `value` or `layer`.
        what: &'static str,
        /// Its index.
        index: usize,
    },
    /// Weights or biases of an edit have another length than the layer's.
    #[error("layer {node} has {expected} weights and biases, the edit has {found}")]
    Weights {
        /// The index of the node.
        node: usize,
        /// The number of weights and biases in the model.
        expected: usize,
        /// The number in the edit.
        found: usize,
    },
}

/// Values of a model for a batch, kept from an evaluation.
#[derive(Clone, Debug)]
pub struct Activations {
    values: Vec<Option<Tensor>>,
    images: usize,
}

impl Activations {
    /// The value, `[N, C, H, W]`, if it was kept.
    #[must_use]
    pub fn value(&self, id: ValueId) -> Option<&Tensor> {
        self.values.get(id.0)?.as_ref()
    }

    /// The number of images.
    #[must_use]
    pub fn images(&self) -> usize {
        self.images
    }
}

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
    /// The layer has these weights and biases; their order is that of [`Conv`].
    Weights {
        /// The index of the node, a convolution.
        node: usize,
        /// The weights.
        weight: &'a [f32],
        /// The biases, one per output channel.
        bias: &'a [f32],
    },
}

/// The logits of a batch, `[N, C, H, W]` with `[C, H, W]` the shape of the model's output (`[N,
/// classes, 1, 1]`).
///
/// # Errors
/// The batch's shape is not the model's input.
pub fn evaluate(model: &Model, batch: &Tensor) -> Result<Tensor, FloatError> {
    evaluate_mapped(model, batch, |_, _| {})
}

/// As [`evaluate`], with `map` applied in place to every value of every image, the input first,
/// before it is used.
///
/// The slice is one image's value, in the order C, H, W. This is how activations are observed or
/// fake-quantized without holding them all.
///
/// # Errors
/// The batch's shape is not the model's input.
pub fn evaluate_mapped(
    model: &Model,
    batch: &Tensor,
    map: impl Fn(ValueId, &mut [f32]) + Sync,
) -> Result<Tensor, FloatError> {
    check_tensor(model, ValueId::INPUT, batch, batch.images())?;
    let last_use = last_uses(model);
    let rows: Vec<Vec<f32>> = (0..batch.images())
        .into_par_iter()
        .map_init(Vec::new, |scratch, n| {
            let mut values = vec![Vec::new(); model.nodes.len() + 1];
            values[0] = batch.image(n).to_vec();
            map(ValueId::INPUT, &mut values[0]);
            for (i, node) in model.nodes.iter().enumerate() {
                let mut out = run(model, i, None, |id| &values[id.0], scratch);
                map(node.output, &mut out);
                values[i + 1] = out;
                for input in &node.inputs {
                    // What no later node reads goes: a worker holds the widest cut of the network,
                    // not all of it.
                    if last_use[input.0] == i {
                        values[input.0] = Vec::new();
                    }
                }
            }
            std::mem::take(&mut values[model.output.0])
        })
        .collect();
    Ok(stack(model.shape(model.output), &rows))
}

/// Every value of a batch. Holds all of them: call it with batches that fit (see [`Model`]'s
/// shapes, 4 bytes an element).
///
/// # Errors
/// The batch's shape is not the model's input.
pub fn activations(model: &Model, batch: &Tensor) -> Result<Activations, FloatError> {
    let all: Vec<ValueId> = (0..=model.nodes.len()).map(ValueId).collect();
    activations_of(model, batch, &all)
}

/// The values `keep` of a batch.
///
/// # Errors
/// The batch's shape is not the model's input, or there is no such value.
pub fn activations_of(
    model: &Model,
    batch: &Tensor,
    keep: &[ValueId],
) -> Result<Activations, FloatError> {
    check_tensor(model, ValueId::INPUT, batch, batch.images())?;
    let mut values = vec![None; model.nodes.len() + 1];
    for &id in keep {
        check_value(model, id)?;
        let [c, h, w] = model.shape(id);
        values[id.0] = Some(Vec::with_capacity(batch.images() * c * h * w));
    }
    let images: Vec<usize> = (0..batch.images()).collect();
    // Images are computed in any order and appended in theirs; a chunk bounds what is there twice.
    for chunk in images.chunks(GATHERED) {
        let kept: Vec<Vec<Vec<f32>>> = chunk
            .par_iter()
            .map_init(Vec::new, |scratch, &n| image_values(model, batch.image(n), &values, scratch))
            .collect();
        for image in &kept {
            for (all, value) in values.iter_mut().zip(image) {
                if let Some(all) = all {
                    all.extend_from_slice(value);
                }
            }
        }
    }
    let images = batch.images();
    let values = values
        .into_iter()
        .enumerate()
        .map(|(id, data)| {
            let [c, h, w] = model.shape(ValueId(id));
            data.map(|data| Tensor { shape: [images, c, h, w], data })
        })
        .collect();
    Ok(Activations { values, images })
}

/// Every value of a batch in the order of the network, the input first, each as `[image]` and `[C,
/// H, W]`.
///
/// Only values that a later node reads are held: memory is that of the widest cut of the network,
/// times images.
///
/// # Errors
/// The batch's shape is not the model's input.
pub fn visit_values(
    model: &Model,
    batch: &Tensor,
    mut see: impl FnMut(ValueId, &[Vec<f32>]),
) -> Result<(), FloatError> {
    check_tensor(model, ValueId::INPUT, batch, batch.images())?;
    let last_use = last_uses(model);
    let mut values = vec![Vec::new(); model.nodes.len() + 1];
    values[0] = (0..batch.images()).map(|n| batch.image(n).to_vec()).collect();
    see(ValueId::INPUT, &values[0]);
    for (i, node) in model.nodes.iter().enumerate() {
        let images = (0..batch.images()).into_par_iter();
        let found: Vec<Vec<f32>> = images
            .map_init(Vec::new, |scratch, n| run(model, i, None, |id| &values[id.0][n], scratch))
            .collect();
        see(node.output, &found);
        values[i + 1] = found;
        for input in &node.inputs {
            if last_use[input.0] == i {
                values[input.0] = Vec::new();
            }
        }
    }
    Ok(())
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

/// All values of one image of which `keep` has a place; the others are left empty.
fn image_values(
    model: &Model,
    image: &[f32],
    keep: &[Option<Vec<f32>>],
    scratch: &mut Vec<f32>,
) -> Vec<Vec<f32>> {
    let last_use = last_uses(model);
    let mut values = vec![Vec::new(); model.nodes.len() + 1];
    values[0] = image.to_vec();
    for (i, node) in model.nodes.iter().enumerate() {
        values[i + 1] = run(model, i, None, |id| &values[id.0], scratch);
        for input in &node.inputs {
            if last_use[input.0] == i && keep[input.0].is_none() {
                values[input.0] = Vec::new();
            }
        }
    }
    values
}

/// The last node that reads each value; `usize::MAX` for the output, which is never to be dropped.
fn last_uses(model: &Model) -> Vec<usize> {
    let mut last = vec![0; model.nodes.len() + 1];
    for (i, node) in model.nodes.iter().enumerate() {
        for input in &node.inputs {
            last[input.0] = i;
        }
    }
    last[model.output.0] = usize::MAX;
    last
}

/// Node `i` on one image.
fn run<'v>(
    model: &Model,
    i: usize,
    weights: Option<(&[f32], &[f32])>,
    value: impl Fn(ValueId) -> &'v [f32],
    scratch: &mut Vec<f32>,
) -> Vec<f32> {
    let node = &model.nodes[i];
    let shape = model.shape(node.inputs[0]);
    let input = value(node.inputs[0]);
    match &node.op {
        Op::Conv(Conv { geometry, weight, bias }) => {
            let (weight, bias) = weights.unwrap_or((weight, bias));
            conv::convolve(geometry, weight, bias, input, scratch)
        }
        Op::Relu { max } => ops::relu(input, *max),
        Op::PartRelu(mask) => ops::part_relu(input, mask),
        Op::Function(function) => ops::function(input, function),
        Op::Add => ops::add(input, value(node.inputs[1])),
        Op::Mul => ops::multiply(input, value(node.inputs[1])),
        Op::MaxPool(window) => ops::max_pool(window, shape, input),
        Op::AvgPool(window) => ops::avg_pool(window, shape, input),
        Op::View(view) => view.of(shape, 1, input),
        Op::Reorder(order) => order.of(shape, 1, input),
        Op::Concat => node.inputs.iter().flat_map(|&input| value(input)).copied().collect(),
    }
}

fn stack([c, h, w]: [usize; 3], rows: &[Vec<f32>]) -> Tensor {
    Tensor { shape: [rows.len(), c, h, w], data: rows.concat() }
}

fn check_value(model: &Model, id: ValueId) -> Result<(), FloatError> {
    if id.0 <= model.nodes.len() {
        return Ok(());
    }
    Err(FloatError::Unknown { what: "value", index: id.0 })
}

fn check_tensor(
    model: &Model,
    id: ValueId,
    tensor: &Tensor,
    images: usize,
) -> Result<(), FloatError> {
    check_value(model, id)?;
    let (expected, found) = (model.shape(id), tensor.image_shape());
    if expected != found {
        return Err(FloatError::Shape { value: id.0, expected, found });
    }
    if tensor.images() == images && tensor.data.len() == images * tensor.image_len() {
        return Ok(());
    }
    let found = tensor.images().min(tensor.data.len() / tensor.image_len().max(1));
    Err(FloatError::Images { value: id.0, expected: images, found })
}

fn check_weights(
    model: &Model,
    node: usize,
    weight: &[f32],
    bias: &[f32],
) -> Result<(), FloatError> {
    let Some(Op::Conv(conv)) = model.nodes.get(node).map(|n| &n.op) else {
        return Err(FloatError::Unknown { what: "layer", index: node });
    };
    if weight.len() == conv.weight.len() && bias.len() == conv.bias.len() {
        return Ok(());
    }
    Err(FloatError::Weights {
        node,
        expected: conv.weight.len() + conv.bias.len(),
        found: weight.len() + bias.len(),
    })
}

#[cfg(test)]
mod tests;
