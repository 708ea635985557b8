//! What a plan is made of: steps. One file for each kind: its wires, its checks, its price, its
//! seconds, its intervals, and what both parties do.
//!
//! A new kind is one file, one variant of [`Op`] and one arm of its dispatch, and whatever makes it
//! out of a network.

mod argmax;
mod axes;
mod check;
mod concat;
mod context;
mod input;
mod kind;
mod linear;
mod linearized;
mod lookup;
mod max_pool;
mod order;
mod output;
mod product;
mod reorder;
mod requant;
mod reshare;
mod sum_pool;
mod view;
mod window;
mod wire;

use std::any::Any;

use serde::{Deserialize, Serialize};

use crate::linear::{Layer, Work};
use crate::ot::Draws;
use crate::rates::Seconds;
use crate::{Bits, Error, Phases, Role, Session, Share};

pub(crate) use argmax::index_ring;
pub use argmax::{Argmax, pooling_ring};
pub use axes::{Axis, View};
pub(crate) use check::Check;
pub use concat::Concat;
pub(crate) use context::{Context, Intervals, Masks, Offline, Online, Prepared};
pub use input::Input;
pub use kind::{CORRELATIONS, KEYS, Kind};
pub use linear::Linear;
pub use linearized::{Linearized, Mask};
pub use lookup::Lookup;
pub use max_pool::MaxPool;
pub use order::Order;
pub use output::Output;
pub use product::Product;
pub use reorder::Reorder;
pub use requant::{Requant, Term};
pub(crate) use reshare::draw;
pub use sum_pool::SumPool;
pub use view::Slice;
pub use window::{Gather, Window};
pub use wire::{Wire, WireId};

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// A unique name, from the network's own node names.
    pub name: String,
    /// What it does.
    pub op: Op,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// The client shares the input.
    Input(Input),
    /// A linear layer.
    Linear(Linear),
    /// A requantization.
    Requant(Requant),
    /// The sum over windows.
    SumPool(SumPool),
    /// The maximum over windows.
    MaxPool(MaxPool),
    /// Any function of one narrow value.
    Lookup(Lookup),
    /// The product of two wires.
    Product(Product),
    /// A strided slice.
    View(Slice),
    /// The same elements in another order.
    Reorder(Reorder),
    /// Channels of several wires.
    Concat(Concat),
    /// The index of the largest value.
    Argmax(Argmax),
    /// What the client learns.
    Output(Output),
}

/// Two wires whose scales have a fixed ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tie {
    /// The wire whose scale is as many times that of `to`.
    pub wire: WireId,
    /// The other.
    pub to: WireId,
    /// How many times.
    pub ratio: f64,
}

/// What every kind of step says of itself.
pub(crate) trait Body: Any + Send + Sync {
    /// The wires that it reads.
    fn inputs(&self) -> Vec<WireId>;

    /// The wire that it writes.
    fn output(&self) -> Option<WireId>;

    /// What it is, for the report; `None` where it is free.
    fn kind(&self) -> Option<Kind>;

    /// How it is done, for the report.
    fn protocol(&self) -> String;

    /// The ring that it computes in: that of what it writes, or else reads.
    fn ring(&self, wires: &[Wire]) -> Bits {
        let wire = self.output().or(self.inputs().first().copied());
        wire.map_or(Bits::ONE, |wire| wires[wire].ring)
    }

    /// Checks its parameters, and its wires' shapes, values and rings. Wires exist by then.
    fn check(&self, check: &Check<'_>) -> Result<(), Error>;

    /// Whether the client's share of what it writes is fixed before the input arrives, given for
    /// each wire whether its share is.
    fn known(&self, known: &[bool]) -> bool;

    /// Whether the client draws its share of what it writes, as a mask.
    fn draws_mask(&self) -> bool {
        false
    }

    /// The same step in every way that makes the same integers; none where there is one way only.
    fn variants(&self, _: &Context<'_>) -> Vec<Op> {
        Vec::new()
    }

    /// The scales that it ties together.
    fn ties(&self) -> Vec<Tie> {
        Vec::new()
    }

    /// Adapts to a larger ring of one of its wires; the wires that need the same ring now.
    fn widen(&mut self, _: WireId, _: Bits) -> Vec<WireId> {
        Vec::new()
    }

    /// What it moves. OTs of the set-up are counted, their extension is not.
    fn cost(&self, context: &Context<'_>, images: usize) -> Phases;

    /// What it makes of the OTs of its cost: nothing, where it takes them as they are.
    fn draws(&self, _: &Context<'_>, _: usize) -> Draws {
        Draws::default()
    }

    /// Seconds of work, without the wire.
    fn seconds(&self, _: &Context<'_>, _: usize) -> Seconds {
        Seconds::default()
    }

    /// Bytes that preparing an inference leaves at a party, beside masks and what will be drawn.
    fn held_bytes(&self, _: &Context<'_>, _: Role, _: usize) -> u64 {
        0
    }

    /// Bytes at work in the offline part.
    fn offline_bytes(&self, _: &Context<'_>, _: Role, _: usize) -> u64 {
        0
    }

    /// Bytes at work in the online part, the result not included.
    fn online_bytes(&self, context: &Context<'_>, role: Role, images: usize) -> u64;

    /// Holds the server's weights against the step, and follows the interval of what it writes.
    fn follow(&self, intervals: &mut Intervals<'_>) -> Result<(), Error>;

    /// Does what needs no input. The client's masks of what it reads are there, where they are
    /// known, and the mask of what it writes, where it draws one.
    fn offline<'a>(&'a self, _: &'a mut Session, _: Offline<'a>) -> Work<'a, Prepared> {
        Box::pin(async { Ok(Prepared::NOTHING) })
    }

    /// Computes this party's share of what it writes.
    fn online<'a>(
        &'a self,
        session: &'a mut Session,
        online: Online<'a>,
    ) -> Work<'a, Option<Share>>;
}

impl Op {
    /// The step itself: the one place that tells the kinds apart.
    pub(crate) fn step(&self) -> &dyn Body {
        match self {
            Self::Input(step) => step,
            Self::Linear(step) => step,
            Self::Requant(step) => step,
            Self::SumPool(step) => step,
            Self::MaxPool(step) => step,
            Self::Lookup(step) => step,
            Self::Product(step) => step,
            Self::View(step) => step,
            Self::Reorder(step) => step,
            Self::Concat(step) => step,
            Self::Argmax(step) => step,
            Self::Output(step) => step,
        }
    }

    /// The same, to change it.
    pub(crate) fn step_mut(&mut self) -> &mut dyn Body {
        match self {
            Self::Input(step) => step,
            Self::Linear(step) => step,
            Self::Requant(step) => step,
            Self::SumPool(step) => step,
            Self::MaxPool(step) => step,
            Self::Lookup(step) => step,
            Self::Product(step) => step,
            Self::View(step) => step,
            Self::Reorder(step) => step,
            Self::Concat(step) => step,
            Self::Argmax(step) => step,
            Self::Output(step) => step,
        }
    }

    /// The step as one kind, if it is of that kind.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        (self.step() as &dyn Any).downcast_ref()
    }

    /// The same, to change it.
    pub fn get_mut<T: 'static>(&mut self) -> Option<&mut T> {
        (self.step_mut() as &mut dyn Any).downcast_mut()
    }

    /// The layer of a linear step.
    pub fn layer(&self) -> Option<Layer> {
        self.get::<Linear>().map(Linear::layer)
    }

    /// The wires that it reads.
    pub fn inputs(&self) -> Vec<WireId> {
        self.step().inputs()
    }

    /// The wire that it writes.
    pub fn output(&self) -> Option<WireId> {
        self.step().output()
    }

    /// What the step is, for the report; views, orders and concatenations are none, they are free.
    pub fn kind(&self) -> Option<Kind> {
        self.step().kind()
    }

    /// How the step is done, for the report.
    pub fn protocol(&self) -> String {
        self.step().protocol()
    }

    /// The ring that the step computes in.
    pub fn ring(&self, wires: &[Wire]) -> Bits {
        self.step().ring(wires)
    }

    /// The scales that the step ties together.
    pub fn ties(&self) -> Vec<Tie> {
        self.step().ties()
    }
}
