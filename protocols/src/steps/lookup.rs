//! Any function of one narrow value: an activation that is no ReLU.

use serde::{Deserialize, Serialize};

use super::requant::{NONLINEAR, used};
use super::{Body, Check, Context, Intervals, Kind, Online, Wire, WireId, reshare};
use crate::linear::Work;
use crate::ops;
use crate::ot::Draws;
use crate::rates::{self, Seconds};
use crate::{Bits, Block, Error, Operator, Phases, Role, Session, Share};

/// The widest value that is looked up: tables double with every bit.
const MAX_LOOKUP_BITS: u8 = 8;
/// Bytes that the client keeps for an entry of a table that is yet to come.
const CHOOSER: u64 = 8;

/// Any function of one narrow value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// The values, of 1 to 8 bits.
    pub input: WireId,
    /// The results.
    pub output: WireId,
    /// The result of every element of `Z_{bits}`, from 0 on: those of negative values are the last
    /// ones.
    pub table: Vec<i64>,
    /// As for [`Requant`](super::Requant).
    pub reshare: bool,
}

impl Lookup {
    /// The operator, for a batch.
    fn operator(&self, wires: &[Wire], images: usize) -> ops::Lookup {
        let (from, to) = (&wires[self.input], &wires[self.output]);
        ops::Lookup {
            len: to.elements() * images,
            ring: Bits::of(u32::from(from.bits)),
            out: to.ring,
            table: self.table.iter().map(|&entry| to.ring.encode(entry)).collect(),
        }
    }
}

impl Body for Lookup {
    fn inputs(&self) -> Vec<WireId> {
        vec![self.input]
    }

    fn output(&self) -> Option<WireId> {
        Some(self.output)
    }

    fn kind(&self) -> Option<Kind> {
        Some(Kind::Nonlinear)
    }

    fn protocol(&self) -> String {
        format!("lookup of {}", self.table.len())
    }

    fn check(&self, check: &Check<'_>) -> Result<(), Error> {
        let (from, to) = (check.wire(self.input), check.wire(self.output));
        let narrow = from.bits <= MAX_LOOKUP_BITS && from.ring.get() >= u32::from(from.bits);
        let found = format!("{} bits in a ring of {}", from.bits, from.ring);
        check.require(narrow, "input", format!("1 to {MAX_LOOKUP_BITS} bits"), found)?;
        let (entries, found) = (1usize << from.bits, self.table.len());
        check.require(found == entries, "table", format!("{entries} entries"), found)?;
        let (low, high) = to.range();
        let outside = self.table.iter().find(|entry| !(low..=high).contains(*entry));
        let expected = format!("entries within {low}..={high}");
        check.require(outside.is_none(), "table", expected, outside.copied().unwrap_or(0))?;
        check.fits(self.output)?;
        check.shape(Some(from.shape), self.output)
    }

    fn known(&self, _: &[bool]) -> bool {
        self.reshare
    }

    fn draws_mask(&self) -> bool {
        self.reshare
    }

    fn cost(&self, context: &Context<'_>, images: usize) -> Phases {
        let online = self.operator(context.wires, images).price(self.reshare);
        Phases { online, ..Phases::default() }
    }

    fn draws(&self, context: &Context<'_>, images: usize) -> Draws {
        let online = self.operator(context.wires, images).demands();
        Draws { online, ..Draws::default() }
    }

    fn seconds(&self, context: &Context<'_>, images: usize) -> Seconds {
        let operator = self.operator(context.wires, images);
        let entries = (operator.len * self.table.len()) as f64 * rates::ENTRY;
        let seconds = used(operator.cost().consumed());
        Seconds { online: seconds.online + entries, ..seconds }
    }

    fn online_bytes(&self, context: &Context<'_>, role: Role, images: usize) -> u64 {
        // Tables are made for some elements at a time.
        let choosers = match role {
            Role::Server => 0,
            Role::Client => CHOOSER * self.table.len() as u64,
        };
        context.elements(self.output, images) * (NONLINEAR + choosers + Block::BYTES as u64)
    }

    fn follow(&self, intervals: &mut Intervals<'_>) -> Result<(), Error> {
        // Only so many bits of the values are looked at.
        intervals.declared("values", self.input)
    }

    fn online<'a>(&'a self, session: &'a mut Session, run: Online<'a>) -> Work<'a, Option<Share>> {
        Box::pin(async move {
            let operator = self.operator(run.context.wires, run.images);
            let narrow = run.narrowed(self.input, operator.ring);
            // Not held by itself: the mask that follows is in the same turn as its last message.
            let written = operator.run(session, narrow).await?;
            reshare::finish(session, run, self.reshare, written).await.map(Some)
        })
    }
}
