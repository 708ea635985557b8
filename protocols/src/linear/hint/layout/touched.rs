//! Which coefficients of polynomials used outputs touch.

use super::{Chunk, Layout, Tile};
use crate::lattice::DEGREE;

/// What used outputs of tiles of one size touch, by phase: of a block that begins at exponent 0,
/// in a polynomial of one output.
pub(super) struct Touched(Vec<Exponents>);

impl Touched {
    pub(super) fn new(layout: &Layout, tile: &Tile) -> Self {
        let mut outputs = Exponents::NONE;
        for row in 0..tile.rows {
            let start = layout.exponent(row, 0);
            (start..start + tile.columns).for_each(|at| outputs.insert(at));
        }
        let mut phases = Vec::with_capacity(layout.phases.len());
        for &row in &layout.rows.phases {
            // Taps of a phase are all pairs of a row's and a column's.
            let down = layout.rows.shifts(row).map(|shift| outputs.moved(shift * layout.stride));
            let down = down.fold(Exponents::NONE, Exponents::or);
            for &column in &layout.columns.phases {
                let across = layout.columns.shifts(column).map(|shift| down.moved(shift));
                phases.push(across.fold(Exponents::NONE, Exponents::or));
            }
        }
        Self(phases)
    }

    /// What is touched of a chunk.
    pub(super) fn of(&self, layout: &Layout, chunk: Chunk) -> Exponents {
        let blocks = layout.blocks_of(chunk);
        let blocks = blocks.map(|(block, _, phase)| self.0[phase].moved(block * layout.block));
        let own = blocks.fold(Exponents::NONE, Exponents::or);
        // What output `m` of a polynomial takes of kernel `n` is `m - n` times all blocks away.
        let size = layout.blocks * layout.block;
        let lowest = DEGREE - (layout.outputs - 1) * size;
        let all = (0..2 * layout.outputs - 1).map(|d| own.moved(lowest + d * size));
        all.fold(Exponents::NONE, Exponents::or)
    }
}

/// A set of exponents, modulo the degree: a bit each.
#[derive(Clone, Copy)]
pub(super) struct Exponents([u64; WORDS]);

const WORDS: usize = DEGREE / 64;

impl Exponents {
    pub(super) const NONE: Self = Self([0; WORDS]);

    pub(super) const fn insert(&mut self, at: usize) {
        self.0[at % DEGREE / 64] |= 1 << (at % 64);
    }

    /// All of them, so much higher.
    pub(super) fn moved(&self, by: usize) -> Self {
        let (words, bits) = (by % DEGREE / 64, by as u32 % 64);
        Self(std::array::from_fn(|at| {
            let (high, low) = (at + WORDS - words, at + WORDS - words + WORDS - 1);
            let (high, low) = (self.0[high % WORDS], self.0[low % WORDS]);
            // By 64 in two steps, which are defined for no bits as well.
            high << bits | low >> 1 >> (63 - bits)
        }))
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The exponents, the least first.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        (0..DEGREE).filter(|&at| self.0[at / 64] >> (at % 64) & 1 == 1)
    }
}
