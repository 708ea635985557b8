//! Quantization and the search for precisions.

pub mod gradient;
mod plan;
pub mod qdq;
pub mod quantize;
pub mod search;

pub use model::{
    self, DataError, Dataset, Geometry, ImportError, Interface, Judge, JudgeError, Model, Node, Op,
    Preprocess, Tensor, ValueId, data, float, import, import_file, judge, onnx,
};
