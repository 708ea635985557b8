//! `pq serve`: several networks for many clients, until it is told to end.

mod args;
mod config;
mod log;
mod signals;

pub(crate) use args::Args;
pub(crate) use signals::{Signal, Signals};

use pq::Service;
use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::{panic, process};

/// How it has ended.
#[derive(Serialize)]
struct Ended {
    /// Connections that did not end in time.
    cut: usize,
}

/// Runs `pq serve`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    // A session's panic is that session's end.
    panic::contain(app.cleanup.clone(), log::panicked);
    let settings = args.settings()?;
    crate::log::start(settings.log_format())?;
    let options = settings.options()?;
    let runtime = pq::runtime()?;
    let cut = runtime.block_on(async {
        // Registered before there is anything to end.
        let mut signals = Signals::new()?;
        let service = Service::bind(options, Box::new(log::ended)).await?;
        log::listening(&service);
        let control = service.control();
        let hearing = async {
            loop {
                match signals.next().await {
                    Signal::Reload => reload(&control),
                    Signal::End => control.drain(),
                }
            }
        };
        tokio::select! {
            cut = service.run() => Ok::<_, Failure>(cut),
            () = hearing => Err(Failure::internal("signals have an end")),
        }
    })?;
    // Threads of sessions that were cut may still compute: nothing waits for them.
    runtime.shutdown_background();
    app.console.result(&Ended { cut }, Ended::text)
}

/// Reads all files again, on a thread of its own: that may take as long as starting has.
fn reload(control: &pq::ServiceControl) {
    let own = control.clone();
    let begun = process::spawn("reload", move || {
        // What came of it is an event.
        let _ = own.reload();
    });
    if let Err(failure) = begun {
        crate::console::say(format_args!("warning: {failure}"));
    }
}

impl Ended {
    fn text(&self) -> String {
        match self.cut {
            0 => "ended, with all sessions\n".into(),
            cut => format!("ended; {cut} sessions did not end in time\n"),
        }
    }
}
