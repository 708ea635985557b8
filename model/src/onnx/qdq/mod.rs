//! Quantized networks in ONNX, read: floats between QuantizeLinear and DequantizeLinear.

pub(super) mod constant;
pub(super) mod import;
pub(super) mod qonnx;

use std::collections::BTreeMap;

use super::constant::Grid;
use crate::model::{Model, ValueId};

/// How a value is quantized: `clamp(round(x / scale), low, high)`, its zero point taken off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantizer {
    /// The real value of one step.
    pub scale: f64,
    /// The least integer.
    pub low: i64,
    /// The largest integer.
    pub high: i64,
}

/// A network that came quantized.
#[derive(Clone)]
pub struct Quantized {
    /// The network in real numbers; weights are what their integers stand for.
    pub model: Model,
    /// How values are quantized, those that are.
    pub values: BTreeMap<ValueId, Quantizer>,
    /// By node: the integers of its weights, in the order of the model's, and of what width they
    /// are.
    pub weights: BTreeMap<usize, Integers>,
    /// What of the file was left out, and what was chosen, in sentences.
    pub notes: Vec<String>,
}

/// The integers of a layer's weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Integers {
    /// The integers, their zero points taken off.
    pub values: Vec<i16>,
    /// The least that their type and a Clip allow.
    pub low: i16,
    /// The largest.
    pub high: i16,
    /// What the file multiplies each by; the model's weights say what became of it.
    pub scales: Vec<f32>,
}

impl From<Grid> for Integers {
    fn from(Grid { values, low, high, scales }: Grid) -> Self {
        Self { values, low, high, scales }
    }
}
