//! A strided slice with zero padding: local.

use serde::{Deserialize, Serialize};

use super::{
    Axis, Body, Check, Context, Intervals, Kind, Offline, Online, Prepared, Tie, View, Wire, WireId,
};
use crate::linear::Work;
use crate::{Bits, Error, Phases, Role, Session, Share};

/// A strided slice with zero padding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// The wire sliced.
    pub input: WireId,
    /// The slice, in the same ring.
    pub output: WireId,
    /// Which part.
    pub view: View,
}

impl Slice {
    fn slice(&self, wires: &[Wire], images: usize, share: &Share) -> Share {
        let shape = wires[self.input].shape;
        Share::new(share.ring(), self.view.of(shape, images, share.values()))
    }
}

impl Body for Slice {
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
        let view = &self.view;
        let sizes = view.axes.map(|axis| {
            let Axis { start, stride, length, before, after } = axis;
            [start, stride, length, before, after]
        });
        let fits = sizes.as_flattened().iter().all(|&n| n <= 1 << 24)
            && view.fits(check.wire(self.input).shape);
        check.require(fits, "view", "a slice of the input", format!("{view:?}"))?;
        check.shape(Some(view.out_shape()), self.output)
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
        let (low, high) = intervals.of(self.input);
        intervals.write(self.output, (low.min(0), high.max(0)))
    }

    fn offline<'a>(&'a self, _: &'a mut Session, run: Offline<'a>) -> Work<'a, Prepared> {
        let (wires, images) = (run.context.wires, run.images);
        let mask = run.masks[self.input].as_ref();
        run.masks[self.output] = mask.map(|mask| self.slice(wires, images, mask));
        Box::pin(async { Ok(Prepared::NOTHING) })
    }

    fn online<'a>(&'a self, _: &'a mut Session, run: Online<'a>) -> Work<'a, Option<Share>> {
        let slice = self.slice(run.context.wires, run.images, run.share(self.input));
        Box::pin(async { Ok(Some(slice)) })
    }
}
