//! The hot loops. Each is here twice: a portable twin, and versions for instruction sets that are detected at run time.
//! A property test holds them equal, so the choice changes the speed and nothing else.

#![allow(unsafe_code)] // the one folder that may

mod aes;
mod lpn;
mod split;
mod streams;
mod transpose;

pub(crate) use aes::Key;
pub(crate) use lpn::Code;
pub(crate) use split::equal;
pub(crate) use streams::{Partial, Streams};
pub(crate) use transpose::transpose;

use crate::Block;

/// Blocks of a [`Row`].
pub(crate) const ROW_BLOCKS: usize = 32;

/// Bits of a [`Row`].
pub(crate) const ROW_BITS: usize = 128 * ROW_BLOCKS;

/// One bit of each of 4096 transfers.
pub(crate) type Row = [Block; ROW_BLOCKS];
