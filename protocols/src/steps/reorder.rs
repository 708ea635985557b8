//! The same elements in another order and shape: local.

use serde::{Deserialize, Serialize};

use super::{
    Body, Check, Context, Intervals, Kind, Offline, Online, Order, Prepared, Tie, Wire, WireId,
};
use crate::linear::Work;
use crate::{Bits, Error, Phases, Role, Session, Share};

/// A transposition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reorder {
    /// The wire reordered.
    pub input: WireId,
    /// The result, in the same ring.
    pub output: WireId,
    /// Which order.
    pub order: Order,
}

impl Reorder {
    fn reordered(&self, wires: &[Wire], images: usize, share: &Share) -> Share {
        let shape = wires[self.input].shape;
        Share::new(share.ring(), self.order.of(shape, images, share.values()))
    }
}

impl Body for Reorder {
    fn inputs(&self) -> Vec<WireId> {
        vec![self.input]
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
        check.same_ring(self.input, self.output)?;
        check.same_values(self.input, self.output)?;
        let fits = self.order.fits(check.wire(self.input).shape);
        check.require(fits, "order", "axes of the input", format!("{:?}", self.order))?;
        check.shape(Some(self.order.shape), self.output)
    }

    fn known(&self, known: &[bool]) -> bool {
        known[self.input]
    }

    fn ties(&self) -> Vec<Tie> {
        vec![Tie { wire: self.output, to: self.input, ratio: 1.0 }]
    }

    fn widen(&mut self, _: WireId, _: Bits) -> Vec<WireId> {
        // It has one ring on both sides.
        vec![self.input, self.output]
    }

    fn cost(&self, _: &Context<'_>, _: usize) -> Phases {
        Phases::default()
    }

    fn online_bytes(&self, context: &Context<'_>, _: Role, images: usize) -> u64 {
        2 * context.bytes(self.output, images)
    }

    fn follow(&self, intervals: &mut Intervals<'_>) -> Result<(), Error> {
        intervals.write(self.output, intervals.of(self.input))
    }

    fn offline<'a>(&'a self, _: &'a mut Session, run: Offline<'a>) -> Work<'a, Prepared> {
        let (wires, images) = (run.context.wires, run.images);
        let mask = run.masks[self.input].as_ref();
        run.masks[self.output] = mask.map(|mask| self.reordered(wires, images, mask));
        Box::pin(async { Ok(Prepared::NOTHING) })
    }

    fn online<'a>(&'a self, _: &'a mut Session, run: Online<'a>) -> Work<'a, Option<Share>> {
        let reordered = self.reordered(run.context.wires, run.images, run.share(self.input));
        Box::pin(async { Ok(Some(reordered)) })
    }
}
