//! `pq completions` and `pq man`: made of the command line itself, so that they cannot be out of
//! date.

use clap::Command;
use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};

/// What `pq completions` is given.
#[derive(clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell to complete in.
    shell: clap_complete::Shell,
}

/// What `pq man` is given.
#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// The command whose page is wanted, such as search; that of pq itself without one.
    command: Option<String>,
}

/// A text that some other program reads.
#[derive(Serialize)]
struct Text {
    text: String,
}

/// Runs `pq completions`.
pub(crate) fn completions(app: &App, args: &CompletionsArgs, mut command: Command) -> Outcome<()> {
    let mut bytes = Vec::new();
    clap_complete::generate(args.shell, &mut command, "pq", &mut bytes);
    print(app, &bytes)
}

/// Runs `pq man`.
pub(crate) fn man(app: &App, args: &ManArgs, mut command: Command) -> Outcome<()> {
    command.build();
    let page = match &args.command {
        None => &command,
        Some(name) => command.find_subcommand(name).ok_or_else(|| unknown(name, &command))?,
    };
    // Named as a user types it: `pq search`, whose page is pq-search.
    let mut bytes = Vec::new();
    let rendered = clap_mangen::Man::new(page.clone()).render(&mut bytes);
    rendered.map_err(|error| Failure::internal(format_args!("cannot write the page: {error}")))?;
    print(app, &bytes)
}

fn print(app: &App, bytes: &[u8]) -> Outcome<()> {
    let text = Text { text: String::from_utf8_lossy(bytes).into_owned() };
    app.console.result(&text, |text| text.text.clone())
}

fn unknown(name: &str, command: &Command) -> Failure {
    let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    Failure::usage(format_args!("no command '{name}'; there are: {}", names.join(", ")))
}
