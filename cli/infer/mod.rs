//! `pq infer`: one party of a private inference, or both.

mod args;
mod client;
mod connection;
mod input;
mod local;
mod memory;
mod report;
mod retry;
mod server;
mod sessions;
mod shard;

pub(crate) use args::Args;
pub(crate) use connection::LISTENING;
pub(crate) use memory::Budget;
pub(crate) use report::Inference;

use std::path::Path;

use crate::context::App;
use crate::exit::Outcome;
use crate::ledger::Ledger;
use args::{LocalOptions, Mode};

/// Runs `pq infer`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    match args.mode()? {
        Mode::Server(options) => server::run(app, &options),
        Mode::Client(options) => client::run(app, &options),
        Mode::Local(options) => local::run(app, &options),
    }
}

/// The ledger of a private run of the first image of a file, both parties on this machine.
pub(crate) fn measure(net_folder: &Path, input: &Path) -> Outcome<Ledger> {
    Ok(local::infer(&LocalOptions::first(net_folder, input))?.ledger)
}
