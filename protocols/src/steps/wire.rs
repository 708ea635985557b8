//! What lies between two steps.

use serde::{Deserialize, Serialize};

use crate::Bits;

/// Index of a wire in the wires of a plan.
pub type WireId = usize;

/// An integer tensor in shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wire {
    /// `[channels, rows, columns]` of one image.
    pub shape: [usize; 3],
    /// Width of the values.
    pub bits: u8,
    /// The least value: the others are the `2^bits - 1` integers above it. It is 0 where nothing is
    /// negative, `-2^(bits-1)` for two's complement, and anything down to `-(2^bits - 1)` for what
    /// is negative less far or less often than that.
    pub low: i64,
    /// The ring that the shares lie in.
    pub ring: Bits,
    /// Where it is there, the shares are of `2 x + c` and not of the value `x`: `c` is 0 or `2^e`,
    /// with `e` at most so much. The [`Requant`](super::Requant) that reads it drops one bit more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carry: Option<u8>,
}

impl Wire {
    /// Elements of one image.
    pub const fn elements(&self) -> usize {
        self.shape[0] * self.shape[1] * self.shape[2]
    }

    /// Bits of the ring that its values lie in.
    pub const fn value_ring(&self) -> u32 {
        self.ring.get() - self.carry.is_some() as u32
    }

    /// The least value of a width, without a sign or as two's complement.
    pub const fn least(bits: u8, signed: bool) -> i64 {
        if signed { -1 << (bits - 1) } else { 0 }
    }

    /// The smallest and the largest value that the width allows.
    pub const fn range(&self) -> (i64, i64) {
        (self.low, self.low + (1 << self.bits) - 1)
    }

    /// Whether values can be negative.
    pub const fn signed(&self) -> bool {
        self.low < 0
    }

    /// Whether the values are all of two's complement, so that they can stand for what is modulo
    /// `2^bits`.
    pub const fn is_twos_complement(&self) -> bool {
        self.low == Self::least(self.bits, true)
    }

    /// Whether it fills its ring with two's complement: it stands for values modulo that.
    pub const fn is_modular(&self) -> bool {
        self.is_twos_complement() && self.bits as u32 == self.value_ring()
    }
}
