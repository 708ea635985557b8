//! Pads of OTs: made as the OTs are, while these are in a cache, and kept packed until they are
//! drawn.
//!
//! *Layout.* A row has what is kept of 64 elements, all bits of its width: see the functions of
//! each use that fill rows. The last row is whole, too; what is beyond the last element is
//! zero.

use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use super::demand::{Demand, ROW, Side, Use};
use super::{Hash, correlated, one_of_n, random, vector};
use crate::{Block, Role};

/// Rows that a core makes at a time.
const TASK: usize = 16;

/// What a party keeps of some OTs. Wiped where it is dropped.
pub(crate) struct Pads {
    demand: Demand,
    side: Side,
    rows: Zeroizing<Vec<u8>>,
    /// The key of the hashes, and the sender's correlation where rows hold the OTs themselves.
    late: Option<([u8; 32], Zeroizing<Block>)>,
}

impl Pads {
    /// What they are.
    pub(super) const fn demand(&self) -> Demand {
        self.demand
    }

    /// All rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.chunks(self.row_bytes().max(1))
    }

    /// Bits of each element.
    pub(super) const fn side_bits(&self) -> usize {
        self.demand.used.bits(self.side)
    }

    /// The rows of some elements, of which the first is the first of a row.
    pub(super) fn rows_of(&self, at: usize, len: usize) -> &[u8] {
        &self.rows[self.bytes_of(at, len)]
    }

    /// The same, to change them.
    pub(super) fn rows_of_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        let bytes = self.bytes_of(at, len);
        &mut self.rows[bytes]
    }

    /// The key of the hashes, and the correlation, where rows hold the OTs themselves.
    pub(super) fn late(&self) -> Option<(&[u8; 32], Block)> {
        self.late.as_ref().map(|(key, delta)| (key, **delta))
    }

    fn bytes_of(&self, at: usize, len: usize) -> std::ops::Range<usize> {
        assert!(at.is_multiple_of(ROW), "invariant: whole rows are read");
        let bytes = self.row_bytes();
        at / ROW * bytes..(at + len).div_ceil(ROW) * bytes
    }

    const fn row_bytes(&self) -> usize {
        self.demand.used.row_bytes(self.side)
    }
}

/// Pads that are being made, of OTs as they come.
pub(super) struct Making {
    pads: Pads,
    key: [u8; 32],
    /// Those under the key, once the first OT is there.
    hashes: Vec<Hash>,
    /// Elements that are made: whole rows, until all are.
    made: usize,
    /// OTs of a row whose others are still to come.
    rest: Zeroizing<Vec<Block>>,
}

impl Making {
    /// Nothing yet, under a key of their own.
    pub(super) fn new(demand: Demand, role: Role, key: [u8; 32]) -> Self {
        let side = demand.side(role);
        let rows = Zeroizing::new(vec![0; demand.bytes(role) as usize]);
        let pads = Pads { demand, side, rows, late: None };
        Self { pads, key, hashes: Vec::new(), made: 0, rest: Zeroizing::new(Vec::new()) }
    }

    /// Takes what it can use of the next OTs; how many.
    pub(super) fn feed(&mut self, delta: Block, keys: &[Block]) -> usize {
        if self.hashes.is_empty() {
            self.hashes = hashes(self.pads.demand.used, &self.key);
        }
        let row = ROW * self.pads.demand.used.cots();
        let mut used = 0;
        // A row that is not whole is completed first: its OTs are behind one another in `rest`.
        if !self.rest.is_empty() {
            let row = row.min(self.left());
            used = (row - self.rest.len()).min(keys.len());
            self.rest.extend_from_slice(&keys[..used]);
            if self.rest.len() < row {
                return used;
            }
            let mut rest = std::mem::take(&mut *self.rest);
            self.make(delta, &rest);
            rest.zeroize();
            if self.is_done() {
                return used;
            }
        }
        // Then whole rows are made where their OTs are, and the last one, which may be shorter.
        let (keys, left) = (&keys[used..], self.left());
        let whole = if keys.len() >= left { left } else { keys.len() / row * row };
        self.make(delta, &keys[..whole]);
        used += whole;
        let rest = &keys[whole..];
        if self.left() > 0 {
            // No more than a row, so that nothing is left behind where it grows.
            self.rest.reserve_exact(row);
            self.rest.extend_from_slice(rest);
            used += rest.len();
        }
        used
    }

    /// The rows, and the OTs of a row that is not whole.
    #[cfg(test)]
    pub(super) const fn secrets(&self) -> (&Zeroizing<Vec<u8>>, &Zeroizing<Vec<Block>>) {
        (&self.pads.rows, &self.rest)
    }

    /// Whether all are made.
    pub(super) const fn is_done(&self) -> bool {
        self.made == self.pads.demand.len
    }

    /// The pads.
    pub(super) fn finish(mut self, delta: Block) -> Pads {
        assert!(self.is_done(), "invariant: pads are whole where they are drawn");
        if let (Use::OneOfN(table), Side::Sent) = (self.pads.demand.used, self.pads.side)
            && table.is_wide()
        {
            self.pads.late = Some((self.key, Zeroizing::new(delta)));
        }
        self.pads
    }

    /// OTs that are still to come, with those of a row that is not whole.
    const fn left(&self) -> usize {
        (self.pads.demand.len - self.made) * self.pads.demand.used.cots()
    }

    /// Fills the next rows.
    fn make(&mut self, delta: Block, keys: &[Block]) {
        let (side, used) = (self.pads.side, self.pads.demand.used);
        let (cots, len) = (used.cots(), keys.len() / used.cots());
        let (row_bytes, hashes, made) = (self.pads.row_bytes(), &self.hashes, self.made);
        // `made` is a multiple of a row until all are: every call but the last makes whole rows.
        let rows = self.pads.rows_of_mut(made, len).par_chunks_mut(TASK * row_bytes);
        rows.zip(keys.par_chunks(TASK * ROW * cots)).for_each(|(rows, keys)| match (used, side) {
            (Use::Random(bits), Side::Sent) => random::send(bits, &hashes[0], delta, keys, rows),
            (Use::Random(bits), Side::Received) => random::receive(bits, &hashes[0], keys, rows),
            (Use::Key, Side::Sent) => vector::send(&hashes[0], delta, keys, rows),
            (Use::Key, Side::Received) => vector::receive(&hashes[0], keys, rows),
            (Use::Correlated(ring), Side::Sent) => {
                correlated::send(ring, &hashes[0], delta, keys, rows);
            }
            (Use::Correlated(ring), Side::Received) => {
                correlated::receive(ring, &hashes[0], keys, rows);
            }
            (Use::OneOfN(table), Side::Sent) => one_of_n::send(table, hashes, delta, keys, rows),
            (Use::OneOfN(table), Side::Received) => one_of_n::receive(table, hashes, keys, rows),
        });
        self.made += len;
    }
}

fn hashes(used: Use, key: &[u8; 32]) -> Vec<Hash> {
    match used {
        Use::Random(_) | Use::Key | Use::Correlated(_) => vec![Hash::new(key)],
        Use::OneOfN(table) => table.hashes(key),
    }
}
