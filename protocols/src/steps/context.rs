//! What a step sees of the plan and of the run around it.

use std::any::Any;
use std::collections::BTreeMap;

use super::{Wire, WireId};
use crate::linear::{LayerWeights, Secrets, State};
use crate::load::Reveal;
use crate::{Bits, Error, Share};

/// Bytes of an element of a share.
const ELEMENT: u64 = 8;

/// What follows from a plan for its wires.
pub(crate) struct Masks {
    /// By wire: whether the client's share is fixed before the input arrives.
    pub known: Vec<bool>,
    /// By wire: whether the client draws its share of it, as a mask.
    pub drawn: Vec<bool>,
    /// By wire: the output of the layer that reads it before any other step, where the client
    /// draws its share of the wire as a mask.
    pub first_layer: Vec<Option<WireId>>,
    /// By wire: whether that layer draws the mask.
    pub by_layer: Vec<bool>,
    /// By wire: whether a linear layer writes it whose carry what reads it bears.
    pub carry_borne: Vec<bool>,
}

/// What a step sees of its plan.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub wires: &'a [Wire],
    pub masks: &'a Masks,
    /// Whether states and OTs are made when a step needs them.
    pub streamed: bool,
    /// What the client learns.
    pub reveals: Reveal,
    /// The smallest and the largest value that can be revealed.
    pub revealed: (i64, i64),
}

impl Context<'_> {
    /// Elements of a wire, of a batch.
    pub(super) fn elements(&self, wire: WireId, images: usize) -> u64 {
        (self.wires[wire].elements() * images) as u64
    }

    /// Bytes of a party's share of a wire, of a batch.
    pub(super) fn bytes(&self, wire: WireId, images: usize) -> u64 {
        ELEMENT * self.elements(wire, images)
    }
}

/// What a step leaves of its offline part for its online part: of its own type.
pub(crate) struct Prepared(Option<Box<dyn Any + Send>>);

impl Prepared {
    /// Nothing.
    pub(crate) const NOTHING: Self = Self(None);

    pub(super) fn new(prepared: impl Any + Send) -> Self {
        Self(Some(Box::new(prepared)))
    }

    /// What was prepared, if anything was.
    pub(super) fn take<T: Any>(&mut self) -> Option<T> {
        let taken =
            self.0.take()?.downcast().expect("invariant: a step takes what it has prepared");
        Some(*taken)
    }
}

/// What a step's offline part works with.
pub(crate) struct Offline<'a> {
    pub context: Context<'a>,
    pub images: usize,
    /// The client's shares of wires that are known, by wire.
    pub masks: &'a mut [Option<Share>],
    /// The server's integers of this step.
    pub weights: Option<&'a LayerWeights>,
    /// What this party keeps of the step's layer.
    pub state: Option<&'a State>,
    /// Those of this inference, where layers need any.
    pub secrets: Option<&'a Secrets>,
}

/// What a step's online part works with.
pub(crate) struct Online<'a> {
    pub context: Context<'a>,
    pub images: usize,
    /// The client's input.
    pub input: &'a [i64],
    /// This party's shares, by wire.
    pub shares: &'a [Option<Share>],
    /// The client's mask of what the step writes.
    pub mask: Option<Share>,
    /// The server's integers of this step.
    pub weights: Option<&'a LayerWeights>,
    pub prepared: Prepared,
    /// Where the client's result goes.
    pub result: &'a mut Option<Vec<i64>>,
}

impl Online<'_> {
    /// This party's share of a wire.
    pub(super) fn share(&self, wire: WireId) -> &Share {
        share(self.shares, wire)
    }

    /// A wire in a ring that is no larger than its own.
    pub(super) fn narrowed(&self, wire: WireId, ring: Bits) -> Share {
        Share::new(ring, self.share(wire).values().to_vec())
    }
}

/// A wire's share.
pub(super) fn share(shares: &[Option<Share>], wire: WireId) -> &Share {
    shares[wire].as_ref().expect("invariant: a checked plan writes a wire before it reads it")
}

/// The server's weights, and the exact intervals of the wires that have been written.
pub(crate) struct Intervals<'a> {
    /// The step's name.
    pub name: &'a str,
    pub wires: &'a [Wire],
    pub reveals: Reveal,
    pub weights: &'a BTreeMap<String, LayerWeights>,
    /// By wire.
    pub ranges: &'a mut [(i128, i128)],
}

impl Intervals<'_> {
    pub(super) fn of(&self, wire: WireId) -> (i128, i128) {
        self.ranges[wire]
    }

    /// The weights of the step.
    pub(super) fn layer(&self) -> Result<&LayerWeights, Error> {
        LayerWeights::of_step(self.weights, self.name)
    }

    /// Whether a wire's values are within the width and the sign that it declares.
    pub(super) fn declared(&self, field: &str, wire: WireId) -> Result<(), Error> {
        let ((low, high), wire) = (self.ranges[wire], &self.wires[wire]);
        let (least, most) = wire.range();
        if i128::from(least) <= low && high <= i128::from(most) {
            return Ok(());
        }
        let expected = format!("{least} to {most}, the {} bits that its wire declares", wire.bits);
        Err(Error::invalid(self.what(field), expected, format!("{low} to {high}")))
    }

    /// Notes the interval of what is written, within what its wire declares. Where a signed wire
    /// fills its ring, it stands for values modulo that.
    pub(super) fn write(&mut self, output: WireId, range: (i128, i128)) -> Result<(), Error> {
        self.ranges[output] = range;
        let wire = &self.wires[output];
        if wire.is_modular() { Ok(()) } else { self.declared("values", output) }
    }

    /// Whether an interval is within a ring's two's complement.
    pub(crate) fn fits(
        &self,
        field: &str,
        (low, high): (i128, i128),
        ring: Bits,
    ) -> Result<(), Error> {
        let half = 1i128 << (ring.get() - 1);
        if -half <= low && high < half {
            return Ok(());
        }
        let expected = format!("within the ring of {ring} bits");
        Err(Error::invalid(self.what(field), expected, format!("{low} to {high}")))
    }

    fn what(&self, field: &str) -> String {
        format!("weights of step {}: {field}", self.name)
    }
}
