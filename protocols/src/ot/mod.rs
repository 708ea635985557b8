//! Oblivious transfer: base transfers, the extension, the pools, and what is made of them.

mod base;
pub(crate) mod ggm;
mod hash;
mod pool;
mod pprf;
mod softspoken;

pub use softspoken::{Extend, Setup, TreeDepth};

pub(crate) use hash::Hash;
pub(crate) use pool::{Pools, ReceivedCots, SentCots};
pub(crate) use softspoken::Extension;
