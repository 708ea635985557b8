//! SoftSpokenOT: many correlated OTs out of 128 base OTs, in both directions.
//!
//! **Functionality.** The pools grow: the sender gets `K` with `lsb(K) = 0` for its one `Δ` of the
//! session, the receiver `M = K xor x Δ` with random `x = lsb(M)`.
//!
//! **Protocol** (Roy: SoftSpokenOT, Crypto 2022, sections 3 and 4, semi-honest, repetition code).
//! Cut `Δ` into `N = ceil(128 / k)` digits `Δ_i` of `k` bits (the last may be narrower). Once per
//! session ([`Setup`]), the receiver gets `N` trees, of which the sender knows all leaves but
//! number `Δ_i`. Then, for one bit of the stream `r_y` of every leaf `y` ([`Extend`]):
//! 1. The receiver takes `u_i = sum of r_y` and, for every bit `b` of a digit, `v_ib = sum of r_y
//!    over the y with bit b`. The sender takes `w_ib = sum of r_y over the y such that y xor Δ_i
//!    has bit b`, in which leaf `Δ_i` does not occur, so `w_ib = v_ib xor Δ_ib u_i`.
//! 2. The choice is `x = u_0`. The receiver sends `c_i = u_i xor x` for `i > 0`, the sender adds
//!    `Δ_ib c_i` to `w_ib`.
//! 3. Now `w_ib = v_ib xor Δ_ib x` everywhere. `K` has the bits `w_ib`, `M` the bits `v_ib`. Bit 0
//!    of `Δ` is 1, so bit 0 is replaced by 0 in `K` and by `x` in `M`.
//!
//! **Cost:** `N - 1` bits an OT from its receiver: 127, 63, 42, 31, 25, 21, 18, 15 for `k`
//! from 1 to 8, and `2^k N` bits of AES at either party. Messages of 2^16 OTs; they depend on
//! nothing that the peer sends, so all of them together are one round.
//!
//! **Security:** semi-honest. Leaf `Δ_i` is unknown to the sender and its stream is part of `u_i`,
//! which makes every `c_i` and `x` pseudorandom to it; the receiver sees nothing that depends on
//! `Δ`. Streams are AES in counter mode under the leaves, positions advance through the session and
//! are never used again.

mod batch;
mod setup;

use super::pool::PIECE;
use crate::{Cost, Error, Operator, Role, Session};
#[cfg(test)]
use batch::BATCH;
pub(crate) use batch::SoftSpoken;
use batch::corrections_len;
pub use setup::{Setup, TreeDepth};

/// OTs of one message.
const CHUNK: usize = PIECE;

/// Messages that a party sends ahead of those that it has received. The peer's reader holds more
/// than twice as many, so neither ever waits for a peer that waits for it.
const AHEAD: usize = 12;

/// Adds OTs to both pools. Runs after [`Setup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extend {
    /// Depth of the trees that were set up.
    pub depth: TreeDepth,
    /// OTs to add of which the server is the sender.
    pub server: usize,
    /// OTs to add of which the client is the sender.
    pub client: usize,
}

impl Operator for Extend {
    type Input = ();
    type Output = ();

    const NAME: &'static str = "SoftSpoken";

    fn ideal(&self, (): &()) {}

    fn cost(&self) -> Cost {
        one_way(self.depth, Role::Server, self.server).beside(one_way(
            self.depth,
            Role::Client,
            self.client,
        ))
    }

    async fn run(&self, session: &mut Session, (): ()) -> Result<(), Error> {
        let found = session.softspoken.take_if(|extension| extension.depth == self.depth);
        let Some(mut extension) = found else {
            return Err(Error::invalid(
                "trees of the extension",
                format!("depth {}", self.depth),
                "another, or none",
            ));
        };
        let (sent, received) = match session.role() {
            Role::Server => (self.server, self.client),
            Role::Client => (self.client, self.server),
        };
        converse(session, &mut extension, sent, received).await?;
        session.softspoken = Some(extension);
        Ok(())
    }
}

/// Both directions at the same time: chunk `i` goes out, then chunk `i - AHEAD` comes in.
async fn converse(
    session: &mut Session,
    extension: &mut SoftSpoken,
    sent: usize,
    received: usize,
) -> Result<(), Error> {
    // No message depends on what arrives meanwhile: all are of the turn in which the stream begins,
    // one round.
    let turn = session.channel.turn();
    let mut message = Vec::new();
    let (mut outgoing, mut incoming) = (chunks(received), chunks(sent));
    let steps = outgoing.len().max(if sent == 0 { 0 } else { incoming.len() + AHEAD });
    for step in 0..steps {
        if let Some(count) = outgoing.next() {
            let mut keys = session.pools.piece(count);
            message.resize(corrections_len(extension.depth, count), 0);
            extension.received.extend(&mut keys, &mut message);
            session.channel.send_in(turn, &message)?;
            session.pools.add_received(keys);
            session.channel.drained().await?;
        }
        if step >= AHEAD
            && let Some(count) = incoming.next()
        {
            let corrections =
                session.channel.receive(corrections_len(extension.depth, count)).await?;
            let mut keys = session.pools.piece(count);
            extension.sent.extend(&mut keys, &corrections);
            session.pools.add_sent(keys);
        }
    }
    Ok(())
}

/// The lengths of the chunks that make up `count` OTs.
fn chunks(count: usize) -> impl ExactSizeIterator<Item = usize> {
    (0..count.div_ceil(CHUNK)).map(move |chunk| CHUNK.min(count - chunk * CHUNK))
}

/// The cost of OTs of which `sender` is the sender: their receiver sends.
fn one_way(depth: TreeDepth, sender: Role, count: usize) -> Cost {
    let whole = message(depth, sender, CHUNK) * (count / CHUNK) as u64;
    let cost = whole.then(message(depth, sender, count % CHUNK));
    Cost { rounds: cost.rounds.min(1), ..cost }
}

/// The message of one chunk.
fn message(depth: TreeDepth, sender: Role, count: usize) -> Cost {
    Cost::message(sender.peer(), corrections_len(depth, count))
}

#[cfg(test)]
mod tests;
