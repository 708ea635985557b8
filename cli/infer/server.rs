//! The server: one session, with the first client that agrees, then the end.

use std::net::SocketAddr;

use pq::{Load, Network, Refused, Server};

use super::args::ServerOptions;
use super::connection;
use super::memory::{Fit, Parties};
use super::report::Inference;
use crate::console::Console;
use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::ledger::Ledger;
use crate::progress::{Progress, show};

pub(super) fn run(app: &App, options: &ServerOptions<'_>) -> Outcome<()> {
    let plan = options.common.revealing_plan(Network::open_plan(options.plan)?)?;
    let weights = Network::open_weights(options.weights, &plan)?;
    let secret = match options.hints {
        Some(path) => Some(Network::open_hints_secret(path)?),
        None => Network::hints_secret_beside(options.weights, &plan)?,
    };
    let network = Network::new(plan, weights)?.with_hints_secret(secret);
    // Made again, before anybody connects.
    network.hints()?;
    let fit = Fit::new(network.plan(), Parties::Server, options.common.budget);
    fit.check(Load::one(1))?;
    let granted = pq::ServerOptions {
        images: options.max_batch,
        memory: options.common.budget.0,
        limits: options.common.limits,
        security: options.security.clone(),
    };
    let report = pq::runtime()?.block_on(async {
        let server = Server::bind(options.listen, &network, &granted).await?;
        connection::check(&app.console, server.address(), &options.security)?;
        app.console.note(format_args!("{}{}", connection::LISTENING, server.address()));
        let session = server.accept(&mut |peer, why| turned_away(&app.console, peer, why)).await;
        // Nobody else is let in.
        drop(server);
        let progress = Progress::new();
        Ok::<_, Failure>(session.run(&mut show(&progress)).await?)
    })?;
    let ledger = Ledger::measured(network.plan(), &report, &options.common.profile);
    let memory = fit.memory(report.load).measured();
    Inference::of_server(ledger, report.keep_alive_bytes, memory).print(app)
}

/// Says why a connection came to nothing. The console escapes what a stranger has sent.
fn turned_away(console: &Console, peer: Option<SocketAddr>, why: &Refused) {
    let why = match why {
        Refused::Failed(error) => Failure::from(error).message().to_owned(),
        Refused::System(error) => {
            return console.note(format_args!("cannot accept a connection for now: {error}"));
        }
        other @ (Refused::Slow | _) => other.to_string(),
    };
    let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
    console.note(format_args!("no session with {peer}: {why}; waiting for another client"));
}
