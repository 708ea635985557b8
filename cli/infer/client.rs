//! The client: waits for its server, and learns the predictions.

use std::sync::Arc;

use pq::{Client, Network, PublicNetwork};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::args::{ClientOptions, Source};
use super::connection;
use super::input::Input;
use super::memory::Parties;
use super::report::is_there;
use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::progress::{Progress, show};

pub(super) fn run(app: &App, options: &ClientOptions<'_>) -> Outcome<()> {
    let runtime = pq::runtime()?;
    let PublicNetwork { plan, hints } = network(app, &runtime, options)?;
    if is_there(app, &options.images, &plan)? {
        return Ok(());
    }
    let weights = options.verify.map(|path| Network::open_weights(path, &plan)).transpose()?;
    let input = Input::open(&plan, &options.images, Parties::Client, options.common.budget)?;
    // Images and memory are looked at before the server keeps a place.
    let asked = pq::ClientOptions { load: input.load, hints, ..asked(options) };
    let (found, report) = runtime.block_on(async {
        let stream = dial(app, options).await?;
        let client = Client::over(stream, Arc::clone(&plan), &asked).await?;
        let progress = Progress::new();
        Ok::<_, Failure>(client.run(&input.integers, &mut show(&progress)).await?)
    })?;
    let profile = &options.common.profile;
    let inference = input.inference(&plan, (found, &report), weights.as_ref(), profile)?;
    inference.finish(app, &options.images, &plan)
}

/// What every connection of this client has in common.
fn asked(options: &ClientOptions<'_>) -> pq::ClientOptions {
    pq::ClientOptions {
        limits: options.common.limits,
        patience: options.connect_timeout,
        security: options.security.clone(),
        ..pq::ClientOptions::default()
    }
}

/// The plan and the hints, of files or of the server.
fn network(app: &App, runtime: &Runtime, options: &ClientOptions<'_>) -> Outcome<PublicNetwork> {
    let (plan, hints) = match &options.source {
        Source::Server { name, cache } => {
            let found = runtime.block_on(async {
                let stream = dial(app, options).await?;
                let fetched =
                    PublicNetwork::fetch(stream, name, cache.as_ref(), &asked(options)).await;
                Ok::<_, Failure>(fetched?)
            })?;
            let plan = Arc::unwrap_or_clone(found.plan);
            (Arc::new(options.common.revealing_plan(plan)?), found.hints)
        }
        Source::Files { plan: path, hints } => {
            let plan = Arc::new(options.common.revealing_plan(Network::open_plan(path)?)?);
            let hints = match hints {
                Some(path) => Some(Network::open_hints(path, &plan)?),
                None => Network::hints_beside(path, &plan)?,
            };
            (plan, hints.map(Arc::new))
        }
    };
    Ok(PublicNetwork { plan, hints })
}

/// Connects, and says where that takes long.
async fn dial(app: &App, options: &ClientOptions<'_>) -> Outcome<TcpStream> {
    let (address, patience) = (options.connect, options.connect_timeout);
    let mut bar = None;
    let stream = Client::dial(address, patience, &mut || {
        let seconds = patience.as_secs_f64();
        app.console.note(format_args!("waiting for a server at {address}, {seconds} s at most"));
        bar.insert(Progress::new()).waiting(format!("waiting for {address}"));
    })
    .await?;
    drop(bar);
    let peer = stream.peer_addr().map_err(pq::Error::Connection)?;
    connection::check(&app.console, peer, &options.security)?;
    Ok(stream)
}
