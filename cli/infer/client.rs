//! The client: waits for its server, and learns the predictions.

use std::sync::Arc;

use pq::{Client, Network};

use super::args::ClientOptions;
use super::connection;
use super::input::Input;
use super::memory::Parties;
use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::progress::{Progress, show};

pub(super) fn run(app: &App, options: &ClientOptions<'_>) -> Outcome<()> {
    let plan = Arc::new(options.common.revealing_plan(Network::open_plan(options.plan)?)?);
    let weights = options.verify.map(|path| Network::open_weights(path, &plan)).transpose()?;
    let hints = match options.hints {
        Some(path) => Some(Network::open_hints(path, &plan)?),
        None => Network::hints_beside(options.plan, &plan)?,
    };
    let hints = hints.map(Arc::new);
    let input = Input::open(&plan, &options.images, Parties::Client, options.common.budget)?;
    let (limits, patience) = (options.common.limits, options.connect_timeout);
    let security = options.security.clone();
    let asked = pq::ClientOptions { load: input.load, hints, limits, patience, security };
    let (found, report) = pq::runtime()?.block_on(async {
        let mut bar = None;
        let stream = Client::dial(options.connect, patience, &mut || {
            let (address, seconds) = (options.connect, patience.as_secs_f64());
            app.console
                .note(format_args!("waiting for a server at {address}, {seconds} s at most"));
            bar.insert(Progress::new()).waiting(format!("waiting for {address}"));
        })
        .await?;
        drop(bar);
        let peer = stream.peer_addr().map_err(pq::Error::Connection)?;
        connection::check(&app.console, peer, &options.security)?;
        let client = Client::over(stream, Arc::clone(&plan), &asked).await?;
        let progress = Progress::new();
        Ok::<_, Failure>(client.run(&input.integers, &mut show(&progress)).await?)
    })?;
    input.inference(&plan, (found, &report), weights.as_ref(), &options.common.profile)?.print(app)
}
