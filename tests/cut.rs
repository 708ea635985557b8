//! The connection breaks at every message of a small network: each party ends, in time, with an
//! error that names a step.

use std::time::Duration;

use protocols::execute::Side;
use protocols::{Error, Limits, Reason, Role};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::support::party::converse;
use crate::support::proxy::{self, Fate, Fault, From};
use crate::support::{Net, Server, client, finished, stderr};

/// Long enough that only a hang exceeds it, also on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A network with linear layers, a residual and pooling whose transcript is short.
const SEED: u64 = 3;

type End = Result<Option<Vec<i64>>, Error>;

async fn party(stream: TcpStream, net: &Net, role: Role, limits: Limits) -> End {
    let side = match role {
        Role::Server => Side::Server(&net.weights),
        Role::Client => Side::Client(&net.integers),
    };
    converse(stream, &net.plan, side, net.images, limits).await
}

/// Both parties' ends, with the frames that each sent.
async fn through_proxy(
    net: &Net,
    fault: Option<Fault>,
    silence: Duration,
) -> (End, End, [usize; 2]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, counts) = proxy::start(listener.local_addr().unwrap().to_string(), fault).await;
    let limits = Limits::new(silence);
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        party(stream, net, Role::Server, limits).await
    };
    let client = async {
        let stream = TcpStream::connect(address).await.unwrap();
        party(stream, net, Role::Client, limits).await
    };
    let both = timeout(PATIENCE, async { tokio::join!(server, client) }).await;
    let (server, client) = both.unwrap_or_else(|_| panic!("a party hangs: {fault:?}"));
    (server, client, [counts.of(From::Server), counts.of(From::Client)])
}

fn frames(runtime: &Runtime, net: &Net) -> [usize; 2] {
    let (server, client, frames) = runtime.block_on(through_proxy(net, None, PATIENCE));
    assert_eq!(server.unwrap(), None);
    let expected = fusion::ideal(&net.plan, &net.weights, &net.integers).unwrap();
    assert_eq!(client.unwrap(), Some(expected));
    frames
}

fn assert_lost(end: &End, fault: Fault) {
    match end {
        Err(
            Error::PeerLost { step, .. }
            | Error::PeerSilent { step, .. }
            | Error::Overdue { step, .. }
            | Error::Dismissed { step, reason: Reason::Overdue },
        ) => assert!(!step.is_empty()),
        other => panic!("{fault:?}: {other:?}"),
    }
}

/// Whether the fault is in the last messages of all, the client's goodbye and its statement: it has
/// its result by then, and does not learn that its message was lost.
fn is_last(fault: Fault, frames: [usize; 2]) -> bool {
    fault.from == From::Client && fault.frame + 2 >= frames[1]
}

fn assert_both_lost(ends: (&End, &End), fault: Fault, frames: [usize; 2]) {
    let (server, client) = ends;
    assert_lost(server, fault);
    if !(is_last(fault, frames) && client.is_ok()) {
        assert_lost(client, fault);
    }
}

fn every_frame(frames: [usize; 2]) -> impl Iterator<Item = (From, usize)> {
    let of = |from, count| (0..count).map(move |frame| (from, frame));
    of(From::Server, frames[0]).chain(of(From::Client, frames[1]))
}

#[test]
fn a_connection_that_ends_at_any_message_is_a_named_error_at_both_parties() {
    let (runtime, net) = (Runtime::new().unwrap(), Net::random(SEED, 1));
    let frames = frames(&runtime, &net);
    for (at, (from, frame)) in every_frame(frames).enumerate() {
        let fate = if at % 2 == 0 { Fate::Close } else { Fate::Half };
        let fault = Fault { from, frame, fate };
        let (server, client, _) = runtime.block_on(through_proxy(&net, Some(fault), PATIENCE));
        assert_both_lost((&server, &client), fault, frames);
    }
}

#[test]
fn a_connection_that_stalls_is_a_named_error_within_the_timeout() {
    let (runtime, net) = (Runtime::new().unwrap(), Net::random(SEED, 1));
    let frames = frames(&runtime, &net);
    for (from, frame) in every_frame(frames).step_by(frames.iter().sum::<usize>().div_ceil(8)) {
        let fault = Fault { from, frame, fate: Fate::Stall };
        let (server, client, _) =
            runtime.block_on(through_proxy(&net, Some(fault), Duration::from_secs(1)));
        assert_both_lost((&server, &client), fault, frames);
    }
}

#[test]
fn real_processes_end_with_code_4_when_the_connection_is_cut() {
    let (runtime, net) = (Runtime::new().unwrap(), Net::random(SEED, 1));
    let frames = frames(&runtime, &net);
    // A handshake that is cut does not end a server: an ask or an answer, a hello, a confirmation.
    let session = every_frame(frames).filter(|(_, frame)| *frame >= 3);
    for (from, frame) in session.step_by(frames.iter().sum::<usize>().div_ceil(5)) {
        let fault = Fault { from, frame, fate: Fate::Close };
        let server = Server::start(&net.file("plan.json"), &net.file("weights.safetensors"), &[]);
        let (address, _) = runtime.block_on(proxy::start(server.address.clone(), Some(fault)));
        let client = finished(client(&net, &address, &[]), PATIENCE);
        let server = server.finished(PATIENCE);
        for (party, output) in [("server", server), ("client", client)] {
            if party == "client" && is_last(fault, frames) && output.status.success() {
                continue;
            }
            assert_eq!(output.status.code(), Some(4), "{party}, {fault:?}: {}", stderr(&output));
            assert!(stderr(&output).contains("in step"), "{}", stderr(&output));
        }
    }
}
