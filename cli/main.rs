//! `pq`: two-party private inference for quantised networks.

mod app;
mod cleanup;
mod compare;
mod console;
mod cost;
mod demo;
mod eval;
mod exit;
mod export;
mod files;
mod frontier;
mod images;
mod import;
mod infer;
mod inspect;
mod layers;
mod ledger;
mod logits;
mod net;
mod progress;
mod purpose;
mod sealed;
mod search;
mod table;
mod units;

fn main() -> std::process::ExitCode {
    app::run()
}
