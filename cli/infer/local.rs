//! Both parties in one process, each on a thread of its own, over a real loopback connection.

use std::thread::{self, Builder};

use protocols::execute::Side;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::args::LocalOptions;
use super::connection;
use super::input::Input;
use super::memory::Parties;
use super::party::{Party, show};
use super::report::Inference;
use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::net::Net;
use crate::process;
use crate::progress::Progress;

pub(super) fn run(app: &App, options: &LocalOptions<'_>) -> Outcome<()> {
    infer(options)?.print(app)
}

/// The result of a run.
pub(super) fn infer(options: &LocalOptions<'_>) -> Outcome<Inference> {
    let Net { plan, weights } = Net::open(options.folder)?;
    let plan = options.common.revealing(plan)?;
    weights.check(&plan)?;
    let input = Input::open(&plan, &options.images, Parties::Both, options.common.budget)?;
    let runtime = connection::runtime()?;
    let (server_stream, client_stream) = runtime.block_on(loopback())?;
    // Both together were held against the budget before.
    let (load, limits, memory) = (input.load, options.common.limits, u64::MAX);
    let party = |side| Party { plan: &plan, side, load, memory, limits };
    let (server, client) = (party(Side::Server(&weights)), party(Side::Client(&input.integers)));
    let progress = Progress::new();
    let (served, received) = thread::scope(|scope| -> Outcome<_> {
        let (runtime, progress): (&Runtime, &Progress) = (&runtime, &progress);
        let server = move || server.run(runtime, server_stream, &mut |_| ());
        let server = Builder::new().spawn_scoped(scope, server);
        let server = server.map_err(|error| process::refused("a thread for the server", &error))?;
        let received = client.run(runtime, client_stream, &mut show(progress));
        Ok((server.join(), received))
    })?;
    drop(progress);
    // A panic ends the process.
    let served = served.map_err(|_| Failure::internal("the server's thread ended in a panic"))?;
    let (logits, report) = match (served, received) {
        (Ok(_), Ok(received)) => received,
        (Err(failure), Ok(_)) | (Ok(_), Err(failure)) => return Err(failure),
        // The party whose peer was lost is not the one at fault.
        (Err(server), Err(client)) => {
            return Err(if server.code() == Code::PeerLost { client } else { server });
        }
    };
    let weights = options.verify.then_some(&weights);
    input.inference(&plan, (logits, &report), weights, &options.common.profile)
}

/// Two ends of a connection.
async fn loopback() -> Outcome<(TcpStream, TcpStream)> {
    let failed = |error| Failure::internal(format_args!("cannot connect over loopback: {error}"));
    let (listener, address) = connection::listen("127.0.0.1:0").await?;
    let client = TcpStream::connect(address).await.map_err(failed)?;
    // Whoever else may have connected first is not let in.
    loop {
        let (server, peer) = listener.accept().await.map_err(failed)?;
        if client.local_addr().is_ok_and(|own| own == peer) {
            return Ok((server, client));
        }
    }
}
