//! What operators make of correlated OTs: declared beside their costs, so that it is made before
//! it is drawn.

use super::one_of_n::Table;
use crate::{Bits, Block, Domain, Role};

/// Elements whose pads are made, and kept, together.
pub(super) const ROW: usize = 64;

/// What is made of OTs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Random OTs of strings of so many bits, 1 to 64.
    Random(u32),
    /// OTs of random keys of 128 bits.
    Key,
    /// OTs of correlated elements of a ring.
    Correlated(Bits),
    /// 1-of-2^m OTs.
    OneOfN(Table),
}

/// Which of the two parties of an OT this one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Its sender.
    Sent,
    /// Its receiver.
    Received,
}

/// OTs that an operator draws at once: how many, in which direction, and what they are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Their sender.
    pub(crate) sender: Role,
    pub(crate) used: Use,
    /// How many, of which one of 1-of-2^m OTs takes m correlated ones.
    pub(crate) len: usize,
}

/// What a step draws, in the order in which it does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draws {
    /// Before the input is known.
    pub(crate) offline: Vec<Demand>,
    /// From the input on.
    pub(crate) online: Vec<Demand>,
}

impl Use {
    /// The label of the hashes' keys.
    pub(super) const fn domain(self) -> Domain {
        match self {
            Self::Random(_) => Domain::Random,
            Self::Key => Domain::Key,
            Self::Correlated(_) => Domain::Correlated,
            Self::OneOfN(_) => Domain::OneOfN,
        }
    }

    /// Correlated OTs that one takes.
    pub(super) const fn cots(self) -> usize {
        match self {
            Self::Random(_) | Self::Key | Self::Correlated(_) => 1,
            Self::OneOfN(table) => table.cots(1),
        }
    }

    /// Bits that a party keeps of each until it is drawn.
    pub(super) const fn bits(self, side: Side) -> usize {
        match (self, side) {
            (Self::Random(bits), Side::Sent) => 2 * bits as usize,
            (Self::Random(bits), Side::Received) => bits as usize + 1,
            (Self::Key, Side::Sent) => 2 * 8 * Block::BYTES,
            (Self::Key, Side::Received) => 8 * Block::BYTES + 1,
            (Self::Correlated(ring), Side::Sent) => 2 * ring.get() as usize,
            (Self::Correlated(ring), Side::Received) => ring.get() as usize + 1,
            // Long tables are fewer bits as the OTs that their pads are made of.
            (Self::OneOfN(table), Side::Sent) if table.is_wide() => {
                8 * Block::BYTES * table.cots(1)
            }
            (Self::OneOfN(table), Side::Sent) => table.bits(),
            (Self::OneOfN(table), Side::Received) => table.known_bits(),
        }
    }

    /// Bytes of a row.
    pub(super) const fn row_bytes(self, side: Side) -> usize {
        self.bits(side) * ROW / 8
    }
}

impl Demand {
    /// Correlated OTs that it takes.
    pub(crate) const fn cots(self) -> usize {
        self.used.cots() * self.len
    }

    /// Which side of it a party is.
    pub(crate) fn side(self, role: Role) -> Side {
        if self.sender == role { Side::Sent } else { Side::Received }
    }

    /// Bytes that a party keeps until it draws: pads, packed, in whole rows.
    pub(crate) fn bytes(self, role: Role) -> u64 {
        (self.len.div_ceil(ROW) * self.used.row_bytes(self.side(role))) as u64
    }
}
