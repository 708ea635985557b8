//! The product of two wires: of one shape, or of a tensor and a gate for each of its channels.

use serde::{Deserialize, Serialize};

use super::requant::{NONLINEAR, used};
use super::{Body, Check, Context, Intervals, Kind, Online, Op, Wire, WireId, reshare};
use crate::linear::Work;
use crate::ops::{self, Factor};
use crate::ot::Draws;
use crate::rates::{self, Seconds};
use crate::{Bits, Error, Operator, Phases, Role, Session, Share};

/// Bytes of a receiver of one OT until its corrections come: a key, and its choice.
const RECEIVER: u64 = 17;

/// `input * gate`, exact in its output's ring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// The factors.
    pub input: WireId,
    /// What they are multiplied by: a wire of their shape, or `[channels, 1, 1]`.
    pub gate: WireId,
    /// The products.
    pub output: WireId,
    /// Widest digit of the carry chains that turn gates into bits.
    pub digit: u8,
    /// As for [`Requant`](super::Requant).
    pub reshare: bool,
}

impl Product {
    /// The operator, for a batch.
    fn operator(&self, wires: &[Wire], images: usize) -> ops::Multiply {
        let (from, gate, to) = (&wires[self.input], &wires[self.gate], &wires[self.output]);
        ops::Multiply {
            gates: gate.elements() * images,
            each: from.elements() / gate.elements().max(1),
            factor: side(from),
            ring: self.factors_ring(wires),
            gate: side(gate),
            out: to.ring,
            digit: u32::from(self.digit),
        }
    }

    /// The ring that factors are read in: no larger than the result's. Where theirs is smaller,
    /// they are extended from it.
    fn factors_ring(&self, wires: &[Wire]) -> Bits {
        wires[self.input].ring.min(wires[self.output].ring)
    }
}

/// What a wire's values are.
fn side(wire: &Wire) -> Factor {
    Factor { bits: u32::from(wire.bits), low: wire.low }
}

impl Body for Product {
    fn inputs(&self) -> Vec<WireId> {
        vec![self.input, self.gate]
    }

    fn output(&self) -> Option<WireId> {
        Some(self.output)
    }

    fn kind(&self) -> Option<Kind> {
        Some(Kind::Nonlinear)
    }

    fn protocol(&self) -> String {
        format!("product digit={}", self.digit)
    }

    fn check(&self, check: &Check<'_>) -> Result<(), Error> {
        let (from, gate) = (check.wire(self.input), check.wire(self.gate));
        let [channels, ..] = from.shape;
        let fits = gate.shape == from.shape || gate.shape == [channels, 1, 1];
        let expected = format!("{:?} or [{channels}, 1, 1]", from.shape);
        check.require(fits, "gate", expected, format!("{:?}", gate.shape))?;
        let held = gate.ring.get() >= u32::from(gate.bits);
        check.require(held, "gate", format!("a ring of {} bits", gate.bits), gate.ring)?;
        check.shape(Some(from.shape), self.output)?;
        check.digit(self.digit)?;
        check.parameters("parameters", self.operator(check.wires, 1).check())
    }

    fn known(&self, _: &[bool]) -> bool {
        self.reshare
    }

    fn draws_mask(&self) -> bool {
        self.reshare
    }

    fn variants(&self, _: &Context<'_>) -> Vec<Op> {
        (1..=4).map(|digit| Op::Product(Self { digit, ..self.clone() })).collect()
    }

    fn cost(&self, context: &Context<'_>, images: usize) -> Phases {
        let scaled = self.operator(context.wires, images).cost();
        let online = scaled.then(reshare::cost(context, self.output, self.reshare, images));
        Phases { online, ..Phases::default() }
    }

    fn draws(&self, context: &Context<'_>, images: usize) -> Draws {
        let online = self.operator(context.wires, images).demands();
        Draws { online, ..Draws::default() }
    }

    fn seconds(&self, context: &Context<'_>, images: usize) -> Seconds {
        let operator = self.operator(context.wires, images);
        let factors = context.elements(self.output, images) as f64;
        let scaled = factors * f64::from(operator.gate.bits) * rates::SCALED;
        let seconds = used(operator.cost().consumed());
        Seconds { online: seconds.online + scaled, ..seconds }
    }

    fn online_bytes(&self, context: &Context<'_>, _: Role, images: usize) -> u64 {
        let (wires, factors) = (context.wires, context.elements(self.output, images));
        // All corrections of a direction are one message, of which a party has two copies at most;
        // an element has words, and a gate its circuit and a receiver of each of its bits.
        let bits = u64::from(wires[self.gate].bits) * u64::from(wires[self.output].ring.get());
        let messages = 4 * factors * bits.div_ceil(8);
        let receivers = RECEIVER * u64::from(wires[self.gate].bits);
        let gates = context.elements(self.gate, images) * (NONLINEAR + receivers);
        messages + factors * NONLINEAR + gates
    }

    fn follow(&self, intervals: &mut Intervals<'_>) -> Result<(), Error> {
        // Only so many bits of either are looked at, where they are extended or are bits.
        intervals.declared("values", self.input)?;
        intervals.declared("values", self.gate)?;
        let ((a, b), (c, d)) = (intervals.of(self.input), intervals.of(self.gate));
        let corners = [a.checked_mul(c), a.checked_mul(d), b.checked_mul(c), b.checked_mul(d)];
        let corners = corners.map(|corner| corner.unwrap_or(i128::MAX));
        let (low, high) = corners.iter().fold((i128::MAX, i128::MIN), |(low, high), &corner| {
            (low.min(corner), high.max(corner))
        });
        intervals.write(self.output, (low, high))
    }

    fn online<'a>(&'a self, session: &'a mut Session, run: Online<'a>) -> Work<'a, Option<Share>> {
        Box::pin(async move {
            let operator = self.operator(run.context.wires, run.images);
            let factors = run.narrowed(self.input, operator.ring);
            let gates = run.narrowed(self.gate, operator.gate_ring());
            let written = session.run(&operator, (factors, gates)).await?;
            reshare::finish(session, run, self.reshare, written).await.map(Some)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Reveal;

    fn wire(shape: [usize; 3], bits: u8, ring: u32) -> Wire {
        Wire { shape, bits, low: 0, ring: Bits::of(ring), carry: None }
    }

    /// The field at fault, of `input * gate` in a ring of 17 bits.
    fn fault(input: Wire, gate: Wire, digit: u8) -> Option<String> {
        let output = Wire { low: -1 << 16, ..wire(input.shape, 17, 17) };
        let (wires, reveals) = ([input, gate, output], Reveal::Logits);
        let check = Check { name: "mul", wires: &wires, reveals };
        let step = Product { input: 0, gate: 1, output: 2, digit, reshare: false };
        step.check(&check).err().map(|error| error.to_string())
    }

    #[test]
    fn products_are_of_equal_shapes_or_of_a_gate_a_channel() {
        let input = wire([6, 4, 5], 8, 9);
        for shape in [[6, 4, 5], [6, 1, 1]] {
            assert_eq!(fault(input, wire(shape, 8, 9), 4), None);
        }
        for shape in [[1, 1, 1], [1, 4, 5], [5, 1, 1], [6, 4, 1]] {
            let found = fault(input, wire(shape, 8, 9), 4);
            assert!(found.is_some_and(|text| text.contains("mul: gate")), "{shape:?}");
        }
    }

    #[test]
    fn products_of_what_no_ring_tells_are_refused() {
        let (input, gate) = (wire([2, 2, 2], 8, 9), wire([2, 1, 1], 8, 9));
        assert_eq!(fault(input, gate, 1), None);
        let faults = [
            fault(wire(input.shape, 8, 8), gate, 1),
            fault(input, wire(gate.shape, 8, 7), 1),
            fault(input, wire(gate.shape, 17, 18), 1),
            fault(input, gate, 5),
        ];
        let fields = ["parameters", "gate", "parameters", "digit"];
        for (found, field) in faults.into_iter().zip(fields) {
            assert!(found.is_some_and(|text| text.contains(field)), "{field}");
        }
    }
}
