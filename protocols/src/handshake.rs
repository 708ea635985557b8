//! The handshake, before any cryptography: version, plan, roles and load, and a fresh session number from both sides.

use crate::plan::{Load, Reveal};
use crate::{Channel, Cost, Error, Role};

/// The version of everything that crosses the wire.
const VERSION: u32 = 3;
const MAGIC: [u8; 8] = *b"pq-proto";
const LEN: usize = 8 + 4 + 1 + 1 + 32 + 32 + 4 + 4 + 4 + 4 + 8;

/// What both parties have agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The session's number: fresh, public, the same at both.
    pub id: [u8; 32],
    /// What the client asked for and the server allowed.
    pub load: Load,
    /// Bytes that the server is willing to spend on the session: see [`allowed`](crate::allowance::allowed).
    pub memory: u64,
}

/// What this party brings.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// Which party this is.
    pub role: Role,
    /// What the client is to learn.
    pub reveals: Reveal,
    /// The hash of its plan.
    pub plan: [u8; 32],
    /// Client: what it asks for. Server: the most images that it serves at a time.
    pub load: Load,
    /// Fresh random bytes.
    pub nonce: [u8; 32],
    /// Server: bytes that it is willing to spend on the session. Client: 0.
    pub memory: u64,
}

/// What the handshake moves.
pub(crate) const fn cost() -> Cost {
    Cost::exchange(LEN)
}

/// Greets the peer.
///
/// # Errors
/// [`Error::Disagreement`] with both values, [`Error::Violation`] where the peer speaks another protocol.
pub async fn greet(channel: &mut Channel, ours: &Greeting) -> Result<Agreement, Error> {
    let reply = channel.exchange(&encode(ours)).await?;
    // The peer gets to see a difference too, even where this party ends because of it.
    channel.flushed().await;
    let (magic, rest) = reply.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(channel.violation("the greeting of pq", format!("{magic:02x?}")));
    }
    let mut fields = Fields(rest);
    let version = u32::from_le_bytes(fields.take());
    agree("protocol version", &VERSION, &version)?;
    let [role] = fields.take();
    if role != ours.role.peer() as u8 {
        let (ours, theirs) = (role_name(ours.role as u8).into(), role_name(role).into());
        return Err(Error::Disagreement { field: "role", ours, theirs });
    }
    let [reveals] = fields.take();
    agree("reveal", &ours.reveals.name(), &reveal_name(reveals))?;
    let plan: [u8; 32] = fields.take();
    agree("plan hash", &hex(&ours.plan), &hex(&plan))?;
    let nonce: [u8; 32] = fields.take();
    let mut count = || u32::from_le_bytes(fields.take()) as usize;
    let theirs = Load { images: count(), prepared: count(), inferences: count(), last: count() };
    let load = settle(ours, &theirs)?;
    let memory = u64::from_le_bytes(fields.take());
    let memory = if ours.role == Role::Server { ours.memory } else { memory };
    let (server, client) = match ours.role {
        Role::Server => (ours.nonce, nonce),
        Role::Client => (nonce, ours.nonce),
    };
    let id = blake3::Hasher::new().update(&MAGIC).update(&server).update(&client).update(&plan).finalize();
    Ok(Agreement { id: id.into(), load, memory })
}

/// What the client asks for, if it is a load at all and the server allows so many images at a time.
fn settle(ours: &Greeting, theirs: &Load) -> Result<Load, Error> {
    let (asked, most) = match ours.role {
        Role::Client => (ours.load, theirs.at_a_time()),
        Role::Server => (*theirs, ours.load.at_a_time()),
    };
    let (field, asked_for, allowed) = if asked.at_a_time() == 0 || asked.at_a_time() > most {
        ("batch size", format!("{} images", asked.at_a_time()), format!("at most {most}"))
    } else if asked.check().is_err() {
        let Load { images, inferences, last, .. } = asked;
        let asked = format!("{inferences} of {images} images, the last of {last}");
        ("inferences", asked, "at least one, of 2^20 images in all".into())
    } else {
        return Ok(asked);
    };
    let (ours, theirs) = match ours.role {
        Role::Client => (asked_for, allowed),
        Role::Server => (allowed, asked_for),
    };
    Err(Error::Disagreement { field, ours, theirs })
}

fn encode(greeting: &Greeting) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.push(greeting.role as u8);
    bytes.push(greeting.reveals as u8);
    bytes.extend_from_slice(&greeting.plan);
    bytes.extend_from_slice(&greeting.nonce);
    let Load { images, prepared, inferences, last } = greeting.load;
    for count in [images, prepared, inferences, last] {
        bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }
    bytes.extend_from_slice(&greeting.memory.to_le_bytes());
    bytes
}

fn agree<T: PartialEq + ToString>(field: &'static str, ours: &T, theirs: &T) -> Result<(), Error> {
    if ours == theirs {
        return Ok(());
    }
    Err(Error::Disagreement { field, ours: ours.to_string(), theirs: theirs.to_string() })
}

const fn reveal_name(reveals: u8) -> &'static str {
    match reveals {
        0 => Reveal::Logits.name(),
        1 => Reveal::Label.name(),
        _ => "something unknown",
    }
}

const fn role_name(role: u8) -> &'static str {
    match role {
        0 => "server",
        1 => "client",
        _ => "unknown",
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fixed-size fields of a message whose length was checked.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("invariant: a greeting has its length");
        self.0 = rest;
        *field
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn greeting(role: Role, images: usize) -> Greeting {
        let (reveals, load) = (Reveal::Logits, Load::one(images));
        let memory = if role == Role::Server { 1 << 30 } else { 0 };
        Greeting { role, reveals, plan: [1; 32], load, nonce: [role as u8; 32], memory }
    }

    async fn meet(a: Greeting, b: Greeting) -> (Result<Agreement, Error>, Result<Agreement, Error>) {
        let (mut left, mut right) = Channel::pair(Limits::default());
        tokio::join!(greet(&mut left, &a), greet(&mut right, &b))
    }

    #[tokio::test]
    async fn peers_that_agree_share_a_number_and_a_batch() {
        let (a, b) = meet(greeting(Role::Server, 64), greeting(Role::Client, 3)).await;
        let agreement = a.unwrap();
        assert_eq!(agreement.memory, 1 << 30);
        assert_eq!(agreement, b.unwrap());
    }

    #[tokio::test]
    async fn more_may_be_run_than_is_prepared_at_a_time() {
        let load = Load { last: 1, ..Load::new(3, 2, 500) };
        let asked = Greeting { load, ..greeting(Role::Client, 1) };
        let (a, b) = meet(greeting(Role::Server, 6), asked).await;
        assert_eq!((a.unwrap().load, b.unwrap().load), (load, load));
    }

    #[tokio::test]
    async fn a_difference_names_the_field_and_both_values() {
        let plan = Greeting { plan: [2; 32], ..greeting(Role::Client, 1) };
        let several = |images, prepared, inferences| Greeting {
            load: Load::new(images, prepared, inferences),
            ..greeting(Role::Client, 1)
        };
        for (peer, expected) in [
            (Greeting { reveals: Reveal::Label, ..greeting(Role::Client, 1) }, "reveal"),
            (plan, "plan hash"),
            (several(1, 65, 1), "batch size"),
            (several(2, 2, 1 << 20), "inferences"),
            (several(2, 2, 0), "inferences"),
            (greeting(Role::Client, 65), "batch size"),
            (greeting(Role::Client, 0), "batch size"),
            (greeting(Role::Server, 1), "role"),
        ] {
            let (a, b) = meet(greeting(Role::Server, 64), peer).await;
            for side in [a, b] {
                match side {
                    Err(Error::Disagreement { field, ours, theirs }) => {
                        assert_eq!(field, expected);
                        assert!(field == "role" || ours != theirs);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn another_protocol_is_a_violation() {
        let (mut left, mut right) = Channel::pair(Limits::default());
        right.send(&[b'x'; LEN]).unwrap();
        let result = greet(&mut left, &greeting(Role::Server, 1)).await;
        assert!(matches!(result, Err(Error::Violation { .. })));
    }
}
