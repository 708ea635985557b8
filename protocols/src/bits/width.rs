//! The width of a ring, and what it makes of integers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The width of a ring `Z_{2^l}` or of a message entry: 1 to 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Bits(u8);

impl Bits {
    /// One bit.
    pub const ONE: Self = Self(1);

    /// A width, or `None` where it is not within 1..=64.
    pub const fn new(width: u32) -> Option<Self> {
        if width >= 1 && width <= 64 { Some(Self(width as u8)) } else { None }
    }

    /// A width that the caller has derived from valid ones.
    ///
    /// # Panics
    /// Where `width` is not within 1..=64: an invariant of the caller is broken.
    #[track_caller]
    pub const fn of(width: u32) -> Self {
        match Self::new(width) {
            Some(bits) => bits,
            None => panic!("invariant: a width is within 1..=64"),
        }
    }

    /// The width as a number of bits.
    pub const fn get(self) -> u32 {
        self.0 as u32
    }

    /// `2^l - 1`.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.0 as u32)
    }

    /// `value mod 2^l`.
    pub const fn reduce(self, value: u64) -> u64 {
        value & self.mask()
    }

    /// A two's complement integer as a ring element.
    pub const fn encode(self, value: i64) -> u64 {
        self.reduce(value as u64)
    }

    /// The two's complement reading of a ring element.
    pub const fn decode(self, value: u64) -> i64 {
        let unused = 64 - self.0 as u32;
        ((value << unused) as i64) >> unused
    }

    /// Bytes of `count` packed elements of this width.
    pub const fn packed_len(self, count: usize) -> usize {
        ((count as u128 * self.0 as u128).div_ceil(8)) as usize
    }
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> Self {
        bits.0
    }
}

impl TryFrom<u8> for Bits {
    type Error = String;

    fn try_from(width: u8) -> Result<Self, String> {
        Self::new(u32::from(width))
            .ok_or_else(|| format!("a width is within 1..=64, found {width}"))
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bit", self.0)
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decoding_undoes_encoding(width in 1u32..=64, value in any::<i64>()) {
            let bits = Bits::of(width);
            let value = bits.decode(value as u64);
            prop_assert_eq!(bits.decode(bits.encode(value)), value);
        }
    }
}
