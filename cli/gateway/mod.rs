//! `pq gateway`: REST for the programs of this machine, and a private session with a server.

mod args;

pub(crate) use args::Args;

use pq::Gateway;
use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::log;
use crate::serve::{Signal, Signals};

/// How it has ended.
#[derive(Serialize)]
struct Ended {
    /// Images that were inferred.
    images: u64,
}

/// Runs `pq gateway`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    log::start(args.log_format)?;
    let options = args.options()?;
    let runtime = pq::runtime()?;
    let images = runtime.block_on(async {
        // Registered before there is anything to end.
        let mut signals = Signals::new()?;
        let bound = tokio::select! {
            bound = Gateway::bind(options, Box::new(|_| ())) => bound,
            () = end(&mut signals) => return Ok(0),
        };
        let gateway = bound?;
        tracing::info!(target: "pq::gateway", address = %gateway.address(), "listening");
        Ok::<_, Failure>(gateway.run(end(&mut signals), args.grace).await?)
    })?;
    // A session that did not end in time may still compute: nothing waits for it.
    runtime.shutdown_background();
    app.console.result(&Ended { images }, |Ended { images }| format!("ended; {images} images\n"))
}

/// Waits for a signal to end. There is nothing to read again.
async fn end(signals: &mut Signals) {
    while let Signal::Reload = signals.next().await {}
}
