//! Quantization, the search for precisions, and training.

pub mod distill;
mod floats;
pub mod gradient;
pub mod qdq;
pub mod quantize;
pub mod reshape;
pub mod search;
#[cfg(test)]
mod testing;
pub mod tune;

pub use model::{
    self, DataError, Dataset, Geometry, ImportError, Interface, Model, Node, Op, Preprocess,
    ReferenceRuntime, ReferenceRuntimeError, Tensor, ValueId, data, float, import, import_file,
    onnx, reference_runtime,
};
