//! The operators that a plan's steps run, with their shapes and rings: what is priced, checked and
//! executed is one and the same.

use super::{Op, Plan};
use crate::ops::{Argmax, Lookup, MaxPool, Requant};
use crate::ot::{Start, Supply};
use crate::{Bits, Cost};

impl Plan {
    /// The start of the source of transfers.
    pub(crate) const fn start(&self) -> Start {
        Start { source: self.transfers }
    }

    /// The supply of the transfers that some cost consumes.
    pub(crate) const fn supply(&self, cost: Cost) -> Supply {
        Supply {
            source: self.transfers,
            server: cost.server_cots as usize,
            client: cost.client_cots as usize,
        }
    }

    /// The operator of a requantization step.
    pub(crate) fn requant(&self, op: &Op, images: usize) -> Option<Requant> {
        let Op::Requant { output, ring, shift, levels, form, .. } = op else { return None };
        let wire = &self.wires[*output];
        Some(Requant {
            len: wire.elements() * images,
            ring: *ring,
            shift: u32::from(*shift),
            bits: u32::from(wire.bits),
            signed: wire.signed,
            out: wire.ring,
            levels: u32::from(*levels),
            form: *form,
        })
    }

    /// The levels of ANDs that a requantization may take in its form, the fewest first: each saves
    /// messages or bits.
    pub fn levels_of(&self, op: &Op) -> Vec<u8> {
        let levels =
            self.requant(op, 1).map(|operator| operator.useful_levels()).unwrap_or_default();
        levels.into_iter().filter_map(|levels| u8::try_from(levels).ok()).collect()
    }

    /// The operator of a lookup step.
    pub(crate) fn lookup(&self, op: &Op, images: usize) -> Option<Lookup> {
        let Op::Lookup { input, output, table, .. } = op else { return None };
        let (from, to) = (&self.wires[*input], &self.wires[*output]);
        Some(Lookup {
            len: to.elements() * images,
            ring: Bits::of(u32::from(from.bits)),
            out: to.ring,
            table: table.iter().map(|&entry| to.ring.encode(entry)).collect(),
        })
    }

    /// The operator of a maximum pooling step.
    pub(crate) fn max_pool(&self, op: &Op, images: usize) -> Option<MaxPool> {
        let Op::MaxPool { output, window, digit, .. } = op else { return None };
        let wire = &self.wires[*output];
        Some(MaxPool {
            windows: wire.elements() * images,
            window: window.len(),
            bits: u32::from(wire.bits),
            signed: wire.signed,
            out: wire.ring,
            digit: u32::from(*digit),
        })
    }

    /// The operator of a step that finds the largest.
    pub(crate) fn argmax(&self, op: &Op, images: usize) -> Option<Argmax> {
        let Op::Argmax { input, digit, .. } = op else { return None };
        let wire = &self.wires[*input];
        let ring = pooling_ring(wire.bits);
        Some(Argmax { groups: images, values: wire.elements(), ring, digit: u32::from(*digit) })
    }
}

/// The ring of the operands of a maximum: one bit more than the values.
pub(crate) const fn pooling_ring(bits: u8) -> Bits {
    Bits::of(bits as u32 + 1)
}
