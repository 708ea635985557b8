//! The protocols of two-party quantized inference: bits, shares, cost, channel, session, oblivious
//! transfer, operators, the public plan and its execution.
//!
//! Semi-honest, computational security 128 bits. An operator is one file: what it computes, how,
//! what it costs, why it is secure, then code, then tests. [`Session::run`] is the only way to run
//! one, and it holds the operator to the cost that it declared.

mod assumption;
mod bits;
mod block;
mod channel;
mod cost;
mod domain;
mod entropy;
mod error;
mod frame;
mod host;
mod kernels;
mod lattice;
mod load;
mod operator;
mod rates;
mod role;
mod session;
mod share;

pub mod allowance;
pub mod ask;
#[doc(hidden)]
pub mod bench;
pub mod execute;
pub mod handshake;
pub mod hints;
pub mod linear;
pub mod ops;
pub mod ot;
pub mod plan;
pub mod price;
pub mod printable;
pub mod steps;
pub mod weights;

pub use bits::{BitString, Bits, hex};
pub use block::Block;
pub use channel::{Channel, Limits};
pub use cost::{Cost, Phases};
pub use domain::Domain;
pub use error::{Error, Reason};
pub use operator::Operator;
pub use role::Role;
pub use session::Session;
pub use share::{BitShare, Clear, Share, Shared};

/// Seconds on a network between the parties, by the name that they had.
pub mod profile {
    pub use crate::price::{Prices, Profile, Seconds, ot_seconds};
}

#[cfg(test)]
mod testing;
