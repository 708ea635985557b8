//! Import, quantization and precision search.

pub mod data;
pub mod float;
pub mod gradient;
pub mod judge;
mod kernels;
pub mod model;
pub mod onnx;
pub mod quantize;
pub mod search;
mod softmax;
pub mod tensor;

pub use data::{DataError, Dataset, Interface, Preprocess};
pub use judge::{Judge, JudgeError};
pub use model::{Model, Node, Op, ValueId};
pub use onnx::{ImportError, import, import_file};
pub use protocols::linear::Geometry;
pub use tensor::Tensor;
