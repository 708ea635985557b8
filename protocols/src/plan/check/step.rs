//! Checks of one step: its parameters, and its wires' shapes, values and rings.

use crate::plan::reveal::index_bits;
use crate::plan::{Op, Plan, Reveal, Step, Term, Wire, WireId};
use crate::{Bits, Error};

/// The widest value that is looked up: tables double with every bit.
const MAX_LOOKUP_BITS: u8 = 8;

impl Plan {
    /// Checks one step against its wires, which are there and written in order.
    pub(super) fn check_step(&self, step: &Step) -> Result<(), Error> {
        let check = Checker { plan: self, step };
        match &step.op {
            // Values that wrap would be others.
            Op::Input { output } => check.fits(self.wires[*output], self.wires[*output].ring),
            // A label has its own ring, without room for a sign.
            Op::Output { .. } if self.reveals() == Reveal::Label => Ok(()),
            Op::Output { input } => check.fits(self.wires[*input], self.wires[*input].ring),
            Op::Argmax { input, output, digit } => {
                check.digit(*digit)?;
                check.argmax(*input, *output)
            }
            Op::Lookup { input, output, table, .. } => check.lookup(*input, *output, table),
            Op::Linear { .. } => check.linear(),
            Op::Requant { terms, output, ring, .. } => {
                check.requant(terms, self.wires[*output], *ring)
            }
            Op::SumPool { input, output, window } => {
                check.same_ring(*input, *output)?;
                let limits =
                    window.kernel.iter().chain(&window.stride).all(|&n| (1..=1 << 12).contains(&n))
                        && window.pad.iter().all(|&n| n <= 1 << 12);
                check.require(limits, "window", "sizes within 1..=4096", format!("{window:?}"))?;
                check.shape(window.out_shape(self.wires[*input].shape), *output)
            }
            Op::MaxPool { input, output, window, digit, .. } => {
                let wire = self.wires[*input];
                let limits =
                    window.kernel.iter().chain(&window.stride).all(|&n| (1..=64).contains(&n))
                        && window.pad.iter().all(|&n| n <= 64);
                check.require(limits, "window", "sizes within 1..=64", format!("{window:?}"))?;
                check.require(
                    window.covers(wire.shape),
                    "window",
                    "no window of padding alone",
                    format!("{window:?}"),
                )?;
                check.digit(*digit)?;
                check.same_values(*input, *output)?;
                // Differences of the values have one bit more, signed or not.
                let room = wire.ring.get() > u32::from(wire.bits);
                check.require(room, "ring", format!("more than {} bits", wire.bits), wire.ring)?;
                check.fits(self.wires[*output], self.wires[*output].ring)?;
                check.shape(window.out_shape(wire.shape), *output)?;
                check.operator(
                    self.max_pool(&step.op, 1).map_or(Ok(()), |operator| operator.check()),
                )
            }
            Op::View { input, output, view } => {
                check.same_ring(*input, *output)?;
                check.same_values(*input, *output)?;
                let small = [view.start, view.stride, view.len, view.before, view.after]
                    .as_flattened()
                    .iter()
                    .all(|&n| n <= 1 << 24);
                check.require(
                    small && view.fits(self.wires[*input].shape),
                    "view",
                    "a slice of the input",
                    format!("{view:?}"),
                )?;
                check.shape(Some(view.out_shape()), *output)
            }
        }
    }
}

/// One step under check.
struct Checker<'a> {
    plan: &'a Plan,
    step: &'a Step,
}

impl Checker<'_> {
    fn require(
        &self,
        holds: bool,
        field: &str,
        expected: impl ToString,
        found: impl ToString,
    ) -> Result<(), Error> {
        if holds {
            return Ok(());
        }
        Err(Error::invalid(format!("plan: step {}: {field}", self.step.name), expected, found))
    }

    fn linear(&self) -> Result<(), Error> {
        let Op::Linear { input, output, geometry, ring, .. } = &self.step.op else { return Ok(()) };
        let layer = self.step.op.layer().expect("invariant: a linear step has a layer");
        let checked = layer.check();
        self.require(
            checked.is_ok(),
            "layer",
            checked.err().unwrap_or_default(),
            "something else",
        )?;
        let (from, to) = (self.plan.wires[*input], self.plan.wires[*output]);
        self.require(
            from.shape == geometry.in_shape(),
            "input",
            format!("{:?}", geometry.in_shape()),
            format!("{:?}", from.shape),
        )?;
        self.shape(Some(geometry.out_shape()), *output)?;
        self.require(
            // Shares in a larger ring are shares in a smaller one once they are reduced; not the
            // other way round.
            from.ring >= *ring,
            "ring",
            format!("at most its input's {}", from.ring),
            ring,
        )?;
        self.require(to.ring == *ring, "ring", format!("its output's {}", to.ring), ring)
    }

    fn requant(&self, terms: &[Term], to: Wire, ring: Bits) -> Result<(), Error> {
        self.require(!terms.is_empty(), "terms", "at least one", 0)?;
        for term in terms {
            let from = self.plan.wires[term.wire];
            self.require(
                from.shape == to.shape,
                "terms",
                format!("shape {:?}", to.shape),
                format!("{:?}", from.shape),
            )?;
            // Shifted left by e, a wire is needed modulo `2^(l - e)` alone: its ring has at least
            // as many bits.
            let room = u32::from(term.shift) < ring.get()
                && from.ring.get() + u32::from(term.shift) >= ring.get();
            let expected =
                format!("a shift below {ring} and a wire's ring of at least {ring} less it");
            self.require(
                room,
                "terms",
                expected,
                format!("shift {} of ring {}", term.shift, from.ring),
            )?;
        }
        self.fits(to, to.ring)?;
        self.operator(
            self.plan.requant(&self.step.op, 1).map_or(Ok(()), |operator| operator.check()),
        )
    }

    fn lookup(&self, input: WireId, output: WireId, table: &[i64]) -> Result<(), Error> {
        let (from, to) = (self.plan.wires[input], self.plan.wires[output]);
        let narrow = from.bits <= MAX_LOOKUP_BITS && from.ring.get() >= u32::from(from.bits);
        let found = format!("{} bits in a ring of {}", from.bits, from.ring);
        self.require(narrow, "input", format!("1 to {MAX_LOOKUP_BITS} bits"), found)?;
        let entries = 1usize << from.bits;
        self.require(table.len() == entries, "table", format!("{entries} entries"), table.len())?;
        let (low, high) = to.range();
        let outside = table.iter().find(|entry| !(low..=high).contains(*entry));
        self.require(
            outside.is_none(),
            "table",
            format!("entries within {low}..={high}"),
            outside.copied().unwrap_or(0),
        )?;
        self.fits(to, to.ring)?;
        self.shape(Some(from.shape), output)
    }

    /// The label: of a vector, in the least ring, and what is revealed next.
    fn argmax(&self, input: WireId, output: WireId) -> Result<(), Error> {
        let (from, to) = (self.plan.wires[input], self.plan.wires[output]);
        let last = matches!(
            self.plan.steps.last(),
            Some(Step { op: Op::Output { input }, .. }) if *input == output
        );
        let next =
            self.plan.steps.iter().rev().nth(1).is_some_and(|step| std::ptr::eq(step, self.step));
        self.require(
            last && next,
            "op",
            "nothing between the label and the output",
            "another step",
        )?;
        let vector = from.shape[1..] == [1, 1];
        self.require(vector, "input", "a vector, [classes, 1, 1]", format!("{:?}", from.shape))?;
        // Differences of the values have one bit more, signed or not.
        let room = from.ring.get() > u32::from(from.bits);
        self.require(room, "ring", format!("more than {} bits", from.bits), from.ring)?;
        let ring = index_bits(from.elements());
        let least = to.ring == ring && u32::from(to.bits) == ring.get() && !to.signed;
        self.require(
            least,
            "output",
            format!("{ring} unsigned bits in a ring of as many"),
            to.ring,
        )?;
        self.shape(Some([1; 3]), output)?;
        self.operator(
            self.plan.argmax(&self.step.op, 1).map_or(Ok(()), |operator| operator.check()),
        )
    }

    /// What an operator says of its parameters.
    fn operator(&self, checked: Result<(), String>) -> Result<(), Error> {
        self.require(
            checked.is_ok(),
            "parameters",
            checked.err().unwrap_or_default(),
            "something else",
        )
    }

    /// A ring holds the values as two's complement: those without a sign take a bit more.
    fn fits(&self, wire: Wire, ring: Bits) -> Result<(), Error> {
        let least = u32::from(wire.bits) + u32::from(!wire.signed);
        self.require(ring.get() >= least, "ring", format!("at least {least} bits"), ring)
    }

    fn digit(&self, digit: u8) -> Result<(), Error> {
        self.require((1..=4).contains(&digit), "digit", "1 to 4", digit)
    }

    fn shape(&self, expected: Option<[usize; 3]>, output: WireId) -> Result<(), Error> {
        let found = self.plan.wires[output].shape;
        self.require(
            expected == Some(found),
            "output",
            format!("shape {expected:?}"),
            format!("{found:?}"),
        )
    }

    fn same_ring(&self, input: WireId, output: WireId) -> Result<(), Error> {
        let (from, to) = (self.plan.wires[input].ring, self.plan.wires[output].ring);
        self.require(from == to, "output", format!("the input's ring of {from} bits"), to)
    }

    fn same_values(&self, input: WireId, output: WireId) -> Result<(), Error> {
        let (from, to) = (self.plan.wires[input], self.plan.wires[output]);
        let same = (from.bits, from.signed) == (to.bits, to.signed);
        self.require(same, "output", format!("{} bits as its input", from.bits), to.bits)
    }
}
