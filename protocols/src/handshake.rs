//! The handshake, before any cryptography: version, plan, roles and load, and a fresh session
//! number from both sides.
//!
//! The number is a hash of both hellos, whole, and of what the connection below is bound to. Each
//! party then says that it has it, so that a hello that was altered on the way, or a conversation
//! that was recorded, ends here. In the clear anyone can compute the number: it says that both
//! parties have seen the same hellos, not who they are. Below TLS it is nobody else's.

use crate::ask::{self, MAGIC, MAX_LEN, VERSION};
use crate::bits::hex;
use crate::channel::STATEMENT;
use crate::load::{Hints, Load, Reveal};
use crate::{Channel, Cost, Domain, Error, Role};

const LEN: usize = 8 + 4 + 1 + 1 + 32 + 32 + 4 + 4 + 4 + 4 + 1 + 8;

/// What both parties have agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The session's number: fresh, public, the same at both.
    pub id: [u8; 32],
    /// What the client asked for and the server allowed.
    pub load: Load,
    /// Bytes that the server is willing to spend on the session: see
    /// [`allowed`](crate::allowance::allowed).
    pub memory: u64,
}

/// What this party brings.
#[derive(Clone, Debug)]
pub struct Hello {
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
    /// Server: bytes that it is willing to spend on the session, `u64::MAX` for no limit. Client:
    /// 0.
    pub memory: u64,
    /// What both ends know of the connection so far, such as what TLS exports and what was asked:
    /// see [`Doorstep`](crate::ask::Doorstep); zeros without. It enters the session's number, and
    /// is not sent.
    pub binding: [u8; 32],
}

/// What the handshake moves: what the client asks and the server answers, hellos, then
/// confirmations.
pub(crate) const fn cost() -> Cost {
    ask::cost().then(Cost::exchange(LEN)).then(Cost::exchange(STATEMENT))
}

/// Greets the peer, and confirms with it that both have seen the same hellos.
///
/// # Errors
/// [`Error::Disagreement`] with both values, [`Error::Violation`] where the peer speaks another
/// protocol, [`Error::Altered`] where a hello is not what was sent. The peer has been told, and
/// the channel is closed then.
pub async fn shake_hands(channel: &mut Channel, ours: &Hello) -> Result<Agreement, Error> {
    channel.enter_step(0, "handshake", Cost::ZERO, 0.0);
    let agreed = agree_and_confirm(channel, ours).await;
    if let Err(error) = &agreed {
        channel.farewell(error).await;
    }
    agreed
}

async fn agree_and_confirm(channel: &mut Channel, ours: &Hello) -> Result<Agreement, Error> {
    let hello = encode(ours);
    channel.send(&hello)?;
    let reply = channel.receive_up_to(MAX_LEN).await?;
    // The peer gets to see a difference too, even where this party ends because of it.
    channel.flushed().await;
    let agreement = agree_on(channel, ours, (&hello, &reply))?;
    let confirmation = |role: Role| Domain::Confirmation.derive(&agreement.id, &[role as u64]);
    let theirs = channel.exchange(&confirmation(ours.role)).await?;
    if theirs == confirmation(ours.role.peer()) {
        return Ok(agreement);
    }
    let (step, what) = (channel.step().to_owned(), "the hellos are not what was sent");
    Err(Error::Altered { step, what })
}

/// What both hellos come to.
fn agree_on(
    channel: &Channel,
    ours: &Hello,
    (own, reply): (&[u8], &[u8]),
) -> Result<Agreement, Error> {
    let magic = reply.split_at_checked(MAGIC.len()).filter(|(magic, _)| *magic == MAGIC);
    let Some((_, rest)) = magic.filter(|(_, rest)| rest.len() >= size_of_val(&VERSION)) else {
        let start = &reply[..reply.len().min(MAGIC.len())];
        return Err(channel.violation("the hello of pq", format!("{start:02x?}")));
    };
    let mut fields = Fields(rest);
    let version = u32::from_le_bytes(fields.take());
    agree("protocol version", &VERSION, &version)?;
    if reply.len() != LEN {
        return Err(channel.violation(format!("a hello of {LEN} bytes"), reply.len()));
    }
    let [role] = fields.take();
    if role != ours.role.peer() as u8 {
        let (ours, theirs) = (role_name(ours.role as u8).into(), role_name(role).into());
        return Err(Error::Disagreement { field: "role", ours, theirs });
    }
    let [reveals] = fields.take();
    agree("reveal", &ours.reveals.name(), &reveal_name(reveals))?;
    let plan: [u8; 32] = fields.take();
    agree("plan hash", &hex(&ours.plan), &hex(&plan))?;
    let _nonce: [u8; 32] = fields.take();
    let mut count = || u32::from_le_bytes(fields.take()) as usize;
    let (images, prepared, inferences, last) = (count(), count(), count(), count());
    let [hints] = fields.take();
    let hints = hints_of(hints)
        .ok_or_else(|| channel.violation("hints that are known or sent, 0 or 1", hints))?;
    let theirs = Load { images, prepared, inferences, last, hints };
    let load = settle(ours, &theirs)?;
    let memory = u64::from_le_bytes(fields.take());
    let (memory, server, client) = match ours.role {
        Role::Server => (ours.memory, own, reply),
        Role::Client => (memory, reply, own),
    };
    Ok(Agreement { id: Domain::Number.bind(&ours.binding, &[server, client]), load, memory })
}

/// What the client asks for, if it is a load at all and the server allows so many images at a time.
fn settle(ours: &Hello, theirs: &Load) -> Result<Load, Error> {
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

fn encode(hello: &Hello) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.push(hello.role as u8);
    bytes.push(hello.reveals as u8);
    bytes.extend_from_slice(&hello.plan);
    bytes.extend_from_slice(&hello.nonce);
    let Load { images, prepared, inferences, last, hints } = hello.load;
    for count in [images, prepared, inferences, last] {
        bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }
    bytes.push(hints as u8);
    bytes.extend_from_slice(&hello.memory.to_le_bytes());
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

const fn hints_of(hints: u8) -> Option<Hints> {
    match hints {
        0 => Some(Hints::Sent),
        1 => Some(Hints::Known),
        _ => None,
    }
}

const fn role_name(role: u8) -> &'static str {
    match role {
        0 => "server",
        1 => "client",
        _ => "unknown",
    }
}

/// Fixed-size fields of a message whose length was checked.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("invariant: a hello has its length");
        self.0 = rest;
        *field
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Limits;

    fn hello(role: Role, images: usize) -> Hello {
        let (reveals, load) = (Reveal::Logits, Load::one(images));
        let memory = if role == Role::Server { 1 << 40 } else { 0 };
        Hello {
            role,
            reveals,
            plan: [1; 32],
            load,
            nonce: [role as u8; 32],
            memory,
            binding: [0; 32],
        }
    }

    async fn meet(a: Hello, b: Hello) -> (Result<Agreement, Error>, Result<Agreement, Error>) {
        let (mut left, mut right) = Channel::pair(Limits::default());
        tokio::join!(shake_hands(&mut left, &a), shake_hands(&mut right, &b))
    }

    #[tokio::test]
    async fn peers_that_agree_share_a_number_and_a_batch() {
        let (a, b) = meet(hello(Role::Server, 64), hello(Role::Client, 3)).await;
        let a = a.unwrap();
        assert_eq!((a.load, a.memory), (Load::one(3), 1 << 40));
        assert_eq!(a, b.unwrap());
    }

    #[tokio::test]
    async fn ends_of_two_connections_do_not_meet() {
        let other = Hello { binding: [1; 32], ..hello(Role::Client, 3) };
        let (a, b) = meet(hello(Role::Server, 64), other).await;
        assert!(matches!((a, b), (Err(Error::Altered { .. }), Err(Error::Altered { .. }))));
    }

    #[tokio::test]
    async fn more_may_be_run_than_is_prepared_at_a_time() {
        let load = Load { last: 1, ..Load::new(3, 2, 500) };
        let asked = Hello { load, ..hello(Role::Client, 1) };
        let (a, b) = meet(hello(Role::Server, 6), asked).await;
        assert_eq!((a.unwrap().load, b.unwrap().load), (load, load));
    }

    #[tokio::test]
    async fn whether_hints_are_known_is_what_the_client_says() {
        for hints in [Hints::Sent, Hints::Known] {
            let load = Load::one(3).with(hints);
            let asked = Hello { load, ..hello(Role::Client, 3) };
            let (a, b) = meet(hello(Role::Server, 64), asked).await;
            assert_eq!((a.unwrap().load, b.unwrap().load), (load, load));
        }
        let (mut left, mut right) = Channel::pair(Limits::new(Duration::from_millis(500)));
        let mut bytes = encode(&hello(Role::Client, 1));
        bytes[LEN - 9] = 2;
        right.send(&bytes).unwrap();
        let result = shake_hands(&mut left, &hello(Role::Server, 1)).await;
        assert!(matches!(result, Err(Error::Violation { .. })), "{result:?}");
    }

    #[tokio::test]
    async fn the_number_is_of_every_field_of_both_hellos() {
        let base = || [hello(Role::Server, 64), hello(Role::Client, 3)];
        let mut all = vec![base()];
        for party in 0..2 {
            let mut more = [base(), base(), base(), base()];
            more[0][party].nonce[31] ^= 1;
            more[1][party].memory += 1;
            more[2][party].load = Load::new(4, 2, 1);
            more[3][party].load.hints = Hints::Known;
            all.extend(more);
        }
        all.push(base().map(|hello| Hello { plan: [3; 32], ..hello }));
        all.push(base().map(|hello| Hello { reveals: Reveal::Label, ..hello }));
        let mut numbers = std::collections::HashSet::new();
        for [a, b] in all {
            let (a, b) = meet(a, b).await;
            let (a, b) = (a.unwrap(), b.unwrap());
            assert_eq!(a.id, b.id);
            assert!(numbers.insert(a.id), "the same number twice");
        }
    }

    /// Both ends, where every byte that the first sends in its `n`th write-sized message is passed
    /// on by `tamper`.
    async fn meet_through(
        tamper: impl Fn(usize, &mut Vec<u8>) + Send + 'static,
    ) -> (Result<Agreement, Error>, Result<Agreement, Error>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, duplex, split};
        let (server, server_peer) = duplex(1 << 12);
        let (client, client_peer) = duplex(1 << 12);
        let (mut from_server, mut to_server) = split(server_peer);
        let (mut from_client, mut to_client) = split(client_peer);
        tokio::spawn(async move {
            let _ = copy(&mut from_client, &mut to_server).await;
            let _ = to_server.shutdown().await;
        });
        tokio::spawn(async move {
            for message in [LEN, STATEMENT] {
                let mut bytes = vec![0; 12 + message];
                if from_server.read_exact(&mut bytes).await.is_err() {
                    return;
                }
                tamper(message, &mut bytes);
                let _ = to_client.write_all(&bytes).await;
            }
            let _ = copy(&mut from_server, &mut to_client).await;
            let _ = to_client.shutdown().await;
        });
        let mut server = Channel::new(server, Limits::default());
        let mut client = Channel::new(client, Limits::default());
        let (a, b) = (hello(Role::Server, 64), hello(Role::Client, 3));
        tokio::join!(shake_hands(&mut server, &a), shake_hands(&mut client, &b))
    }

    #[tokio::test]
    async fn a_hello_or_a_confirmation_that_was_altered_ends_both_parties() {
        let nonce = 12 + 8 + 4 + 1 + 1 + 32;
        for (message, at) in [(LEN, nonce), (LEN, nonce + 31), (LEN, 12 + LEN - 1), (STATEMENT, 12)]
        {
            let flip = move |len: usize, bytes: &mut Vec<u8>| {
                if len == message {
                    bytes[at] ^= 1;
                }
            };
            let (server, client) = meet_through(flip).await;
            assert!(matches!(client, Err(Error::Altered { .. })), "{message} {at}: {client:?}");
            // Where only the confirmation was altered, the server has agreed, and learns it with
            // the next message.
            if message == LEN {
                assert!(matches!(server, Err(Error::Altered { .. })), "{message} {at}: {server:?}");
            }
        }
    }

    #[tokio::test]
    async fn another_version_is_a_disagreement_however_long_its_hello_is() {
        for len in [12, 90, LEN, LEN + 8] {
            let (mut left, mut right) = Channel::pair(Limits::new(Duration::from_millis(500)));
            let mut bytes = vec![0; len];
            bytes[..8].copy_from_slice(&MAGIC);
            bytes[8] = 2;
            right.send(&bytes).unwrap();
            let result = shake_hands(&mut left, &hello(Role::Server, 1)).await;
            let named =
                matches!(result, Err(Error::Disagreement { field: "protocol version", .. }));
            assert!(named, "{len}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_difference_names_the_field_and_both_values() {
        let plan = Hello { plan: [2; 32], ..hello(Role::Client, 1) };
        let several = |images, prepared, inferences| Hello {
            load: Load::new(images, prepared, inferences),
            ..hello(Role::Client, 1)
        };
        for (peer, expected) in [
            (Hello { reveals: Reveal::Label, ..hello(Role::Client, 1) }, "reveal"),
            (plan, "plan hash"),
            (several(1, 65, 1), "batch size"),
            (several(2, 2, 1 << 20), "inferences"),
            (several(2, 2, 0), "inferences"),
            (hello(Role::Client, 65), "batch size"),
            (hello(Role::Client, 0), "batch size"),
            (hello(Role::Server, 1), "role"),
        ] {
            let (a, b) = meet(hello(Role::Server, 64), peer).await;
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
        for len in [1, 8, LEN, MAX_LEN + 1] {
            let (mut left, mut right) = Channel::pair(Limits::new(Duration::from_millis(500)));
            right.send(&vec![b'x'; len]).unwrap();
            let result = shake_hands(&mut left, &hello(Role::Server, 1)).await;
            assert!(matches!(result, Err(Error::Violation { .. })), "{len}: {result:?}");
        }
    }
}
