//! The server: one session, with the first client that agrees, then the end.

use protocols::execute::Side;
use protocols::plan::Load;

use super::args::ServerOptions;
use super::party::{Party, show};
use super::report::Inference;
use super::{accept, connection};
use crate::app::App;
use crate::exit::Outcome;
use crate::ledger::Ledger;
use crate::net;
use crate::progress::Progress;

pub(super) fn run(app: &App, options: &ServerOptions<'_>) -> Outcome<()> {
    let plan = options.common.revealing(net::plan(options.plan)?)?;
    let weights = net::weights(options.weights, &plan)?;
    let runtime = connection::runtime()?;
    let (listener, address) = runtime.block_on(connection::listen(options.listen))?;
    connection::warn_off_loopback(&app.console, address);
    app.console.note(format_args!("{}{address}", connection::LISTENING));
    let party = Party {
        plan: &plan,
        side: Side::Server(&weights),
        load: Load::one(options.max_batch),
        limits: options.common.limits,
    };
    let introduction = party.introduction();
    let met = runtime.block_on(accept::first(listener, &app.console, |stream| introduction.meet(stream)));
    let progress = Progress::new();
    let (_, report) = party.converse(&runtime, met?, &mut show(&progress))?;
    drop(progress);
    let ledger = Ledger::measured(&plan, &report, &options.common.profile);
    Inference::of_server(ledger, report.keep_alive_bytes).print(app)
}
