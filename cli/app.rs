//! The command line: which commands there are, and how each ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cleanup::Cleanup;
use crate::console::Console;
use crate::exit::{self, Failure, Outcome};
use crate::{compare, cost, demo, eval, export, import, infer, inspect, search};

/// Two-party private inference for quantised neural networks.
#[derive(Parser)]
#[command(name = "pq", version, after_help = exit::HELP, after_long_help = exit::HELP, propagate_version = true)]
struct Cli {
    /// Print one JSON object on stdout, and nothing else there.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show a network's layers, shapes and sizes, and what in it is not supported and why.
    #[command(after_help = exit::HELP)]
    Inspect(inspect::Args),
    /// Choose the widths and protocols of every layer under a budget, and write the quantised network.
    #[command(after_help = exit::HELP)]
    Search(search::Args),
    /// Take over a network that is quantised already, with its own integers and widths.
    #[command(after_help = exit::HELP)]
    Import(import::Args),
    /// Measure the plaintext accuracy of a quantised network.
    #[command(after_help = exit::HELP)]
    Eval(eval::Args),
    /// Write a quantised network as ONNX, for other runtimes.
    #[command(after_help = exit::HELP)]
    Export(export::Args),
    /// Predict what a quantised network costs, step by step.
    #[command(after_help = exit::HELP)]
    Cost(cost::Args),
    /// Compare with what published systems would move for the same network.
    #[command(after_help = exit::HELP)]
    Compare(compare::Args),
    /// Run a quantised network privately, as server, as client, or as both.
    #[command(after_help = exit::HELP)]
    Infer(infer::Args),
    /// See it work: a small built-in network, searched and run by two processes.
    #[command(after_help = exit::HELP)]
    Demo(demo::Args),
}

/// What every command gets.
pub(crate) struct App {
    pub(crate) console: Console,
    pub(crate) cleanup: Cleanup,
}

/// Runs the command line.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let app = App { console: Console::new(cli.json), cleanup: Cleanup::default() };
    let run = || app.cleanup.on_interrupt().and_then(|()| dispatch(&app, &cli.command));
    // A broken invariant has told its name on stderr by then; the code is that of every internal error.
    let ended = catch_unwind(AssertUnwindSafe(run));
    match ended.unwrap_or_else(|_| Err(Failure::internal("a broken invariant; please report it"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            app.console.note(format_args!("error: {failure}"));
            failure.code().into()
        }
    }
}

fn dispatch(app: &App, command: &Command) -> Outcome<()> {
    match command {
        Command::Inspect(args) => inspect::run(app, args),
        Command::Search(args) => search::run(app, args),
        Command::Import(args) => import::run(app, args),
        Command::Eval(args) => eval::run(app, args),
        Command::Export(args) => export::run(app, args),
        Command::Cost(args) => cost::run(app, args),
        Command::Compare(args) => compare::run(app, args),
        Command::Infer(args) => infer::run(app, args),
        Command::Demo(args) => demo::run(app, args),
    }
}
