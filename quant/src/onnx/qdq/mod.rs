//! Quantized networks in ONNX: floats between QuantizeLinear and DequantizeLinear.
//!
//! What [`export_quantized`] writes, operator set 13:
//!
//! - A value of a bits: `QuantizeLinear -> Clip -> DequantizeLinear`, stored in uint8 or int8, zero
//!   point 0, scale a power of two; the Clip is there where a < 8.
//! - A layer: int8 weights `-> Clip -> DequantizeLinear`, one scale or one a channel, and an int32
//!   bias `-> DequantizeLinear`, into a Conv.
//! - A requantization: terms added up, a quarter of an accumulator's step (see below), `Relu` where
//!   it is unsigned, and a value.
//! - The input is divided by its step first, the logits are multiplied by theirs last: all scales
//!   between are powers of two, so that floats compute integers.
//!
//! A requantization is `floor((x + 2^(k-1)) / 2^k)`, QuantizeLinear rounds halves to even. `x +
//! 1/4` is never half of `2^k` off a multiple, for k = 0 either, and rounds to what `x` rounds to,
//! halves up. In floats that is exact while `|x| < 2^22`.

pub(super) mod constant;
mod export;
pub(super) mod import;
mod scales;

use std::collections::BTreeMap;

use super::constant::Grid;
use crate::model::{Model, ValueId};

pub use export::{EXACT_BITS, ExportError, Exported, export_quantized};

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
