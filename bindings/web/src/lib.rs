//! The client half of `pq` for browsers.
//!
//! [`Session`] is a client over any stream of bytes, for one network: it fetches the plan, prepares
//! and infers, on bytes of pixels. It needs no sockets, threads or files, so it is the same in a
//! browser as in a program, where it is tested. Built for `wasm32`, the crate also has the class
//! `Client` for JavaScript, which connects a session to a WebSocket (`page`).

#[cfg(target_arch = "wasm32")]
mod page;
mod session;

pub use session::{Error, Inference, Session};
