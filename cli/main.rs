//! `pq`: two-party private inference for quantized networks.

mod app;
mod assumptions;
mod cleanup;
mod compare;
mod console;
mod context;
mod cost;
mod credentials;
mod demo;
mod eval;
mod exit;
mod export;
mod files;
mod gateway;
mod heap;
mod hints;
mod images;
mod import;
mod infer;
mod inspect;
mod keygen;
mod known;
mod layers;
mod ledger;
mod lines;
mod log;
mod logits;
mod manual;
mod merge;
mod net;
mod out;
mod page;
mod panic;
mod process;
mod progress;
mod purpose;
mod reshape;
mod sealed;
mod search;
mod serve;
mod source;
mod table;
mod train;
mod training;
mod tune;
mod units;
mod values;

fn main() -> std::process::ExitCode {
    app::run()
}
