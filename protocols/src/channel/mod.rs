//! The wire between the parties, and the only place where bytes are counted.
//!
//! Two tasks own the stream: one writes queued frames and sends a keep-alive when there is nothing
//! to write, one reads frames and checks their headers. So computing overlaps with sending, a party
//! that computes for long stays visibly alive, and a silent, lost or misbehaving peer becomes an
//! error at the next receive. Whoever waits for the peer does so within the time of a step and of
//! the session ([`limits`]). A session's channel keeps a transcript of both directions, which the
//! parties compare before anything of it is relied on ([`transcript`]).

mod limits;
mod reader;
mod transcript;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::error::Reason;
use crate::frame::{self, Frame, MAX_PAYLOAD, framed_len};
use crate::host::{self, Task};
use crate::{Cost, Error, Role};
use limits::{Overdue, Patience};
use reader::Fault;
use transcript::Transcript;
use writer::Writer;

pub use limits::Limits;
pub(crate) use transcript::STATEMENT;

/// What has crossed the channel so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    /// Bytes sent by this party, framing included, keep-alive frames excluded.
    pub sent: u64,
    /// Bytes received by this party, likewise.
    pub received: u64,
    /// One-way messages on the critical path.
    pub rounds: u64,
}

/// What the tasks that own the stream tell.
#[derive(Default)]
struct Watched {
    /// Bytes of keep-alive frames, in both directions.
    idle: AtomicU64,
    /// Whether nothing more is read.
    over: AtomicBool,
}

/// A place on the critical path, at which messages may be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn(u32);

/// One end of an ordered, metered connection.
pub struct Channel {
    writer: Writer,
    frames: mpsc::Receiver<Result<Frame, Fault>>,
    /// Reads as long as the channel is there.
    _reader: Task,
    limits: Limits,
    patience: Patience,
    meter: Meter,
    watched: Arc<Watched>,
    /// Once the session has its number.
    transcript: Option<Transcript>,
    /// The critical path up to the latest message received; a message sent now is one longer.
    received_depth: u32,
    /// The critical path up to the latest message in either direction.
    depth: u32,
    tag: u16,
    step: String,
}

impl Channel {
    /// A channel over a stream. Must be called within a tokio runtime.
    pub fn new<S>(stream: S, limits: Limits) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(stream);
        let (sender, frames) = mpsc::channel(READ_AHEAD);
        let watched = Arc::new(Watched::default());
        let reader = Task::spawn(reader::read_frames(read, sender, limits, Arc::clone(&watched)));
        Self {
            writer: Writer::spawn(write, limits, Arc::clone(&watched)),
            frames,
            _reader: reader,
            limits,
            patience: Patience::new(limits),
            meter: Meter::default(),
            watched,
            transcript: None,
            received_depth: 0,
            depth: 0,
            tag: 0,
            step: "handshake".into(),
        }
    }

    /// Two connected channels within one process.
    pub fn pair(limits: Limits) -> (Self, Self) {
        let (left, right) = tokio::io::duplex(1 << 20);
        (Self::new(left, limits), Self::new(right, limits))
    }

    /// Names the step that errors and frames belong to, and gives the peer the time that a part
    /// with this cost and so many predicted seconds of work may take. Both parties give a step the
    /// same number.
    pub(crate) fn enter_step(&mut self, number: usize, name: &str, cost: Cost, work: f64) {
        self.patience.enter(self.limits.budget(cost, work));
        self.rename_step(number, name);
    }

    /// Names a part of the step, and gives the step the time of this part too.
    pub(crate) fn extend_step(&mut self, number: usize, name: &str, cost: Cost, work: f64) {
        self.patience.extend(self.limits.budget(cost, work));
        self.rename_step(number, name);
    }

    /// From now on waits for what the peer may take long to want: between requests, or for its turn
    /// in a queue. That is the time of no step, and not the session's either.
    pub(crate) fn wait_for_request(&mut self) {
        self.patience.idle(self.limits.idle);
    }

    /// Names a part of the step whose time is running.
    pub(crate) fn rename_step(&mut self, number: usize, name: &str) {
        self.tag = number as u16;
        name.clone_into(&mut self.step);
    }

    /// From now on keeps account of all that is said, in the session of this number.
    pub(crate) fn start_transcript(&mut self, role: Role, id: &[u8; 32]) {
        self.transcript = Some(Transcript::new(role, id));
    }

    /// The name of the step that is running.
    pub(crate) fn step(&self) -> &str {
        &self.step
    }

    /// What was counted so far.
    pub(crate) const fn meter(&self) -> Meter {
        self.meter
    }

    /// Bytes of keep-alive frames so far, in both directions.
    pub(crate) fn keep_alive_bytes(&self) -> u64 {
        self.watched.idle.load(Ordering::Relaxed)
    }

    /// Starts a part whose rounds are counted on their own: what is sent next starts a new message.
    pub(crate) const fn begin_part(&mut self) {
        self.received_depth = self.depth;
    }

    /// Queues a message. Never waits, so that both parties may send at the same time; long streams
    /// in one direction call [`Channel::drained`] between chunks.
    pub(crate) fn send(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.send_in(self.turn(), payload)
    }

    /// The turn that a message sent now belongs to.
    pub(crate) const fn turn(&self) -> Turn {
        Turn(self.received_depth + 1)
    }

    /// Queues a message of an earlier turn: one that depends on nothing that was received since, in
    /// a stream that only flow control interleaves with what is received.
    pub(crate) fn send_in(&mut self, Turn(depth): Turn, payload: &[u8]) -> Result<(), Error> {
        // Frames of one message have one depth. An empty message has no frame.
        for chunk in payload.chunks(MAX_PAYLOAD) {
            let frame = frame::data(self.tag, depth, chunk);
            if let Some(transcript) = &mut self.transcript {
                transcript.sent(&frame);
            }
            if let Err(source) = self.writer.queue(frame) {
                return Err(self.ended(source));
            }
            self.reach(depth);
        }
        self.meter.sent += framed_len(payload.len());
        Ok(())
    }

    /// Waits until few bytes are left in the queue: back-pressure for streams in one direction.
    pub(crate) async fn drained(&mut self) -> Result<(), Error> {
        loop {
            let below = self.writer.below(writer::HIGH_WATER, self.limits.silence);
            match self.patience.wait(below).await {
                Ok(true) => return Ok(()),
                Ok(false) if self.watched.over.load(Ordering::Relaxed) => {
                    return Err(self.ended(std::io::ErrorKind::UnexpectedEof.into()));
                }
                // The reader has stopped, so no keep-alive can tell that the peer is there: it
                // counts as silent.
                Ok(false) if self.frames.len() == READ_AHEAD => {
                    return Err(self.fault(Fault::Silent));
                }
                Ok(false) => {}
                Err(overdue) => return Err(self.overdue(overdue)),
            }
        }
    }

    /// Waits until everything queued is on the wire, or until that takes too long.
    pub(crate) async fn flushed(&mut self) {
        self.writer.below(1, self.limits.silence).await;
    }

    /// Receives a message of exactly `len` bytes.
    pub(crate) async fn receive(&mut self, len: usize) -> Result<Vec<u8>, Error> {
        let mut payload = Vec::new();
        while payload.len() < len {
            let expected = (len - payload.len()).min(MAX_PAYLOAD);
            let frame = self.next_frame().await?;
            if frame.tag != self.tag || frame.payload.len() != expected {
                return Err(self.violation(
                    format!("{expected} bytes of step {}", self.tag),
                    format!("{} bytes of step {}", frame.payload.len(), frame.tag),
                ));
            }
            // A message is at most one deeper than what its sender has said or heard before, all of
            // which this party has heard or said.
            if frame.depth == 0 || frame.depth > self.depth + 1 {
                return Err(self.violation(
                    format!("a message depth up to {}", self.depth + 1),
                    frame.depth.to_string(),
                ));
            }
            self.account(&frame);
            if payload.is_empty() {
                payload = frame.payload;
            } else {
                payload.extend_from_slice(&frame.payload);
            }
        }
        self.meter.received += framed_len(len);
        Ok(payload)
    }

    /// Receives a message of one frame whose length is not known, at the most `most` bytes.
    pub(crate) async fn receive_up_to(&mut self, most: usize) -> Result<Vec<u8>, Error> {
        let frame = self.next_frame().await?;
        let len = frame.payload.len();
        // As in `receive`: one deeper than what was said or heard before, at the most.
        let placed = (1..=self.depth + 1).contains(&frame.depth);
        if frame.tag != self.tag || !placed || len > most {
            return Err(self.violation(
                format!("a message of up to {most} bytes"),
                format!("{len} bytes of step {}", frame.tag),
            ));
        }
        self.account(&frame);
        self.meter.received += framed_len(len);
        Ok(frame.payload)
    }

    /// Sends what this party says of the conversation so far.
    pub(crate) fn send_statement(&mut self) -> Result<(), Error> {
        let (transcript, role) = self.transcript();
        let statement = transcript.statement(role);
        self.send(&statement)
    }

    /// Receives what the peer says of the conversation so far, and compares it with what this party
    /// has seen of it.
    pub(crate) async fn check_statement(&mut self) -> Result<(), Error> {
        let (transcript, role) = self.transcript();
        let expected = transcript.statement(role.peer());
        if self.receive(STATEMENT).await? == expected {
            return Ok(());
        }
        Err(Error::Altered {
            step: self.step.clone(),
            what: "what was sent is not what was received",
        })
    }

    fn transcript(&self) -> (&Transcript, Role) {
        let transcript = self.transcript.as_ref().expect("invariant: a session keeps a transcript");
        (transcript, transcript.role())
    }

    /// Takes a frame into account whose length and place are right.
    fn account(&mut self, frame: &Frame) {
        if let Some(transcript) = &mut self.transcript {
            let header = frame::header(frame.tag, frame.depth, frame.payload.len());
            transcript.received(&header, &frame.payload);
        }
        self.patience.heard();
        self.received_depth = self.received_depth.max(frame.depth);
        self.reach(frame.depth);
    }

    /// Sends a message and receives one of the same length: both parties do.
    pub(crate) async fn exchange(&mut self, payload: &[u8]) -> Result<Vec<u8>, Error> {
        self.send(payload)?;
        self.receive(payload.len()).await
    }

    /// Ends the conversation in good order: everything queued is written, this direction closed,
    /// and the peer given the time to do the same, so that closing never discards what is still on
    /// its way.
    pub(crate) async fn finish(&mut self) {
        self.finish_within(self.limits.silence).await;
    }

    /// Ends a conversation that comes to nothing, though both parties have said all that they had
    /// to: what is queued is written first, so that the peer hears it.
    pub async fn part(mut self) {
        self.finish_within(self.limits.silence.min(LINGER)).await;
    }

    /// Ends the conversation because of an error, and where the peer cannot know tells it why, so
    /// that it neither waits for its time to run out nor takes this party for lost.
    pub(crate) async fn farewell(&mut self, error: &Error) {
        if let Some(reason) = Reason::of(error) {
            // A connection that is lost takes the notice with it.
            let _ = self.writer.queue(frame::data(frame::NOTICE, 1, &[reason as u8]));
        }
        self.finish_within(self.limits.silence.min(LINGER)).await;
    }

    /// Ends the conversation in good order though the peer wants more of it, and says why.
    pub(crate) async fn dismiss(&mut self, reason: Reason) {
        let _ = self.writer.queue(frame::data(frame::NOTICE, 1, &[reason as u8]));
        self.finish_within(self.limits.silence.min(LINGER)).await;
    }

    async fn finish_within(&mut self, patience: Duration) {
        self.writer.close(patience).await;
        let rest = async { while self.frames.recv().await.is_some() {} };
        let _ = host::timeout(patience, rest).await;
    }

    /// The error for a message that the protocol does not allow.
    #[expect(clippy::needless_pass_by_value)] // callers give literals, numbers and strings alike
    pub(crate) fn violation(&self, expected: impl ToString, found: impl ToString) -> Error {
        Error::Violation {
            step: self.step.clone(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// Bytes sent by each party, server's first.
    pub(crate) const fn by_party(sent: u64, received: u64, role: Role) -> (u64, u64) {
        match role {
            Role::Server => (sent, received),
            Role::Client => (received, sent),
        }
    }

    async fn next_frame(&mut self) -> Result<Frame, Error> {
        match self.patience.wait(self.frames.recv()).await {
            Ok(Some(Ok(frame))) if frame.tag == frame::NOTICE => Err(self.dismissed(&frame)),
            Ok(Some(Ok(frame))) => Ok(frame),
            Ok(Some(Err(fault))) => Err(self.fault(fault)),
            Ok(None) => Err(self.fault(Fault::Lost(std::io::ErrorKind::UnexpectedEof.into()))),
            Err(overdue) => Err(self.overdue(overdue)),
        }
    }

    fn fault(&self, fault: Fault) -> Error {
        let step = self.step.clone();
        match fault {
            // An encrypted stream says so of data that is not what was sent.
            Fault::Lost(source) if source.kind() == std::io::ErrorKind::InvalidData => {
                Error::Altered {
                    step,
                    what: "data of the encrypted connection is not what was sent",
                }
            }
            Fault::Lost(source) => Error::PeerLost { step, source },
            Fault::Silent => Error::PeerSilent { step, seconds: self.limits.silence.as_secs_f64() },
            Fault::Slow(all) => self.overdue(Overdue { whose: "a frame's", all }),
            Fault::Malformed { expected, found } => self.violation(expected, found),
        }
    }

    fn overdue(&self, Overdue { whose, all }: Overdue) -> Error {
        Error::Overdue { step: self.step.clone(), whose, seconds: all.as_secs_f64() }
    }

    fn dismissed(&self, notice: &Frame) -> Error {
        match notice.payload[..].try_into().ok().and_then(Reason::from_byte) {
            Some(reason) => Error::Dismissed { step: self.step.clone(), reason },
            None => self
                .violation("a notice of one known byte", format!("{} bytes", notice.payload.len())),
        }
    }

    /// The error where nothing can be sent any more: what the peer said last tells more than the
    /// network does.
    fn ended(&mut self, source: std::io::Error) -> Error {
        while let Ok(item) = self.frames.try_recv() {
            match item {
                Ok(frame) if frame.tag == frame::NOTICE => return self.dismissed(&frame),
                Ok(_) => {}
                Err(fault) => return self.fault(fault),
            }
        }
        Error::PeerLost { step: self.step.clone(), source }
    }

    const fn reach(&mut self, depth: u32) {
        if depth > self.depth {
            self.meter.rounds += (depth - self.depth) as u64;
            self.depth = depth;
        }
    }
}

/// How long a party that ends because of an error waits for its last words to be read.
const LINGER: Duration = Duration::from_secs(2);

/// Frames that the reader holds before it stops reading: 32 MiB at the most.
const READ_AHEAD: usize = 32;

#[cfg(test)]
mod tests;
