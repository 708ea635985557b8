//! Someone on the wire changes, repeats, swaps, drops and replays messages: whatever it is, no
//! party reports a wrong result, and both end in time with an error that says what happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use protocols::execute::Side;
use protocols::{Error, Limits, Reason, Role};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::support::party::converse;
use crate::support::proxy::{self, Fate, Fault, From, HEADER};
use crate::support::{Net, Server, client, finished, stderr};

/// Long enough that only a hang exceeds it, also on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// A network with linear layers, a residual and pooling whose transcript is short.
const SEED: u64 = 3;
/// Sessions at a time: those that wait for a deadline cost nothing.
const THREADS: usize = 8;
/// Chooses the attacks and positions; printed, so that a failure can be repeated.
const SAMPLE: u64 = 12;

type End = Result<Option<Vec<i64>>, Error>;

fn limits() -> Limits {
    Limits { floor: 1 << 20, ..Limits::new(Duration::from_millis(500)) }
}

fn side(net: &Net, role: Role) -> Side<'_> {
    match role {
        Role::Server => Side::Server(&net.weights),
        Role::Client => Side::Client(&net.integers),
    }
}

/// Both parties' ends, with the frames that each sent. Who waits for what does not come does not
/// wait for long.
async fn session(net: &Net, fault: Option<Fault>) -> (End, End, [usize; 2]) {
    let limits = || if fault.is_some() { limits() } else { Limits::new(PATIENCE) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, counts) = proxy::start(listener.local_addr().unwrap().to_string(), fault).await;
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        converse(stream, &net.plan, side(net, Role::Server), net.images, limits()).await
    };
    let client = async {
        let stream = TcpStream::connect(address).await.unwrap();
        converse(stream, &net.plan, side(net, Role::Client), net.images, limits()).await
    };
    let both = timeout(PATIENCE, async { tokio::join!(server, client) }).await;
    let (server, client) = both.unwrap_or_else(|_| panic!("a party hangs: {fault:?}"));
    (server, client, [counts.of(From::Server), counts.of(From::Client)])
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// What a party's end is, as exit codes have it.
fn code(end: &End) -> u8 {
    match end {
        Ok(_) => 0,
        Err(
            Error::PeerLost { .. }
            | Error::PeerSilent { .. }
            | Error::Overdue { .. }
            | Error::Dismissed { reason: Reason::Overdue | Reason::Leaving, .. },
        ) => 4,
        Err(Error::Disagreement { .. } | Error::Dismissed { reason: Reason::Quota, .. }) => 5,
        Err(
            Error::Violation { .. }
            | Error::Altered { .. }
            | Error::Dismissed { reason: Reason::Violated, .. },
        ) => 6,
        Err(
            Error::Ledger { .. }
            | Error::PoolDry { .. }
            | Error::Undeclared { .. }
            | Error::Unprepared { .. }
            | Error::Invalid { .. },
        ) => 1,
    }
}

/// A sample of the attacks on every message of a session; of fewer in debug builds.
fn attacks(frames: [usize; 2]) -> Vec<(&'static str, Fault)> {
    let mut rng = StdRng::seed_from_u64(SAMPLE);
    println!("sample {SAMPLE}: {} messages of the server, {} of the client", frames[0], frames[1]);
    let of = |from, count| (0..count).map(move |frame| (from, frame));
    let mut attacks = Vec::new();
    for (from, frame) in of(From::Server, frames[0]).chain(of(From::Client, frames[1])) {
        let bit = rng.random_range(0..1 << 20);
        for (name, fate) in [
            ("a bit flipped", Fate::Flip(bit)),
            ("a bit of the payload flipped", Fate::Flip(8 * HEADER + bit % 8)),
            ("swapped", Fate::Swap),
            ("twice", Fate::Twice),
            ("dropped", Fate::Drop),
            ("zeros", Fate::Fill(0)),
            ("ones", Fate::Fill(0xFF)),
        ] {
            let of = if cfg!(debug_assertions) { 24 } else { 4 };
            if rng.random_ratio(1, of) {
                attacks.push((name, Fault { from, frame, fate }));
            }
        }
    }
    attacks
}

/// What came of one attack: the codes of server and client, and how long it took.
fn attack(
    runtime: &Runtime,
    net: &Net,
    expected: &[i64],
    (name, fault): (&str, Fault),
) -> ([u8; 2], Duration) {
    let started = Instant::now();
    let (server, client, _) = runtime.block_on(session(net, Some(fault)));
    let codes = [code(&server), code(&client)];
    if let Ok(found) = &client {
        assert_eq!(found.as_deref(), Some(expected), "{name}, {fault:?}: a wrong result");
    }
    assert!(
        server.is_err() || client.is_ok(),
        "{name}, {fault:?}: the server takes {client:?} for success"
    );
    assert!(
        !codes.contains(&1),
        "{name}, {fault:?}: a party blames itself: {server:?}, {client:?}"
    );
    (codes, started.elapsed())
}

#[test]
fn no_change_of_any_message_is_a_wrong_result() {
    let net = Net::random(SEED, 1);
    let expected = fusion::ideal(&net.plan, &net.weights, &net.integers).unwrap();
    let (server, client, frames) = runtime().block_on(session(&net, None));
    assert_eq!((server.unwrap(), client.unwrap().as_ref()), (None, Some(&expected)));
    let (attacks, next) = (attacks(frames), AtomicUsize::new(0));
    let work = || {
        let (runtime, mut found) = (runtime(), Vec::new());
        while let Some(&(name, fault)) = attacks.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.push((name, fault, attack(&runtime, &net, &expected, (name, fault))));
        }
        found
    };
    let found: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut tally: BTreeMap<(&str, [u8; 2]), (usize, Duration)> = BTreeMap::new();
    for (name, fault, (codes, time)) in found {
        let entry = tally.entry((name, codes)).or_default();
        *entry = (entry.0 + 1, entry.1.max(time));
        // The last messages are the client's, a goodbye and a statement: it has its result by then.
        // Everything else is noticed by both.
        let last = fault.from == From::Client && fault.frame + 2 >= frames[1];
        let harmless = last || ["zeros", "ones", "twice"].contains(&name);
        assert!(harmless || !codes.contains(&0), "{name}, {fault:?}: not noticed: {codes:?}");
    }
    for ((name, [server, client]), (count, longest)) in tally {
        println!(
            "{name}: exit {server} and {client}: {count}, {:.1} s at the most",
            longest.as_secs_f64()
        );
    }
}

/// All that one party sends to the other in a session.
async fn record(net: &Net, of: Role) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, behind) = (listener.local_addr().unwrap(), peer.local_addr().unwrap());
    let wire = async {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(behind).await.unwrap();
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let [mut sent, mut answered] = [Vec::new(), Vec::new()];
        let up = async {
            relay(&mut from_client, &mut to_server, &mut sent).await;
            drop(to_server);
        };
        let down = async {
            relay(&mut from_server, &mut to_client, &mut answered).await;
            drop(to_client);
        };
        tokio::join!(up, down);
        if of == Role::Client { sent } else { answered }
    };
    let server = async {
        let (stream, _) = peer.accept().await.unwrap();
        converse(stream, &net.plan, side(net, Role::Server), net.images, Limits::new(PATIENCE))
            .await
    };
    let client = async {
        let stream = TcpStream::connect(address).await.unwrap();
        converse(stream, &net.plan, side(net, Role::Client), net.images, Limits::new(PATIENCE))
            .await
    };
    let (server, client, said) = tokio::join!(server, client, wire);
    assert!(server.is_ok() && client.is_ok(), "{server:?} {client:?}");
    said
}

async fn relay(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    copy: &mut Vec<u8>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        copy.extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[test]
fn a_recorded_party_is_turned_away_by_a_fresh_one() {
    let (runtime, net) = (runtime(), Net::random(SEED, 1));
    for recorded in [Role::Client, Role::Server] {
        let said = runtime.block_on(record(&net, recorded));
        let end = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let replay = async {
                let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
                let _ = write.write_all(&said).await;
                let _ = copy(&mut read, &mut sink()).await;
            };
            let fresh = async {
                let (stream, _) = listener.accept().await.unwrap();
                converse(
                    stream,
                    &net.plan,
                    side(&net, recorded.peer()),
                    net.images,
                    Limits::new(PATIENCE),
                )
                .await
            };
            tokio::join!(fresh, replay).0
        });
        match end {
            Err(Error::Altered { step, .. }) => assert_eq!(step, "handshake"),
            other => panic!("a recorded {recorded:?}: {other:?}"),
        }
    }
}

#[test]
fn real_processes_end_with_code_6_when_a_message_is_altered() {
    let (runtime, net) = (runtime(), Net::random(SEED, 1));
    let (_, _, frames) = runtime.block_on(session(&net, None));
    let flip = Fate::Flip(8 * HEADER + 5);
    for (from, frame) in [
        (From::Server, 0),
        (From::Server, frames[0] / 2),
        (From::Server, frames[0] - 2),
        (From::Client, frames[1] - 3),
        (From::Client, frames[1] - 2),
        (From::Client, frames[1] - 1),
    ] {
        let server = Server::start(&net.file("plan.json"), &net.file("weights.safetensors"), &[]);
        let fault = Fault { from, frame, fate: flip };
        let (address, _) = runtime.block_on(proxy::start(server.address.clone(), Some(fault)));
        let client = finished(client(&net, &address, &[]), PATIENCE);
        if (from, frame) == (From::Server, 0) {
            // The magic number of the answer: no session, and the server waits on.
            assert_eq!(client.status.code(), Some(6), "{}", stderr(&client));
            server.stopped();
            continue;
        }
        let server = server.finished(PATIENCE);
        assert_eq!(server.status.code(), Some(6), "{fault:?}: {}", stderr(&server));
        if from == From::Client && frame + 2 >= frames[1] {
            // The client's goodbye and its statement: it has its result, and confirmed.
            assert!(client.status.success());
        } else {
            assert_eq!(client.status.code(), Some(6), "{fault:?}: {}", stderr(&client));
            assert!(client.stdout.is_empty(), "no result is printed");
        }
    }
}
