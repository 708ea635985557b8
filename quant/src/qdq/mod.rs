//! Plans as quantized networks in ONNX: floats between QuantizeLinear and DequantizeLinear.
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

mod export;
mod scales;

pub use export::{EXACT_BITS, ExportError, Exported, export_quantized};
