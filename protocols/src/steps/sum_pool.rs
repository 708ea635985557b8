//! The sum over windows: average pooling whose divisor went into the wire's scale. Local.

use serde::{Deserialize, Serialize};

use super::{
    Body, Check, Context, Intervals, Kind, Offline, Online, Prepared, Tie, Window, Wire, WireId,
};
use crate::linear::Work;
use crate::{Bits, Error, Phases, Role, Session, Share};

/// The sum over windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SumPool {
    /// The wire pooled.
    pub input: WireId,
    /// The sums, in the same ring.
    pub output: WireId,
    /// The windows; padding counts as zero.
    pub window: Window,
}

impl SumPool {
    fn sums(&self, wires: &[Wire], images: usize, share: &Share) -> Share {
        let from = &wires[self.input];
        let (planes, values) = (from.shape[0] * images, share.values());
        let mut sums: Vec<u64> = Vec::new();
        for at in 0..self.window.len() {
            let gather = self.window.gather(from.shape, planes, at);
            sums.resize(gather.len(), 0);
            for (sum, source) in sums.iter_mut().zip(gather) {
                *sum = sum.wrapping_add(source.map_or(0, |i| values[i as usize]));
            }
        }
        Share::new(share.ring(), sums)
    }
}

impl Body for SumPool {
    fn inputs(&self) -> Vec<WireId> {
        vec![self.input]
    }

    fn output(&self) -> Option<WireId> {
        Some(self.output)
    }

    fn kind(&self) -> Option<Kind> {
        Some(Kind::Pool)
    }

    fn protocol(&self) -> String {
        "sum".into()
    }

    fn check(&self, check: &Check<'_>) -> Result<(), Error> {
        check.same_ring(self.input, self.output)?;
        let window = &self.window;
        let sizes = window.kernel.iter().chain(&window.stride).all(|n| (1..=1 << 12).contains(n));
        let limits = sizes && window.pad.iter().all(|&n| n <= 1 << 12);
        check.require(limits, "window", "sizes within 1..=4096", format!("{window:?}"))?;
        check.shape(window.out_shape(check.wire(self.input).shape), self.output)
    }

    fn known(&self, known: &[bool]) -> bool {
        known[self.input]
    }

    fn ties(&self) -> Vec<Tie> {
        let ratio = 1.0 / self.window.len() as f64;
        vec![Tie { wire: self.output, to: self.input, ratio }]
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
        let count = self.window.len() as i128;
        intervals.write(self.output, (low.min(0) * count, high.max(0) * count))
    }

    fn offline<'a>(&'a self, _: &'a mut Session, run: Offline<'a>) -> Work<'a, Prepared> {
        let (wires, images) = (run.context.wires, run.images);
        let mask = run.masks[self.input].as_ref();
        run.masks[self.output] = mask.map(|mask| self.sums(wires, images, mask));
        Box::pin(async { Ok(Prepared::NOTHING) })
    }

    fn online<'a>(&'a self, _: &'a mut Session, run: Online<'a>) -> Work<'a, Option<Share>> {
        let sums = self.sums(run.context.wires, run.images, run.share(self.input));
        Box::pin(async { Ok(Some(sums)) })
    }
}
