//! Checks of a plan that came from a file: after them, running it cannot panic, whatever the file
//! said.

use std::collections::HashSet;

use super::reveal::index_bits;
use super::{CORRELATIONS, FORMAT, Op, Plan, Preprocess, Reveal, Step, Term, Wire, WireId};
use crate::printable::{Printable, cut, is_plain};
use crate::{Bits, Error};

/// The most bytes of a name, of the network or of a step: people read them in tables.
pub const MAX_NAME: usize = 256;
/// The most characters of a name that an error shows.
const SHOWN: usize = 40;
/// The most steps of a plan: frames number them with 16 bits.
const MAX_STEPS: usize = 10_000;
/// The most elements of one wire, one image.
pub const MAX_ELEMENTS: usize = 1 << 28;
/// The most elements of all wires together, so that no price overflows.
const MAX_ALL_ELEMENTS: usize = 1 << 32;
/// The most multiplications of all layers together, likewise.
const MAX_MACS: u64 = 1 << 42;
/// The widest value that is looked up: tables double with every bit.
const MAX_LOOKUP_BITS: u8 = 8;
/// The widest value of a wire.
const MAX_BITS: u8 = 62;

/// Whether this build reads plans of a format.
pub(super) fn check_format(format: u32) -> Result<(), Error> {
    let expected = || format!("{FORMAT}; search the network again with this version of pq");
    require(format == FORMAT, "plan: format", expected(), format)
}

impl Plan {
    /// Checks everything that running the plan relies on.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the step and the field.
    pub fn check(&self) -> Result<(), Error> {
        check_format(self.format)?;
        self.check_names()?;
        for (name, scale) in [("input", self.input.scale), ("output", self.output.scale)] {
            require(
                scale.is_finite() && scale > 0.0,
                format!("plan: {name}.scale"),
                "a positive number",
                scale,
            )?;
        }
        require(self.weights.len() == 64, "plan: weights", "64 hexadecimal digits", &self.weights)?;
        require(
            self.steps.len() <= MAX_STEPS,
            "plan: steps",
            format!("at most {MAX_STEPS}"),
            self.steps.len(),
        )?;
        for (id, wire) in self.wires.iter().enumerate() {
            check_wire(id, wire)?;
        }
        self.check_order()?;
        for step in &self.steps {
            self.check_step(step)?;
        }
        self.check_size()?;
        self.check_preprocess()
    }

    /// Names can be shown: by them, a plan from elsewhere speaks to this party's terminal. The
    /// first check of all that names a step, so that no other one shows a name that is not fit for
    /// it.
    fn check_names(&self) -> Result<(), Error> {
        check_name("plan: name", &self.name, 0)?;
        let mut steps = self.steps.iter().enumerate();
        steps.try_for_each(|(index, step)| {
            check_name(format!("plan: step {index}: name"), &step.name, 1)
        })
    }

    /// The plan as a whole is no larger than its price can be told.
    fn check_size(&self) -> Result<(), Error> {
        let elements: usize = self.wires.iter().map(Wire::elements).sum();
        require(
            elements <= MAX_ALL_ELEMENTS,
            "plan: wires",
            format!("at most {MAX_ALL_ELEMENTS} elements in all"),
            elements,
        )?;
        let macs =
            self.layers().map(|(_, _, layer)| layer.geometry.macs()).fold(0, u64::saturating_add);
        require(
            macs <= MAX_MACS,
            "plan: steps",
            format!("at most {MAX_MACS} multiplications in all"),
            macs,
        )
    }

    /// One input first, one output last, unique names, every wire written once and before it is
    /// read.
    fn check_order(&self) -> Result<(), Error> {
        let mut names = HashSet::from([CORRELATIONS]);
        let mut written = vec![false; self.wires.len()];
        for (index, step) in self.steps.iter().enumerate() {
            let what = |field: &str| format!("plan: step {}: {field}", step.name);
            require(names.insert(&step.name), what("name"), "a unique name", &step.name)?;
            let ends = [matches!(step.op, Op::Input { .. }), matches!(step.op, Op::Output { .. })];
            let due = [index == 0, index + 1 == self.steps.len()];
            require(
                ends == due,
                what("op"),
                "the input first and the output last, once each",
                format!("step {index}"),
            )?;
            for id in step.op.inputs() {
                let ready = written.get(id).copied().unwrap_or(false);
                require(ready, what("input"), "a wire that an earlier step writes", id)?;
            }
            if let Some(id) = step.op.output() {
                let free = written.get(id).is_some_and(|written| !written);
                require(free, what("output"), "a wire that no earlier step writes", id)?;
                written[id] = true;
            }
        }
        require(self.steps.len() >= 2, "plan: steps", "an input and an output", self.steps.len())?;
        self.check_masks()
    }

    /// The client's share of every linear layer's input must be known before the input is.
    fn check_masks(&self) -> Result<(), Error> {
        let known = self.known();
        for step in &self.steps {
            if let Op::Linear { input, .. } = &step.op {
                let what = format!("plan: step {}: input", step.name);
                require(known[*input], what, "a wire that is masked anew", "one that is not")?;
            }
        }
        Ok(())
    }

    fn check_step(&self, step: &Step) -> Result<(), Error> {
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

    fn check_preprocess(&self) -> Result<(), Error> {
        if let Preprocess::Normalize { mean, std } = &self.input.preprocess {
            let channels = self.input_wire().shape[0];
            for (name, list) in [("mean", mean), ("std", std)] {
                let what = format!("plan: input.preprocess.{name}");
                let fine = list.len() == channels && list.iter().all(|v| v.is_finite());
                require(fine, what, format!("{channels} finite numbers"), format!("{list:?}"))?;
            }
            let nonzero = std.iter().all(|&s| s > 0.0);
            require(nonzero, "plan: input.preprocess.std", "positive numbers", format!("{std:?}"))?;
        }
        Ok(())
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

    /// A ring that an operator works in has a bit more than the values.
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

/// A name of at least so many bytes that can be shown.
fn check_name(what: impl Into<String>, name: &str, least: usize) -> Result<(), Error> {
    let fits = (least..=MAX_NAME).contains(&name.len());
    let found = || format!("{} bytes, '{}'", name.len(), Printable(cut(name, SHOWN)));
    let expected =
        || format!("{least} to {MAX_NAME} bytes, none of them control characters or invisible");
    if fits && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(Error::invalid(what, expected(), found()))
}

fn check_wire(id: usize, wire: &Wire) -> Result<(), Error> {
    let what = |field: &str| format!("plan: wire {id}: {field}");
    let elements = wire.shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let sized = elements.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n));
    require(
        sized,
        what("shape"),
        format!("1 to {MAX_ELEMENTS} elements"),
        format!("{:?}", wire.shape),
    )?;
    require(
        (1..=MAX_BITS).contains(&wire.bits),
        what("bits"),
        format!("1 to {MAX_BITS}"),
        wire.bits,
    )
}

fn require(
    holds: bool,
    what: impl Into<String>,
    expected: impl ToString,
    found: impl ToString,
) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::invalid(what, expected, found)) }
}
