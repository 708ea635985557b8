//! The index of the largest value, the first of equals: what is revealed instead of the logits. The
//! last step but the output.

use serde::{Deserialize, Serialize};

use super::requant::{NONLINEAR, used};
use super::{Body, Check, Context, Intervals, Kind, Online, Op, Wire, WireId};
use crate::linear::Work;
use crate::ops;
use crate::ot::Draws;
use crate::rates::Seconds;
use crate::{Bits, Error, Operator, Phases, Role, Session, Share};

/// The index of the largest value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argmax {
    /// The logits, a vector.
    pub input: WireId,
    /// The index, in the least ring that holds all of them.
    pub output: WireId,
    /// Widest digit of the carry chains.
    pub digit: u8,
}

impl Argmax {
    /// The operator, for a batch.
    fn operator(&self, wires: &[Wire], images: usize) -> ops::Argmax {
        let wire = &wires[self.input];
        let ring = pooling_ring(wire.bits);
        ops::Argmax { groups: images, values: wire.elements(), ring, digit: u32::from(self.digit) }
    }
}

impl Body for Argmax {
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
        format!("argmax digit={}", self.digit)
    }

    fn check(&self, check: &Check<'_>) -> Result<(), Error> {
        let (from, to) = (check.wire(self.input), check.wire(self.output));
        check.digit(self.digit)?;
        let vector = from.shape[1..] == [1, 1];
        check.require(vector, "input", "a vector, [classes, 1, 1]", format!("{:?}", from.shape))?;
        check.compares(self.input)?;
        let ring = index_ring(from.elements());
        let least = to.ring == ring && u32::from(to.bits) == ring.get() && to.low == 0;
        let expected = format!("{ring} unsigned bits in a ring of as many");
        check.require(least, "output", expected, to.ring)?;
        check.shape(Some([1; 3]), self.output)?;
        check.parameters("parameters", self.operator(check.wires, 1).check())
    }

    fn known(&self, _: &[bool]) -> bool {
        false
    }

    fn variants(&self, _: &Context<'_>) -> Vec<Op> {
        (1..=4).map(|digit| Op::Argmax(Self { digit, ..self.clone() })).collect()
    }

    fn cost(&self, context: &Context<'_>, images: usize) -> Phases {
        let online = self.operator(context.wires, images).cost();
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
        context.elements(self.input, images) * 2 * NONLINEAR
    }

    fn follow(&self, intervals: &mut Intervals<'_>) -> Result<(), Error> {
        // Only so many bits of the values are looked at.
        intervals.declared("values", self.input)
    }

    fn online<'a>(&'a self, session: &'a mut Session, run: Online<'a>) -> Work<'a, Option<Share>> {
        Box::pin(async move {
            let operator = self.operator(run.context.wires, run.images);
            let narrow = run.narrowed(self.input, operator.ring);
            session.run(&operator, narrow).await.map(Some)
        })
    }
}

/// The ring of the operands of a maximum: one bit more than the values.
pub const fn pooling_ring(bits: u8) -> Bits {
    Bits::of(bits as u32 + 1)
}

/// The ring of an index of so many values.
pub(crate) const fn index_ring(values: usize) -> Bits {
    let argmax = ops::Argmax { groups: 1, values, ring: Bits::ONE, digit: 1 };
    argmax.index_ring()
}
