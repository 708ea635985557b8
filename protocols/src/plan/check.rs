//! Checks of a plan that came from a file: after them, running it cannot panic, whatever the file
//! said.

use std::collections::HashSet;

use super::{CORRELATIONS, FORMAT, KEYS, Plan, Preprocess, Wire};
use crate::Error;
use crate::printable::{Printable, cut, is_plain};
use crate::steps::{Argmax, Check, Input, Linear, Output, Requant, Step};

/// The most bytes of a name, of the network or of a step: people read them in tables.
pub const MAX_NAME: usize = 256;
/// The most characters of a name that an error shows.
const SHOWN: usize = 40;
/// The most steps of a plan: frames number them with 16 bits.
const MAX_STEPS: usize = 10_000;
/// The most elements of one wire.
pub const MAX_ELEMENTS: usize = 1 << 28;
/// The most elements of all wires together, so that no price overflows.
const MAX_ALL_ELEMENTS: u64 = 1 << 32;
/// The most multiplications of all layers together, likewise.
const MAX_MACS: u64 = 1 << 42;
/// The widest value of a wire.
const MAX_BITS: u8 = 62;

/// Whether this build reads plans of a format.
pub(super) fn check_format(format: u32) -> Result<(), Error> {
    let expected = format!("{FORMAT}; search the network again with this version of pq");
    require(format == FORMAT, "plan: format", expected, format)
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
        // Behind it every wire that a step names exists: later checks may index.
        self.check_order()?;
        self.check_label()?;
        for step in &self.steps {
            let (name, wires, reveals) = (step.name.as_str(), &self.wires, self.reveals());
            step.op.step().check(&Check { name, wires, reveals })?;
            self.check_carries(step)?;
        }
        self.check_beside()?;
        self.check_size()?;
        self.check_hints()?;
        self.check_preprocess()
    }

    /// A digest of hints is one, and of something.
    fn check_hints(&self) -> Result<(), Error> {
        let Some(digest) = &self.hints else { return Ok(()) };
        let sound = digest.len() == 64
            && digest.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let found = format!("'{}'", Printable(cut(digest, SHOWN)));
        require(sound, "plan: hints", "64 hexadecimal digits, in lower case", found)?;
        let some = self.has_hint_layers();
        require(some, "plan: hints", "none, since no layer has a hint", "a digest")
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
        let elements: u64 = self.wires.iter().map(|wire| wire.elements() as u64).sum();
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
        let mut names = HashSet::from([CORRELATIONS, KEYS]);
        let mut written = vec![false; self.wires.len()];
        for (index, step) in self.steps.iter().enumerate() {
            let name = &step.name;
            let unique = names.insert(name);
            require(unique, format!("plan: step {name}: name"), "a unique name", name)?;
            let (first, last) = (step.op.get::<Input>(), step.op.get::<Output>());
            let ends = [first.is_some(), last.is_some()];
            let due = [index == 0, index + 1 == self.steps.len()];
            require(
                ends == due,
                format!("plan: step {name}: op"),
                "the input first and the output last, once each",
                format!("step {index}"),
            )?;
            for id in step.op.inputs() {
                let ready = written.get(id).copied().unwrap_or(false);
                let what = format!("plan: step {name}: input");
                require(ready, what, "a wire that an earlier step writes", id)?;
            }
            if let Some(id) = step.op.output() {
                let free = written.get(id).is_some_and(|written| !written);
                let what = format!("plan: step {name}: output");
                require(free, what, "a wire that no earlier step writes", id)?;
                written[id] = true;
            }
        }
        require(self.steps.len() >= 2, "plan: steps", "an input and an output", self.steps.len())?;
        self.check_masks()
    }

    /// The client's share of every linear layer's input must be known before the input is.
    fn check_masks(&self) -> Result<(), Error> {
        let masks = self.masks();
        let known = &masks.known;
        for step in &self.steps {
            if let Some(Linear { input, output, .. }) = step.op.get() {
                let what = || format!("plan: step {}: input", step.name);
                require(known[*input], what(), "a wire that is re-shared", "one that is not")?;
                let draws = step.op.layer().is_some_and(|layer| layer.draws());
                let free = !draws || masks.first_layer[*input] == Some(*output);
                let expected = "a mask that nothing before it has drawn or read";
                require(free, what(), expected, "one that another step takes")?;
            }
        }
        Ok(())
    }

    /// Carries are left by linear layers, to requantizations, which look at them themselves.
    fn check_carries(&self, step: &Step) -> Result<(), Error> {
        let carries = |wire: usize| self.wires[wire].carry.is_some();
        let read = step.op.inputs().into_iter().any(carries) && step.op.get::<Requant>().is_none();
        let linear = step.op.get::<Linear>().is_some();
        let written = step.op.output().is_some_and(carries) && !linear;
        let what = format!("plan: step {}: wires", step.name);
        require(!read && !written, what, "no carry but from a layer to a requantization", "one")
    }

    /// Nothing stands between a label and the output.
    fn check_label(&self) -> Result<(), Error> {
        let revealed = self.steps.last().and_then(|step| step.op.get::<Output>());
        for (index, step) in self.steps.iter().enumerate() {
            let Some(label) = step.op.get::<Argmax>() else { continue };
            let next = index + 2 == self.steps.len();
            let last = next && revealed.is_some_and(|output| output.input == label.output);
            let what = format!("plan: step {}: op", step.name);
            require(last, what, "nothing between the label and the output", "another step")?;
        }
        Ok(())
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

/// A name of at least so many bytes that can be shown.
fn check_name(what: impl Into<String>, name: &str, least: usize) -> Result<(), Error> {
    let fits = (least..=MAX_NAME).contains(&name.len());
    if fits && name.chars().all(is_plain) {
        return Ok(());
    }
    let expected =
        format!("{least} to {MAX_NAME} bytes, none of them control characters or invisible");
    let found = format!("{} bytes, '{}'", name.len(), Printable(cut(name, SHOWN)));
    Err(Error::invalid(what, expected, found))
}

fn check_wire(id: usize, wire: &Wire) -> Result<(), Error> {
    let elements = wire.shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let sized = elements.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n));
    require(
        sized,
        format!("plan: wire {id}: shape"),
        format!("1 to {MAX_ELEMENTS} elements"),
        format!("{:?}", wire.shape),
    )?;
    require(
        (1..=MAX_BITS).contains(&wire.bits),
        format!("plan: wire {id}: bits"),
        format!("1 to {MAX_BITS}"),
        wire.bits,
    )?;
    // Padding is zero, so zero is among the values.
    let least = 1 - (1i64 << wire.bits);
    require(
        (least..=0).contains(&wire.low),
        format!("plan: wire {id}: low"),
        format!("{least} to 0"),
        wire.low,
    )
}

pub(super) fn require(
    holds: bool,
    what: impl Into<String>,
    expected: impl ToString,
    found: impl ToString,
) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::invalid(what, expected, found)) }
}
