//! The hot loops. Each is here twice: a portable twin, and versions for instruction sets that are
//! detected at run time. A property test holds them equal, so the choice changes the speed and
//! nothing else.

#![allow(unsafe_code)] // the one folder that may

mod aes;
mod bit_sums;
mod butterflies;
mod lpn;
mod puncture;
mod runs;
mod split;
mod streams;
mod transpose;

pub(crate) use aes::{Key, sigma_all};
pub(crate) use bit_sums::{Expansion, puncture_bits};
pub(crate) use butterflies::{Butterflies, DEGREE, PRIME, Residues};
pub(crate) use lpn::Code;
#[cfg(test)]
pub(crate) use lpn::WEIGHT;
pub(crate) use puncture::patch;
pub(crate) use runs::add_runs;
pub(crate) use split::equal;
pub(crate) use streams::{Partial, Streams};
pub(crate) use transpose::transpose;

use std::ops::BitXor;

use bytemuck::{Pod, Zeroable};
use zeroize::DefaultIsZeroes;

use crate::Block;

/// The same node of four trees, which fills a register.
#[derive(Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Quad(pub [Block; 4]);

impl Quad {
    /// All bits zero.
    pub(crate) const ZERO: Self = Self([Block::ZERO; 4]);
}

impl DefaultIsZeroes for Quad {}

impl BitXor for Quad {
    type Output = Self;

    fn bitxor(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }
}

/// Blocks of a [`Row`].
pub(crate) const ROW_BLOCKS: usize = 32;

/// Bits of a [`Row`].
pub(crate) const ROW_BITS: usize = 128 * ROW_BLOCKS;

/// One bit of each of 4096 OTs.
pub(crate) type Row = [Block; ROW_BLOCKS];
