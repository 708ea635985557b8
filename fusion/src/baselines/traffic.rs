//! What is sent, whichever way OTs are made.

use std::iter::Sum;
use std::ops::{Add, Mul};

/// λ.
const LAMBDA: u64 = 128;
/// Traffic whose dearer part depends on how OTs are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// OTs, in all directions: λ bits each by IKNP, nothing where they are silent.
    pub(super) lambdas: u64,
    /// Bits of messages.
    pub(super) bits: u64,
}

impl Traffic {
    /// Bytes over OTs by IKNP.
    pub const fn iknp_bytes(&self) -> u64 {
        (LAMBDA * self.lambdas + self.bits).div_ceil(8)
    }

    /// Bytes over silent OTs.
    pub const fn silent_bytes(&self) -> u64 {
        self.bits.div_ceil(8)
    }
}

impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { lambdas: self.lambdas + other.lambdas, bits: self.bits + other.bits }
    }
}

impl Sum for Traffic {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Add::add)
    }
}

impl Mul<u64> for Traffic {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self { lambdas: self.lambdas * times, bits: self.bits * times }
    }
}
