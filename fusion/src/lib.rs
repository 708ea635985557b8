//! The integer network, its meaning, and its lowering to a plan.
//!
//! [`Graph`] says what is computed, [`eval`] is what it means (the specification that two parties
//! must meet, integer for integer), the passes of [`pass`] rewrite it without a change of meaning,
//! and [`fuse`] lowers it to the [`Plan`](protocols::plan::Plan) that two parties run. [`ideal`]
//! runs a plan in the clear, in its rings.

mod error;
mod eval;
mod graph;
mod ideal;
mod interval;
mod layout;
mod lower;
mod sliding;

pub mod baselines;
pub mod knapsack;
pub mod pass;
pub mod planner;
pub mod relus;
#[doc(hidden)]
pub mod testing;

pub use error::Error;
pub use eval::{Evaluator, eval, eval_wires};
pub use graph::{Builder, Graph, Kernel, Linear, Lookup, Node, Op, Wire, WireId};
pub use ideal::ideal;
pub use interval::{Interval, MAX_BITS, ring_width};
pub use lower::{Options, Rooms, fuse, rooms};
pub use protocols::weights::{LayerWeights, Weights};

#[cfg(test)]
mod laws;
