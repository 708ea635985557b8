//! Float networks: what they are, where they come from, what they compute and on what.
//!
//! A [`Model`] is imported from ONNX ([`onnx`]) and evaluated in float ([`float`]) on batches of
//! images ([`Tensor`]) of a [`Dataset`]; onnxruntime judges the evaluation ([`reference_runtime`]).
//! Nothing here is quantized, but for networks that come so: what their file says is kept beside
//! them ([`onnx::Quantized`]).

pub mod data;
pub mod float;
pub mod kernels;
mod model;
pub mod onnx;
pub mod reference_runtime;
pub mod softmax;
mod tensor;

pub use data::{DataError, Dataset, Interface, Preprocess};
pub use model::{
    Axis, Conv, Function, Mask, Model, ModelError, Node, Op, Order, ValueId, View, Window,
};
pub use onnx::{ImportError, import, import_file};
pub use protocols::linear::Geometry;
pub use reference_runtime::{ReferenceRuntime, ReferenceRuntimeError};
pub use tensor::Tensor;
