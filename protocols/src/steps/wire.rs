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
    /// Whether the values are two's complement.
    pub signed: bool,
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

    /// The smallest and the largest value that the width allows.
    pub const fn range(&self) -> (i64, i64) {
        if self.signed {
            (-1 << (self.bits - 1), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1 << self.bits) - 1)
        }
    }
}
