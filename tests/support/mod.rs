//! What the tests share: networks on the disk, processes, and a proxy that breaks connections.

pub(crate) mod certificates;
pub(crate) mod net;
pub(crate) mod party;
pub(crate) mod process;
pub(crate) mod proxy;
#[cfg(target_os = "linux")]
pub(crate) mod relay;
#[cfg(target_os = "linux")]
pub(crate) mod service;

pub(crate) use net::Net;
pub(crate) use process::{Server, client, finished, json, pq, run, stderr};
