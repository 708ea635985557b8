//! The client: waits for its server, and learns the predictions.

use protocols::execute::Side;

use super::args::ClientOptions;
use super::connection;
use super::input::Input;
use super::memory::Parties;
use super::party::{Party, show};
use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::net;
use crate::progress::Progress;

pub(super) fn run(app: &App, options: &ClientOptions<'_>) -> Outcome<()> {
    let plan = options.common.revealing(net::plan(options.plan)?)?;
    let weights = options.verify.map(|path| net::weights(path, &plan)).transpose()?;
    let input = Input::open(&plan, &options.images, Parties::Client, options.common.budget)?;
    let runtime = connection::runtime()?;
    let stream = runtime.block_on(connection::connect(
        &app.console,
        options.connect,
        options.connect_timeout,
    ))?;
    let lost = |error| Failure::new(Code::PeerLost, format_args!("the connection failed: {error}"));
    connection::warn_off_loopback(&app.console, stream.peer_addr().map_err(lost)?);
    let progress = Progress::new();
    let party = Party {
        plan: &plan,
        side: Side::Client(&input.integers),
        load: input.load,
        memory: 0,
        limits: options.common.limits,
    };
    let (logits, report) = party.run(&runtime, stream, &mut show(&progress))?;
    drop(progress);
    input.inference(&plan, (logits, &report), weights.as_ref(), &options.common.profile)?.print(app)
}
