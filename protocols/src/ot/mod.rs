//! Oblivious transfer: base transfers, the extension, the pools, and what is made of them.

pub(crate) mod ggm;
pub(crate) mod ggm;
mod hash;
mod pool;

pub(crate) use hash::Hash;
pub(crate) use pool::{Pools, ReceivedCots, SentCots};
