//! Evaluation of a [`Model`] in float.
//!
//! Every image runs through the whole network on one core, and the images spread over all of them:
//! no sum is ever split between cores, so the results do not depend on how many there are.

pub mod conv;
mod edit;
mod error;
pub mod ops;

use rayon::prelude::*;

pub use edit::{Edit, reevaluate};
pub use error::FloatError;

use crate::model::{Conv, Model, Op, ValueId};
use crate::tensor::Tensor;
use error::{check_tensor, check_value};

/// How many images [`activations`] gathers at a time: bounds what it holds twice.
const GATHERED: usize = 64;

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

#[cfg(test)]
mod tests;
