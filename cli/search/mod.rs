//! `pq search`: chooses the widths and protocols of every layer, and writes the quantized network.

mod args;
mod find;
mod frontier;
mod resume;
mod summary;

pub(crate) use args::{Args, USAGE};
pub(crate) use find::find;
pub(crate) use summary::Summary;

use crate::context::App;
use crate::exit::Outcome;

/// Runs `pq search`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    if let Some(count) = args.frontier {
        return frontier::run(app, args, count.into());
    }
    let (summary, plan) = find(app, args)?;
    app.console.result(&summary, |summary| summary.text(&plan))?;
    match &args.out {
        Some(folder) => app.console.note(format_args!("written to {}", folder.display())),
        None => app.console.note("nothing was written; name a folder with --out"),
    }
    Ok(())
}
