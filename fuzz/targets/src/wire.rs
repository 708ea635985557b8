//! One party of a run of the small network whose peer says whatever the input says.
//!
//! The first byte of the input selects how. Its highest bit says where OTs come from (0
//! SoftSpoken, 1 Ferret), the others:
//! - 0: the rest is all that the peer sends;
//! - 1: the rest follows a handshake that agrees;
//! - else the peer sends what an honest one does, changed by the rest, six bytes a change (see
//!   `Change`).

use std::sync::OnceLock;
use std::time::Duration;

use protocols::execute::{Randomness, Side, converse};
use protocols::ot::OtExtension;
use protocols::plan::Plan;
use protocols::{Channel, Error, Limits, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, sink, split};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::network;

/// What a party brings back.
pub type End = Result<Option<Vec<i64>>, Error>;

/// Longer than any run takes. The parties do not wait for time to pass: what the peer has to say is
/// there from the start.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes in a pipe.
const PIPE: usize = 1 << 16;
/// Bytes of a frame's header, the last four of which are the payload's length.
const HEADER: usize = 12;

/// Frames of a party's handshake: its ask or answer, its hello and its confirmation.
pub const HANDSHAKE: usize = 3;

/// Runs the party of a role against what the input says.
///
/// # Panics
/// Where the party panics, hangs, or blames itself.
pub fn run(role: Role, data: &[u8]) {
    let (mode, rest) = data.split_first().map_or((0, data), |(mode, rest)| (*mode, rest));
    let plan = if mode & 0x80 == 0 { network::plan() } else { network::ferret_plan() };
    let honest = transcript(role.peer(), plan);
    let frames = frames(honest);
    let stream = match mode & 0x7f {
        0 => rest.to_vec(),
        1 => [&honest[..frames[HANDSHAKE - 1].end], rest].concat(),
        _ => rest
            .as_chunks()
            .0
            .iter()
            .fold(honest.to_vec(), |stream, bytes| Change::new(*bytes).apply(stream, &frames)),
    };
    let end = runtime().block_on(against(role, plan, &stream));
    if stream == honest {
        assert_eq!(
            end.as_ref().ok(),
            Some(&logits(role)),
            "an honest peer's bytes give the result"
        );
    }
    // Whatever was changed on the way: there is no wrong result.
    if let Ok(found) = &end {
        assert_eq!(found, &logits(role), "a changed conversation is no success");
    }
    assert!(
        !matches!(
            end,
            Err(Error::PoolDry { .. }
                | Error::Invalid { .. }
                | Error::Ledger { .. }
                | Error::Undeclared { .. })
        ),
        "not this party's fault: {end:?}"
    );
}

/// What an honest party of a role sends in a run of fixed seeds, recorded once for each source of
/// OTs.
pub fn transcript(role: Role, plan: &Plan) -> &'static [u8] {
    static SENT: [OnceLock<[Vec<u8>; 2]>; 2] = [OnceLock::new(), OnceLock::new()];
    let source = usize::from(matches!(plan.extension, OtExtension::Ferret(_)));
    &SENT[source].get_or_init(|| runtime().block_on(record(plan)))[role as usize]
}

/// Where the frames of a transcript lie.
pub fn frames(transcript: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut frames, mut start) = (Vec::new(), 0);
    while let Some(header) = transcript.get(start..start + HEADER) {
        let len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        let end = start + HEADER + len as usize;
        frames.push(start..end);
        start = end;
    }
    frames
}

/// A change of a transcript: byte 0 says what, bytes 1 and 2 in which frame, bytes 3 and 4 where in
/// it, byte 5 is written.
struct Change {
    kind: u8,
    frame: usize,
    at: usize,
    value: u8,
}

impl Change {
    fn new([kind, f0, f1, a0, a1, value]: [u8; 6]) -> Self {
        let (frame, at) = (u16::from_le_bytes([f0, f1]), u16::from_le_bytes([a0, a1]));
        Self { kind, frame: frame.into(), at: at.into(), value }
    }

    fn apply(&self, mut stream: Vec<u8>, frames: &[std::ops::Range<usize>]) -> Vec<u8> {
        let frame = frames[self.frame % frames.len()].clone();
        let at = frame.start + self.at % frame.len();
        // An earlier change may have cut the stream.
        let (at, frame) =
            (at.min(stream.len()), frame.start.min(stream.len())..frame.end.min(stream.len()));
        match self.kind % 6 {
            0 => stream.iter_mut().skip(at).take(1).for_each(|byte| *byte = self.value),
            1 => stream.insert(at, self.value),
            2 => stream.truncate(at),
            3 => drop(stream.drain(frame)),
            4 => drop(stream.splice(frame.start..frame.start, stream[frame.clone()].to_vec())),
            _ => stream[at..frame.end.max(at)].fill(self.value),
        }
        stream
    }
}

async fn against(role: Role, plan: &Plan, stream: &[u8]) -> End {
    let (ours, theirs) = duplex(PIPE);
    let (mut heard, mut said) = split(theirs);
    let peer = async {
        // A party that has seen enough hangs up.
        let _ = said.write_all(stream).await;
        let _ = said.shutdown().await;
    };
    let drain = async { copy(&mut heard, &mut sink()).await };
    let both = async { tokio::join!(party(role, plan, ours), peer, drain).0 };
    match timeout(PATIENCE, both).await {
        Ok(end) => end,
        Err(_) => panic!("the {role:?} hangs"),
    }
}

/// One party, with seeds of its own that never change.
async fn party(role: Role, plan: &Plan, stream: DuplexStream) -> End {
    let input = network::input();
    let side = match role {
        Role::Server => Side::Server(network::shared_weights()),
        Role::Client => Side::Client(&input),
    };
    let randomness = Randomness { nonce: [role as u8; 32], seed: [7 + role as u8; 32] };
    converse(Channel::new(stream, Limits::new(PATIENCE)), plan, side, 1, randomness).await
}

/// What each of two honest parties sends, the server's first.
async fn record(plan: &Plan) -> [Vec<u8>; 2] {
    let (server, server_peer) = duplex(PIPE);
    let (client, client_peer) = duplex(PIPE);
    let (from_server, to_server) = split(server_peer);
    let (from_client, to_client) = split(client_peer);
    let (a, b, sent, answered) = tokio::join!(
        party(Role::Server, plan, server),
        party(Role::Client, plan, client),
        relay(from_server, to_client),
        relay(from_client, to_server),
    );
    assert!(a.is_ok() && b.is_ok(), "honest parties agree: {a:?} {b:?}");
    [sent, answered]
}

/// Passes on all that is said, and keeps a copy.
async fn relay(
    mut from: tokio::io::ReadHalf<DuplexStream>,
    mut to: tokio::io::WriteHalf<DuplexStream>,
) -> Vec<u8> {
    let (mut copy, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        copy.extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
    copy
}

/// What the party of a role gets out of an honest run.
fn logits(role: Role) -> Option<Vec<i64>> {
    match role {
        Role::Server => None,
        Role::Client => fusion::ideal(network::plan(), network::weights(), &network::input()).ok(),
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("invariant: a runtime of one thread can always be built")
    })
}
