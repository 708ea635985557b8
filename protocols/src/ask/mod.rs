//! Before the handshake: the client says what it wants, and the server answers.
//!
//! A connection begins with the client's word, so that one server may have several networks and
//! may say that it is busy. Both messages have one length each, so that what they take is part of
//! the price. Their bytes enter the session's number: see [`Doorstep::into_parts`].
//!
//! An ask, integers in little-endian order: the magic (8 bytes) and the version (4), what is wanted
//! (1), how the network is named (1), its name or hash (64, zeros behind it), the images of an
//! inference (4), and the inferences that are prepared together (4). An answer: magic and version,
//! its kind (1), seconds until it is worth another try (4), the hash of the plan (32), the length
//! of its file (8), the digest of its hints (32), and the length of theirs (8).

use std::fmt;

use crate::{Channel, Cost, Domain, Error, Role};

/// The version of everything that crosses the wire.
pub(crate) const VERSION: u32 = 7;
pub(crate) const MAGIC: [u8; 8] = *b"pq-proto";
/// Whatever an ask, an answer or a hello holds in other versions, it is no longer than this.
pub(crate) const MAX_LEN: usize = 1 << 10;
/// Bytes of an ask and of an answer.
const ASK: usize = 8 + 4 + 1 + 1 + NAME + 4 + 4;
const ANSWER: usize = 8 + 4 + 1 + 4 + 32 + 8 + 32 + 8;
/// The longest name of a network.
pub const NAME: usize = 64;
/// The longest file of a plan that is sent.
pub const MAX_PLAN: u64 = 64 << 20;
/// The longest file of hints that is sent.
pub const MAX_HINTS: u64 = 1 << 30;
/// An ask belongs to the handshake, for people.
const STEP: &str = "handshake";
/// The most asks of one connection.
const ASKS: usize = 16;
/// Bytes of a file between two looks at what waits to be sent.
const CHUNK: usize = 1 << 20;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What it wants.
    pub want: Want,
    /// Of which network.
    pub network: Named,
    /// Of a session: the images of an inference.
    pub images: u32,
    /// Of a session: the inferences that are prepared together.
    pub prepared: u32,
}

/// What a client may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Want {
    /// A session.
    Session = 0,
    /// To know what there is: the answer alone.
    Description = 1,
    /// The file of the plan, behind the answer.
    Plan = 2,
    /// The file of the public hints, behind the answer.
    Hints = 3,
}

/// How a client names a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// By the hash of its plan.
    Hash([u8; 32]),
    /// By the name that the server has given it: see [`check_name`].
    Name(String),
}

/// What a server says to an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is granted.
    Ok(Offer),
    /// Not now: there is no room. It is worth another try in so many seconds.
    Busy(u32),
    /// There is no such network, for this client at least.
    Unknown,
    /// The client has had all images that it may have for now; in so many seconds it has more.
    Quota(u32),
}

/// What a server has of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The hash of the plan.
    pub plan: [u8; 32],
    /// Bytes of the plan's file.
    pub plan_len: u64,
    /// The digest of the hints that the plan names, zeros where it names none.
    pub hints: [u8; 32],
    /// Bytes of their file, 0 where there is none.
    pub hints_len: u64,
}

/// What an ask and its answer move.
pub(crate) const fn cost() -> Cost {
    Cost::message(Role::Client, ASK).then(Cost::message(Role::Server, ANSWER))
}

/// Checks the name of a network: letters, digits, `-`, `_` and `.`, at most [`NAME`] of them, the
/// first one a letter or a digit.
///
/// # Errors
/// [`Error::Invalid`] with the name.
pub fn check_name(name: &str) -> Result<(), Error> {
    let first = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if first && name.len() <= NAME && name.bytes().all(is_plain) {
        return Ok(());
    }
    let expected = format!("1 to {NAME} letters, digits, -, _ and ., a letter or digit first");
    Err(Error::invalid("name of a network", expected, format!("{name:?}")))
}

const fn is_plain(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.')
}

/// One end of a connection on which no session has begun.
pub struct Doorstep {
    channel: Channel,
    /// What both ends have said so far, and what the connection below is bound to.
    binding: [u8; 32],
    /// The ask that waits for an answer.
    asked: Vec<u8>,
    /// Asks that were heard.
    heard: usize,
}

impl Doorstep {
    /// Of a new channel; `binding` is what both ends know of the connection below and nobody else
    /// has, zeros without.
    pub const fn new(channel: Channel, binding: [u8; 32]) -> Self {
        Self { channel, binding, asked: Vec::new(), heard: 0 }
    }

    /// The client's: asks, and waits for the answer as long as a server may let it wait in a queue.
    ///
    /// # Errors
    /// Where the peer is lost, [`Error::Disagreement`] where it speaks another version, and
    /// [`Error::Violation`] where it does not answer.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Answer, Error> {
        let answer = self.ask_and_hear(ask).await;
        self.told(answer).await
    }

    async fn ask_and_hear(&mut self, ask: &Ask) -> Result<Answer, Error> {
        self.channel.enter_step(0, STEP, Cost::ZERO, 0.0);
        let asked = ask.encode()?;
        self.channel.send(&asked)?;
        // A server may have a queue.
        self.channel.wait_for_request();
        let bytes = self.channel.receive_up_to(MAX_LEN).await?;
        let mut fields = self.open(&bytes, ANSWER)?;
        let answer = Answer::decode(&mut fields)
            .map_err(|(expected, found)| self.channel.violation(expected, found))?;
        self.bind(&asked, &bytes);
        Ok(answer)
    }

    /// The server's: hears what the client wants. An answer follows.
    ///
    /// # Errors
    /// Those of [`Doorstep::ask`].
    pub async fn hear(&mut self) -> Result<Ask, Error> {
        let ask = self.hear_one().await;
        self.told(ask).await
    }

    async fn hear_one(&mut self) -> Result<Ask, Error> {
        self.channel.enter_step(0, STEP, Cost::ZERO, 0.0);
        let bytes = self.channel.receive_up_to(MAX_LEN).await?;
        // Asks cost little, and not nothing: no connection has them without end.
        self.heard += 1;
        if self.heard > ASKS {
            return Err(self.channel.violation(format!("{ASKS} asks"), "one more"));
        }
        let mut fields = match self.open(&bytes, ASK) {
            Ok(fields) => fields,
            Err(error) => {
                // A client of another version reads this one's number there.
                self.channel.send(&Answer::Unknown.encode())?;
                return Err(error);
            }
        };
        let ask = Ask::decode(&mut fields)
            .map_err(|(expected, found)| self.channel.violation(expected, found))?;
        self.asked = bytes;
        Ok(ask)
    }

    /// The server's: answers the ask that it has heard.
    ///
    /// # Errors
    /// Where the peer is lost.
    pub fn answer(&mut self, answer: &Answer) -> Result<(), Error> {
        let bytes = answer.encode();
        self.channel.send(&bytes)?;
        let asked = std::mem::take(&mut self.asked);
        self.bind(&asked, &bytes);
        Ok(())
    }

    /// The server's: sends a file, no faster than the client takes it.
    ///
    /// # Errors
    /// Where the peer is lost or too slow.
    pub async fn send_file(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.channel.enter_step(0, "file", Cost::message(Role::Server, bytes.len()), 0.0);
        for chunk in bytes.chunks(CHUNK) {
            // No more waits in memory than the channel's high-water mark, however slow the client.
            self.channel.send(chunk)?;
            self.channel.drained().await?;
        }
        Ok(())
    }

    /// The client's: receives a file of a known length.
    ///
    /// # Errors
    /// Where the peer is lost, too slow, or sends something else.
    pub async fn receive_file(&mut self, len: u64) -> Result<Vec<u8>, Error> {
        // An answer that was decoded has no length beyond 2^30.
        let len = len as usize;
        self.channel.enter_step(0, "file", Cost::message(Role::Server, len), 0.0);
        let file = self.channel.receive(len).await;
        self.told(file).await
    }

    /// Ends a connection without a session.
    pub async fn part(self) {
        self.channel.part().await;
    }

    /// The channel, for the handshake, and what it is bound to: the connection below, and all that
    /// was asked and answered.
    pub fn into_parts(self) -> (Channel, [u8; 32]) {
        (self.channel, self.binding)
    }

    /// The fields behind the version, of a message of `len` bytes.
    fn open<'a>(&self, bytes: &'a [u8], len: usize) -> Result<Fields<'a>, Error> {
        let rest = bytes.strip_prefix(&MAGIC).and_then(|rest| rest.split_first_chunk());
        let Some((version, rest)) = rest else {
            let start = &bytes[..bytes.len().min(MAGIC.len())];
            return Err(self.channel.violation("a first message of pq", format!("{start:02x?}")));
        };
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            let (ours, theirs) = (VERSION.to_string(), version.to_string());
            return Err(Error::Disagreement { field: "protocol version", ours, theirs });
        }
        if bytes.len() != len {
            return Err(self.channel.violation(format!("{len} bytes"), bytes.len()));
        }
        Ok(Fields(rest))
    }

    fn bind(&mut self, asked: &[u8], answered: &[u8]) {
        // A chain: no exchange can be left out, and none moved.
        self.binding = Domain::Ask.bind(&self.binding, &[asked, answered]);
    }

    /// Tells the peer of an error that is its business.
    async fn told<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &outcome {
            self.channel.farewell(error).await;
        }
        outcome
    }
}

/// What was expected, and what was found.
type Wrong = (String, String);

impl Ask {
    /// For a session on a plan.
    pub const fn session(plan: [u8; 32], images: u32, prepared: u32) -> Self {
        Self { want: Want::Session, network: Named::Hash(plan), images, prepared }
    }

    /// For something that is no session, of a network of a name.
    pub const fn of(want: Want, name: String) -> Self {
        Self { want, network: Named::Name(name), images: 0, prepared: 0 }
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = start(ASK);
        let (kind, name) = match &self.network {
            Named::Hash(hash) => (0, &hash[..]),
            Named::Name(name) => {
                check_name(name)?;
                (1, name.as_bytes())
            }
        };
        bytes.extend([self.want as u8, kind]);
        bytes.extend(name);
        // Zeros behind the name: it holds none itself.
        bytes.resize(bytes.len() + NAME - name.len(), 0);
        bytes.extend(self.images.to_le_bytes());
        bytes.extend(self.prepared.to_le_bytes());
        Ok(bytes)
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Wrong> {
        let [want, kind] = fields.take();
        let name: [u8; NAME] = fields.take();
        let [images, prepared] = [(); 2].map(|()| u32::from_le_bytes(fields.take()));
        let want = match want {
            0 => Want::Session,
            1 => Want::Description,
            2 => Want::Plan,
            3 => Want::Hints,
            other => return Err(("a wish of 0 to 3".into(), other.to_string())),
        };
        let network = match kind {
            0 => Named::of_hash(&name)?,
            1 => Named::of_name(&name)?,
            other => return Err(("a hash or a name, 0 or 1".into(), other.to_string())),
        };
        // One form of each message: a number that says nothing is zero.
        let counted = [images, prepared].map(|count| count > 0);
        if counted != [want == Want::Session; 2] {
            let found = format!("{images} images, {prepared} prepared, for {want:?}");
            return Err(("images and inferences of a session, and of no other wish".into(), found));
        }
        Ok(Self { want, network, images, prepared })
    }
}

impl Named {
    fn of_hash(field: &[u8; NAME]) -> Result<Self, Wrong> {
        let (hash, rest) = field.split_at(32);
        match (hash.try_into(), rest.iter().all(|byte| *byte == 0)) {
            (Ok(hash), true) => Ok(Self::Hash(hash)),
            (Ok(_) | Err(_), _) => Err(("a hash of 32 bytes".into(), "more behind it".into())),
        }
    }

    fn of_name(field: &[u8; NAME]) -> Result<Self, Wrong> {
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(NAME);
        // It ends at the first zero, and nothing is behind it.
        let (name, rest) = field.split_at(end);
        let name = String::from_utf8_lossy(name).into_owned();
        let zeros = rest.iter().all(|byte| *byte == 0);
        match check_name(&name) {
            Ok(()) if zeros => Ok(Self::Name(name)),
            Ok(()) | Err(_) => Err(("a name of a network".into(), format!("{name:?}"))),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(hash) => write!(f, "the plan {}", crate::bits::hex(hash)),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Answer {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = start(ANSWER);
        let (kind, seconds, offer) = match *self {
            Self::Ok(offer) => (0, 0, offer),
            Self::Busy(seconds) => (1, seconds, Offer::default()),
            Self::Unknown => (2, 0, Offer::default()),
            Self::Quota(seconds) => (3, seconds, Offer::default()),
        };
        bytes.push(kind);
        bytes.extend(seconds.to_le_bytes());
        bytes.extend(offer.plan);
        bytes.extend(offer.plan_len.to_le_bytes());
        bytes.extend(offer.hints);
        bytes.extend(offer.hints_len.to_le_bytes());
        bytes
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, Wrong> {
        let [kind] = fields.take();
        let seconds = u32::from_le_bytes(fields.take());
        let (plan, plan_len) = (fields.take(), u64::from_le_bytes(fields.take()));
        let (hints, hints_len) = (fields.take(), u64::from_le_bytes(fields.take()));
        let offer = Offer { plan, plan_len, hints, hints_len };
        let answer = match kind {
            0 => Self::Ok(offer),
            1 => Self::Busy(seconds),
            2 => Self::Unknown,
            3 => Self::Quota(seconds),
            other => return Err(("an answer of 0 to 3".into(), other.to_string())),
        };
        // What an answer does not use is zero.
        let idle = match answer {
            Self::Ok(_) => seconds == 0,
            Self::Busy(_) | Self::Quota(_) => offer == Offer::default(),
            Self::Unknown => seconds == 0 && offer == Offer::default(),
        };
        let bounded = plan_len <= MAX_PLAN && hints_len <= MAX_HINTS;
        if idle && bounded { Ok(answer) } else { Err(("an answer".into(), format!("{offer:?}"))) }
    }
}

/// The bytes of a message before its own fields.
fn start(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes
}

/// Fixed-size fields of a message whose length was checked.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("invariant: it has its length");
        self.0 = rest;
        *field
    }
}

#[cfg(test)]
mod tests;
