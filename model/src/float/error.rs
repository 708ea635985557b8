//! Arguments of an evaluation, and why they may not fit.

use crate::model::{Model, Op, ValueId};
use crate::tensor::Tensor;

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

/// Whether there is a value.
pub(super) fn check_value(model: &Model, id: ValueId) -> Result<(), FloatError> {
    if id.0 <= model.nodes.len() {
        return Ok(());
    }
    Err(FloatError::Unknown { what: "value", index: id.0 })
}

/// Whether a tensor stands for a value of so many images.
pub(super) fn check_tensor(
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

/// Whether weights and biases are a layer's.
pub(super) fn check_weights(
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
