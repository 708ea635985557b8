//! The client: waits for its server, and learns the predictions.

use std::sync::Arc;

use pq::{Client, Network, Plan, PublicNetwork, Weights};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::args::{ClientOptions, Source};
use super::connection;
use super::input::Input;
use super::memory::Parties;
use super::report::{Inference, is_there};
use super::retry::Retry;
use super::sessions::Sessions;
use crate::context::App;
use crate::exit::{Code, Failure, Outcome};
use crate::progress::Progress;

pub(super) fn run(app: &App, options: &ClientOptions<'_>) -> Outcome<()> {
    let runtime = pq::runtime()?;
    let mut retry = Retry::new(options.retry_for);
    let PublicNetwork { plan, hints } = loop {
        match network(app, &runtime, options, &retry) {
            Ok(network) => break network,
            Err(failure) => retry.again(app, failure)?,
        }
    };
    if is_there(app, &options.images, &plan)? {
        return Ok(());
    }
    let weights = options.verify.map(|path| Network::open_weights(path, &plan)).transpose()?;
    let input = Input::open(&plan, &options.images, Parties::Client, options.common.budget)?;
    let asked = pq::ClientOptions { hints, ..asked(options) };
    let mut sessions = Sessions::default();
    // Images and memory are looked at before the server keeps a place.
    retry.renew();
    loop {
        let before = sessions.answered;
        let asked = pq::ClientOptions { load: sessions.left(input.load), ..asked.clone() };
        let attempt = runtime.block_on(async {
            let stream = dial(app, options, &retry).await?;
            let client = Client::over(stream, Arc::clone(&plan), &asked).await?;
            sessions.run(client, &input).await
        });
        let Err(failure) = attempt else { break };
        sessions.lose();
        if sessions.answered > before {
            retry.renew();
        }
        // Answers are confirmed one by one: those of a session that is lost at its end are whole.
        if sessions.answered == input.load.inferences && failure.code() == Code::PeerLost {
            break;
        }
        retry.again(app, failure)?;
    }
    finish(app, options, &plan, (input, sessions), weights.as_ref())
}

/// Prints the result of all sessions, and writes it where that was asked for.
fn finish(
    app: &App,
    options: &ClientOptions<'_>,
    plan: &Plan,
    (input, mut sessions): (Input, Sessions),
    weights: Option<&Weights>,
) -> Outcome<()> {
    let found = std::mem::take(&mut sessions.found);
    let profile = &options.common.profile;
    let inference = input.inference(plan, (found, &sessions.reports()), weights, profile)?;
    let inference = Inference { sessions: Some(sessions.list()), ..inference };
    inference.finish(app, &options.images, plan)
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
fn network(
    app: &App,
    runtime: &Runtime,
    options: &ClientOptions<'_>,
    retry: &Retry,
) -> Outcome<PublicNetwork> {
    let (plan, hints) = match &options.source {
        Source::Server { name, cache } => {
            let found = runtime.block_on(async {
                let stream = dial(app, options, retry).await?;
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
async fn dial(app: &App, options: &ClientOptions<'_>, retry: &Retry) -> Outcome<TcpStream> {
    let (address, patience) = (options.connect, retry.within(options.connect_timeout));
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
