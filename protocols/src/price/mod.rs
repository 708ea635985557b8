//! What a plan will take before it is run: bytes and messages, seconds, memory.

mod cost;
mod memory;
mod profile;
mod seconds;

pub use cost::{Prices, StepCost};
pub use memory::PROCESS;
pub use profile::Profile;
pub use seconds::{Seconds, ot_seconds};
