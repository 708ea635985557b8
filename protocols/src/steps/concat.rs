//! Channels of several wires one after the other: local. All have one scale; a wire in a larger
//! ring is read in that of the result.

use serde::{Deserialize, Serialize};

use super::{Body, Check, Context, Intervals, Kind, Offline, Online, Prepared, Tie, WireId};
use crate::linear::Work;
use crate::{Bits, Error, Phases, Role, Session, Share};

/// The most wires that are joined.
const MAX_PARTS: usize = 1 << 10;

/// A concatenation along the channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concat {
    /// The wires, in order.
    pub inputs: Vec<WireId>,
    /// All their channels.
    pub output: WireId,
}

impl Concat {
    /// The parts of one share, which lie one after the other.
    fn joined<'a>(ring: Bits, parts: impl Iterator<Item = &'a Share>) -> Share {
        let parts: Vec<&Share> = parts.collect();
        // A vector that grew would leave copies behind that nobody wipes.
        let mut values = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| values.extend_from_slice(part.values()));
        Share::new(ring, values)
    }

    /// The shape of the result; `None` where parts differ in rows or columns.
    fn shape(&self, check: &Check<'_>) -> Option<[usize; 3]> {
        let shapes = self.inputs.iter().map(|&input| check.wire(input).shape);
        shapes
            .map(Some)
            .reduce(|all, part| {
                let ([c, h, w], [more, rows, columns]) = (all?, part?);
                let channels = c.checked_add(more)?;
                ((h, w) == (rows, columns)).then_some([channels, h, w])
            })
            .flatten()
    }
}

impl Body for Concat {
    fn inputs(&self) -> Vec<WireId> {
        self.inputs.clone()
    }

    fn output(&self) -> Option<WireId> {
        Some(self.output)
    }

    fn kind(&self) -> Option<Kind> {
        None
    }

    fn protocol(&self) -> String {
        "local".into()
    }

    fn check(&self, check: &Check<'_>) -> Result<(), Error> {
        let parts = self.inputs.len();
        let some = (1..=MAX_PARTS).contains(&parts);
        check.require(some, "inputs", format!("1 to {MAX_PARTS} wires"), parts)?;
        let to = check.wire(self.output);
        for &input in &self.inputs {
            let from = check.wire(input);
            let ring = format!("at least the result's ring of {} bits", to.ring);
            check.require(from.ring >= to.ring, "inputs", ring, from.ring)?;
            let ((low, high), (least, most)) = (from.range(), to.range());
            // Where a signed result fills its ring, it stands for values modulo that.
            let held = to.is_modular() || least <= low && high <= most;
            let width = format!("values within {least}..={most}, those of the result");
            check.require(held, "inputs", width, format!("{low}..={high}"))?;
        }
        check.shape(self.shape(check), self.output)
    }

    fn known(&self, known: &[bool]) -> bool {
        self.inputs.iter().all(|&input| known[input])
    }

    fn ties(&self) -> Vec<Tie> {
        let (wires, to) = (self.inputs.iter(), self.output);
        wires.map(|&wire| Tie { wire, to, ratio: 1.0 }).collect()
    }

    fn widen(&mut self, wire: WireId, _: Bits) -> Vec<WireId> {
        // Parts may have larger rings than the result, not smaller ones.
        if wire == self.output { self.inputs.clone() } else { Vec::new() }
    }

    fn cost(&self, _: &Context<'_>, _: usize) -> Phases {
        Phases::default()
    }

    fn online_bytes(&self, context: &Context<'_>, _: Role, images: usize) -> u64 {
        2 * context.bytes(self.output, images)
    }

    fn follow(&self, intervals: &mut Intervals<'_>) -> Result<(), Error> {
        let ranges = self.inputs.iter().map(|&input| intervals.of(input));
        let hull = ranges.reduce(|(low, high), (l, h)| (low.min(l), high.max(h)));
        intervals.write(self.output, hull.unwrap_or((0, 0)))
    }

    fn offline<'a>(&'a self, _: &'a mut Session, run: Offline<'a>) -> Work<'a, Prepared> {
        let ring = run.context.wires[self.output].ring;
        let masks: Option<Vec<&Share>> =
            self.inputs.iter().map(|&input| run.masks[input].as_ref()).collect();
        let mask = masks.map(|masks| Self::joined(ring, masks.into_iter()));
        run.masks[self.output] = mask;
        Box::pin(async { Ok(Prepared::NOTHING) })
    }

    fn online<'a>(&'a self, _: &'a mut Session, run: Online<'a>) -> Work<'a, Option<Share>> {
        let ring = run.context.wires[self.output].ring;
        let parts = self.inputs.iter().map(|&input| run.share(input));
        let joined = Self::joined(ring, parts);
        Box::pin(async { Ok(Some(joined)) })
    }
}
