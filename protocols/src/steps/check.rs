//! What the checks of all kinds of steps have in common.

use super::{Wire, WireId};
use crate::load::Reveal;
use crate::{Bits, Error};

/// One step under check.
pub(crate) struct Check<'a> {
    /// The step's name.
    pub name: &'a str,
    pub wires: &'a [Wire],
    pub reveals: Reveal,
}

impl Check<'_> {
    pub(super) fn wire(&self, wire: WireId) -> &Wire {
        &self.wires[wire]
    }

    pub(super) fn require(
        &self,
        holds: bool,
        field: &str,
        expected: impl ToString,
        found: impl ToString,
    ) -> Result<(), Error> {
        if holds {
            return Ok(());
        }
        Err(Error::invalid(format!("plan: step {}: {field}", self.name), expected, found))
    }

    /// What a layer or an operator says of its parameters.
    pub(super) fn parameters(&self, field: &str, checked: Result<(), String>) -> Result<(), Error> {
        let expected = checked.err();
        self.require(expected.is_none(), field, expected.unwrap_or_default(), "something else")
    }

    /// A wire's ring holds its values as two's complement: those that are not take a bit more.
    pub(super) fn fits(&self, wire: WireId) -> Result<(), Error> {
        let wire = self.wire(wire);
        let least = u32::from(wire.bits) + u32::from(!wire.is_twos_complement());
        self.require(wire.ring.get() >= least, "ring", format!("at least {least} bits"), wire.ring)
    }

    /// Differences of a wire's values have one bit more, signed or not.
    pub(super) fn compares(&self, wire: WireId) -> Result<(), Error> {
        let wire = self.wire(wire);
        let room = wire.ring.get() > u32::from(wire.bits);
        self.require(room, "ring", format!("more than {} bits", wire.bits), wire.ring)
    }

    pub(super) fn digit(&self, digit: u8) -> Result<(), Error> {
        self.require((1..=4).contains(&digit), "digit", "1 to 4", digit)
    }

    pub(super) fn shape(&self, expected: Option<[usize; 3]>, output: WireId) -> Result<(), Error> {
        let found = self.wire(output).shape;
        let expected_text = format!("shape {expected:?}");
        self.require(expected == Some(found), "output", expected_text, format!("{found:?}"))
    }

    pub(super) fn same_ring(&self, input: WireId, output: WireId) -> Result<(), Error> {
        let (from, to): (Bits, Bits) = (self.wire(input).ring, self.wire(output).ring);
        self.require(from == to, "output", format!("the input's ring of {from} bits"), to)
    }

    pub(super) fn same_values(&self, input: WireId, output: WireId) -> Result<(), Error> {
        let (from, to) = (self.wire(input), self.wire(output));
        let same = (from.bits, from.low) == (to.bits, to.low);
        let [expected, found] =
            [from, to].map(|wire| format!("{} bits from {} on", wire.bits, wire.low));
        self.require(same, "output", format!("{expected}, as its input"), found)
    }
}
