//! 128-bit blocks: seeds, correlations, keys.

use std::fmt;
use std::ops::{BitAnd, BitXor, BitXorAssign};

use bytemuck::{Pod, Zeroable};
use zeroize::DefaultIsZeroes;

/// 128 bits, the computational security parameter λ. `Debug` does not print them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct Block(pub u128);

impl Block {
    /// Bytes of a block.
    pub const BYTES: usize = 16;

    /// All bits zero.
    pub const ZERO: Self = Self(0);

    /// The lowest bit: in the pools, the choice of a correlated OT.
    pub const fn lsb(self) -> u64 {
        (self.0 & 1) as u64
    }

    /// The block where `bit` is 1, zero where it is 0, in constant time.
    #[must_use]
    pub const fn masked(self, bit: u64) -> Self {
        // Zero less one is all ones: a mask in place of a branch. Bits of `bit` above the lowest
        // are ignored.
        Self(self.0 & (bit as u128 & 1).wrapping_neg())
    }

    /// Little-endian bytes.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// From little-endian bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }

    /// Blocks from a message of whole blocks; a remainder is ignored, lengths are the channel's to
    /// check.
    pub fn unpack(bytes: &[u8]) -> Vec<Self> {
        bytes.as_chunks::<16>().0.iter().map(|chunk| Self::from_bytes(*chunk)).collect()
    }

    /// The message that holds these blocks.
    pub fn pack(blocks: &[Self]) -> Vec<u8> {
        blocks.iter().flat_map(|block| block.to_bytes()).collect()
    }
}

impl DefaultIsZeroes for Block {}

impl BitXor for Block {
    type Output = Self;

    fn bitxor(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }
}

impl BitXorAssign for Block {
    fn bitxor_assign(&mut self, other: Self) {
        self.0 ^= other.0;
    }
}

impl BitAnd for Block {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Block")
    }
}
