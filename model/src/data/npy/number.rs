//! Types of elements, and elements of them.

use std::fmt;

use half::f16;

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

/// An element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Integer(i128),
    Float(f64),
}

impl Kind {
    /// The type with a letter and a number of bytes, as `descr` has them.
    pub(super) fn of(code: &str) -> Option<Self> {
        Some(match code {
            "b1" => Self::Bool,
            "u1" => Self::U8,
            "i1" => Self::I8,
            "u2" => Self::U16,
            "i2" => Self::I16,
            "u4" => Self::U32,
            "i4" => Self::I32,
            "u8" => Self::U64,
            "i8" => Self::I64,
            "f2" => Self::F16,
            "f4" => Self::F32,
            "f8" => Self::F64,
            _ => return None,
        })
    }

    /// Its name in NumPy.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::U64 => "uint64",
            Self::I64 => "int64",
            Self::F16 => "float16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }

    /// The bytes of an element.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    pub(super) const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    /// The element that these bytes are.
    pub(super) fn number(self, bytes: &[u8], big_endian: bool) -> Number {
        let mut little = [0; 8];
        for (at, &byte) in bytes.iter().enumerate() {
            little[if big_endian { bytes.len() - 1 - at } else { at }] = byte;
        }
        let unsigned = u64::from_le_bytes(little);
        match self {
            Self::Bool => Number::Integer((unsigned != 0).into()),
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => Number::Integer(unsigned.into()),
            Self::I8 => Number::Integer((unsigned as i8).into()),
            Self::I16 => Number::Integer((unsigned as i16).into()),
            Self::I32 => Number::Integer((unsigned as i32).into()),
            Self::I64 => Number::Integer((unsigned as i64).into()),
            Self::F16 => Number::Float(f16::from_bits(unsigned as u16).to_f64()),
            Self::F32 => Number::Float(f32::from_bits(unsigned as u32).into()),
            Self::F64 => Number::Float(f64::from_bits(unsigned)),
        }
    }
}

impl Number {
    /// As a pixel in single precision, if it is finite there.
    pub(super) fn pixel(self) -> Option<f32> {
        let pixel = match self {
            Self::Integer(integer) => integer as f32,
            Self::Float(float) => float as f32,
        };
        pixel.is_finite().then_some(pixel)
    }

    /// As a pixel of 0..255, if it is one.
    pub(super) fn byte(self) -> Option<u8> {
        self.integer()?.try_into().ok()
    }

    /// As an integer, if it is one.
    pub(super) const fn integer(self) -> Option<i128> {
        match self {
            Self::Integer(integer) => Some(integer),
            Self::Float(_) => None,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => integer.fmt(f),
            Self::Float(float) => write!(f, "{float:?}"),
        }
    }
}
