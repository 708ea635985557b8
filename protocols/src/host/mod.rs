//! What a channel needs of the program around it: a clock, time limits, and tasks beside it.
//!
//! Natively these are tokio's. In a browser there is one thread, whose event loop runs the tasks
//! and whose clock is the page's; the rest of the crate cannot tell.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(target_arch = "wasm32")]
pub(crate) use browser::{Instant, Task, timeout, timeout_at};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{Instant, Task, timeout, timeout_at};
