//! The maximum over windows, in the ring of `bits + 1`, then a change of ring.

use serde::{Deserialize, Serialize};

use super::requant::{NONLINEAR, used};
use super::{
    Body, Check, Context, Intervals, Kind, Online, Op, Tie, Window, Wire, WireId, pooling_ring,
    reshare,
};
use crate::linear::Work;
use crate::ops;
use crate::ot::Draws;
use crate::rates::Seconds;
use crate::{Error, Operator, Phases, Role, Session, Share};

/// The maximum over windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool {
    /// The wire pooled, in `Z_{bits + 1}`.
    pub input: WireId,
    /// The maxima.
    pub output: WireId,
    /// The windows; padding is never the maximum.
    pub window: Window,
    /// Widest digit of the carry chain.
    pub digit: u8,
    /// As for [`Requant`](super::Requant).
    pub reshare: bool,
}

impl MaxPool {
    /// The operator, for a batch.
    fn operator(&self, wires: &[Wire], images: usize) -> ops::MaxPool {
        let wire = &wires[self.output];
        ops::MaxPool {
            windows: wire.elements() * images,
            window: self.window.len(),
            bits: u32::from(wire.bits),
            low: wire.low,
            out: wire.ring,
            digit: u32::from(self.digit),
        }
    }

    /// The operands of the maxima, `[window position][window]`.
    fn operands(&self, run: &Online<'_>) -> Share {
        let from = &run.context.wires[self.input];
        let (planes, values) = (from.shape[0] * run.images, run.share(self.input).values());
        let sources =
            (0..self.window.len()).flat_map(|at| self.window.gather_inside(from.shape, planes, at));
        let operands = sources.map(|source| values[source as usize]).collect();
        Share::new(pooling_ring(from.bits), operands)
    }
}

impl Body for MaxPool {
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
        format!("max digit={}", self.digit)
    }

    fn check(&self, check: &Check<'_>) -> Result<(), Error> {
        let (window, shape) = (&self.window, check.wire(self.input).shape);
        let sizes = window.kernel.iter().chain(&window.stride).all(|n| (1..=64).contains(n));
        let limits = sizes && window.pad.iter().all(|&n| n <= 64);
        check.require(limits, "window", "sizes within 1..=64", format!("{window:?}"))?;
        let covers = window.covers(shape);
        let expected = "no window of padding alone";
        check.require(covers, "window", expected, format!("{window:?}"))?;
        check.digit(self.digit)?;
        check.same_values(self.input, self.output)?;
        check.compares(self.input)?;
        check.fits(self.output)?;
        check.shape(window.out_shape(shape), self.output)?;
        check.parameters("parameters", self.operator(check.wires, 1).check())
    }

    fn known(&self, _: &[bool]) -> bool {
        self.reshare
    }

    fn draws_mask(&self) -> bool {
        self.reshare
    }

    fn variants(&self, _: &Context<'_>) -> Vec<Op> {
        (1..=4).map(|digit| Op::MaxPool(Self { digit, ..self.clone() })).collect()
    }

    fn ties(&self) -> Vec<Tie> {
        vec![Tie { wire: self.output, to: self.input, ratio: 1.0 }]
    }

    fn cost(&self, context: &Context<'_>, images: usize) -> Phases {
        let pooled = self.operator(context.wires, images).cost();
        let online = pooled.then(reshare::cost(context, self.output, self.reshare, images));
        Phases { online, ..Phases::default() }
    }

    fn draws(&self, context: &Context<'_>, images: usize) -> Draws {
        let online = self.operator(context.wires, images).demands();
        Draws { online, ..Draws::default() }
    }

    fn seconds(&self, context: &Context<'_>, images: usize) -> Seconds {
        used(self.operator(context.wires, images).cost().consumed())
    }

    fn online_bytes(&self, context: &Context<'_>, _: Role, images: usize) -> u64 {
        let operands = self.window.len() as u64 * context.elements(self.output, images);
        let shares = 2 * self.window.len() as u64 * context.bytes(self.output, images);
        shares + operands.div_ceil(2) * NONLINEAR
    }

    fn follow(&self, intervals: &mut Intervals<'_>) -> Result<(), Error> {
        // Only so many bits of the values are looked at.
        intervals.declared("values", self.input)
    }

    fn online<'a>(&'a self, session: &'a mut Session, run: Online<'a>) -> Work<'a, Option<Share>> {
        Box::pin(async move {
            let operator = self.operator(run.context.wires, run.images);
            let written = session.run(&operator, self.operands(&run)).await?;
            reshare::finish(session, run, self.reshare, written).await.map(Some)
        })
    }
}
