//! The command line: which commands there are, and how each ends.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::cleanup::Cleanup;
use crate::console::{Console, Verbosity};
use crate::context::App;
use crate::exit::{self, Failure, Outcome};
use crate::{
    compare, cost, demo, eval, export, gateway, heap, hints, import, infer, inspect, keygen, known,
    manual, merge, panic, process, reshape, search, serve, train, tune,
};

/// The widest line of a help text.
const HELP_WIDTH: usize = 100;

/// Where the options of all commands stand: after those of one.
const LAST: usize = 900;

/// Two-party private inference for quantized neural networks.
#[derive(Parser)]
#[command(
    name = "pq",
    version,
    after_help = exit::HELP,
    after_long_help = exit::HELP,
    propagate_version = true,
    max_term_width = HELP_WIDTH
)]
struct Cli {
    /// Print one JSON object on stdout, and nothing else there.
    #[arg(long, global = true, display_order = LAST)]
    json: bool,
    /// Print results, warnings and errors alone: no progress, no notes.
    #[arg(short, long, global = true, display_order = LAST)]
    quiet: bool,
    /// Print every phase and step as it begins, on stderr.
    #[arg(short, long, global = true, display_order = LAST, conflicts_with = "quiet")]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show a network's layers, shapes and sizes, and what in it is not supported and why.
    #[command(after_help = exit::HELP)]
    Inspect(inspect::Args),
    /// Train a network of floats, with another one as its teacher.
    #[command(after_help = exit::HELP)]
    Train(train::Args),
    /// Replace blocks of a network by single convolutions, and train it again: fewer steps, fewer
    /// rounds.
    #[command(after_help = exit::HELP)]
    Reshape(reshape::Args),
    /// Choose the widths and protocols of every layer under a budget, and write the quantized
    /// network.
    #[command(after_help = exit::HELP, override_usage = search::USAGE)]
    Search(search::Args),
    /// Train the integers of a network of low widths, with the float network as their teacher.
    #[command(after_help = exit::HELP)]
    Tune(tune::Args),
    /// Take over a network that is quantized already, with its own integers and widths.
    #[command(after_help = exit::HELP)]
    Import(import::Args),
    /// Make the hints of a quantized network anew: its plan names them, and earlier ones serve no
    /// more.
    #[command(after_help = exit::HELP)]
    Hints(hints::Args),
    /// Measure the plaintext accuracy of a quantized network.
    #[command(after_help = exit::HELP)]
    Eval(eval::Args),
    /// Write a quantized network as ONNX, for other runtimes.
    #[command(after_help = exit::HELP)]
    Export(export::Args),
    /// Predict what a quantized network costs, step by step.
    #[command(after_help = exit::HELP)]
    Cost(cost::Args),
    /// Compare with what published systems would move for the same network.
    #[command(after_help = exit::HELP)]
    Compare(compare::Args),
    /// Run a quantized network privately, as server, as client, or as both.
    #[command(after_help = exit::HELP)]
    Infer(infer::Args),
    /// Put the results of several pq infer --shard I/N --out FILE together.
    #[command(after_help = exit::HELP)]
    Merge(merge::Args),
    /// Serve several networks to many clients at once, until it is told to end.
    #[command(after_help = exit::HELP)]
    Serve(serve::Args),
    /// Give the programs of this machine REST for the network of a pq serve, which sees no image.
    #[command(after_help = exit::HELP)]
    Gateway(gateway::Args),
    /// Make a key of one's own, for encrypted connections; its public half is printed.
    #[command(after_help = exit::HELP)]
    Keygen(keygen::Args),
    /// Remember the keys of servers, which --server-key then need not name, and print them.
    #[command(after_help = exit::HELP)]
    Known(known::Args),
    /// See it work: a small built-in network, searched and run by two processes.
    #[command(after_help = exit::HELP)]
    Demo(demo::Args),
    /// Print a script that completes commands and options in a shell.
    #[command(after_help = exit::HELP)]
    Completions(manual::CompletionsArgs),
    /// Print the manual page of a command, for man.
    #[command(after_help = exit::HELP)]
    Man(manual::ManArgs),
}

/// Runs the command line.
pub(crate) fn run() -> ExitCode {
    let cleanup = Cleanup::default();
    panic::end_on_panic(cleanup.clone());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_run(&error),
    };
    let serves = matches!(cli.command, Command::Serve(_) | Command::Gateway(_));
    if serves || matches!(cli.command, Command::Infer(_)) {
        heap::share();
    }
    let app = App { console: Console::new(cli.json, cli.verbosity()), cleanup };
    let prepared = process::files()
        // A service hears signals itself, and lets its sessions end first.
        .and_then(|()| if serves { Ok(()) } else { app.cleanup.on_interrupt() })
        .and_then(|()| process::prepare());
    match prepared.and_then(|()| dispatch(&app, &cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ended(&app.console, &failure),
    }
}

/// The help or the version that was asked for, or what is wrong with the command line.
fn not_run(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A reader that has seen enough, such as `head`, is no failure.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let json = std::env::args_os().any(|word| word == "--json");
    ended(&Console::new(json, Verbosity::default()), &Failure::command_line(error))
}

fn ended(console: &Console, failure: &Failure) -> ExitCode {
    console.failure(failure);
    failure.code().into()
}

impl Cli {
    const fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Usual,
        }
    }
}

fn dispatch(app: &App, command: &Command) -> Outcome<()> {
    match command {
        Command::Inspect(args) => inspect::run(app, args),
        Command::Train(args) => train::run(app, args),
        Command::Reshape(args) => reshape::run(app, args),
        Command::Search(args) => search::run(app, args),
        Command::Tune(args) => tune::run(app, args),
        Command::Import(args) => import::run(app, args),
        Command::Hints(args) => hints::run(app, args),
        Command::Eval(args) => eval::run(app, args),
        Command::Export(args) => export::run(app, args),
        Command::Cost(args) => cost::run(app, args),
        Command::Compare(args) => compare::run(app, args),
        Command::Keygen(args) => keygen::run(app, args),
        Command::Known(args) => known::run(app, args),
        Command::Infer(args) => infer::run(app, args),
        Command::Merge(args) => merge::run(app, args),
        Command::Serve(args) => serve::run(app, args),
        Command::Gateway(args) => gateway::run(app, args),
        Command::Demo(args) => demo::run(app, args),
        Command::Completions(args) => manual::completions(app, args, Cli::command()),
        Command::Man(args) => manual::man(app, args, Cli::command()),
    }
}
