//! The wire between the parties, and the only place where bytes are counted.
//!
//! Two tasks own the stream: one writes queued frames and sends a keep-alive when there is nothing to write, one reads
//! frames and checks their headers. So computing overlaps with sending, a party that computes for long stays visibly
//! alive, and a silent, lost or misbehaving peer becomes an error at the next receive.

mod frame;
mod reader;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{Error, Role};
use frame::{Frame, MAX_PAYLOAD};
use reader::Fault;
use writer::Writer;

/// Bytes on the wire of a message of `payload` bytes, with the headers of the frames that it is cut into. An empty
/// message is not sent.
pub(crate) const fn framed_len(payload: usize) -> u64 {
    payload as u64 + payload.div_ceil(MAX_PAYLOAD) as u64 * frame::HEADER as u64
}

/// How long to wait for the peer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time without a byte after which the peer counts as lost.
    pub silence: Duration,
    /// Time without anything but keep-alive frames, or within one frame, after which the peer counts as misbehaving.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(Duration::from_secs(30))
    }
}

impl Limits {
    /// Limits with the given time without a byte; keep-alive frames alone are accepted for 40 times as long.
    pub fn new(silence: Duration) -> Self {
        Self { silence, idle: silence * 40 }
    }

    /// The pause after which a party that has nothing to say sends a keep-alive frame.
    fn keep_alive(self) -> Duration {
        (self.silence / 4).min(Duration::from_secs(2))
    }
}

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

/// A place on the critical path, at which messages may be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn(u32);

/// One end of an ordered, metered connection.
pub struct Channel {
    writer: Writer,
    frames: mpsc::Receiver<Result<Frame, Fault>>,
    reader_task: JoinHandle<()>,
    limits: Limits,
    meter: Meter,
    /// Bytes of keep-alive frames, in both directions.
    idle: Arc<AtomicU64>,
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
        let idle = Arc::new(AtomicU64::new(0));
        let reader_task = tokio::spawn(reader::read_frames(read, sender, limits, Arc::clone(&idle)));
        Self {
            writer: Writer::spawn(write, limits, Arc::clone(&idle)),
            frames,
            reader_task,
            limits,
            meter: Meter::default(),
            idle,
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

    /// Names the step that errors and frames belong to. Both parties give a step the same number.
    pub(crate) fn enter_step(&mut self, number: usize, name: &str) {
        self.tag = number as u16;
        name.clone_into(&mut self.step);
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
        self.idle.load(Ordering::Relaxed)
    }

    /// Starts a part whose rounds are counted on their own: what is sent next starts a new message.
    pub(crate) const fn begin_part(&mut self) {
        self.received_depth = self.depth;
    }

    /// Queues a message. Never waits, so that both parties may send at the same time; long streams in one direction call
    /// [`Channel::drained`] between chunks.
    pub(crate) fn send(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.send_in(self.turn(), payload)
    }

    /// The turn that a message sent now belongs to.
    pub(crate) const fn turn(&self) -> Turn {
        Turn(self.received_depth + 1)
    }

    /// Queues a message of an earlier turn: one that depends on nothing that was received since, in a stream that only
    /// flow control interleaves with what is received.
    pub(crate) fn send_in(&mut self, Turn(depth): Turn, payload: &[u8]) -> Result<(), Error> {
        for chunk in payload.chunks(MAX_PAYLOAD) {
            self.writer
                .queue(frame::data(self.tag, depth, chunk))
                .map_err(|source| Error::PeerLost { step: self.step.clone(), source })?;
            self.reach(depth);
        }
        self.meter.sent += framed_len(payload.len());
        Ok(())
    }

    /// Waits until few bytes are left in the queue: back-pressure for streams in one direction.
    pub(crate) async fn drained(&mut self) -> Result<(), Error> {
        loop {
            if self.writer.below(writer::HIGH_WATER, self.limits.silence).await {
                return Ok(());
            }
            if self.reader_task.is_finished() || self.frames.len() == READ_AHEAD {
                return Err(Error::PeerSilent {
                    step: self.step.clone(),
                    seconds: self.limits.silence.as_secs_f64(),
                });
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
            if frame.depth == 0 || frame.depth > self.depth + 1 {
                return Err(self.violation(
                    format!("a message depth up to {}", self.depth + 1),
                    frame.depth.to_string(),
                ));
            }
            self.received_depth = self.received_depth.max(frame.depth);
            self.reach(frame.depth);
            if payload.is_empty() {
                payload = frame.payload;
            } else {
                payload.extend_from_slice(&frame.payload);
            }
        }
        self.meter.received += framed_len(len);
        Ok(payload)
    }

    /// Sends a message and receives one of the same length: both parties do.
    pub(crate) async fn exchange(&mut self, payload: &[u8]) -> Result<Vec<u8>, Error> {
        self.send(payload)?;
        self.receive(payload.len()).await
    }

    /// Ends the conversation in good order: everything queued is written, this direction closed, and the peer given the
    /// time to do the same, so that closing never discards what is still on its way.
    pub(crate) async fn finish(&mut self) {
        self.writer.close(self.limits.silence).await;
        let rest = async { while matches!(self.frames.recv().await, Some(Ok(_))) {} };
        let _ = tokio::time::timeout(self.limits.silence, rest).await;
    }

    /// The error for a message that the protocol does not allow.
    #[expect(clippy::needless_pass_by_value)] // callers give literals, numbers and strings alike
    pub(crate) fn violation(&self, expected: impl ToString, found: impl ToString) -> Error {
        Error::Violation { step: self.step.clone(), expected: expected.to_string(), found: found.to_string() }
    }

    /// Bytes sent by each party, server's first.
    pub(crate) const fn by_party(sent: u64, received: u64, role: Role) -> (u64, u64) {
        match role {
            Role::Server => (sent, received),
            Role::Client => (received, sent),
        }
    }

    async fn next_frame(&mut self) -> Result<Frame, Error> {
        match self.frames.recv().await {
            Some(Ok(frame)) => Ok(frame),
            Some(Err(fault)) => Err(self.fault(fault)),
            None => Err(self.fault(Fault::Lost(std::io::ErrorKind::UnexpectedEof.into()))),
        }
    }

    fn fault(&self, fault: Fault) -> Error {
        match fault {
            Fault::Lost(source) => Error::PeerLost { step: self.step.clone(), source },
            Fault::Silent => {
                Error::PeerSilent { step: self.step.clone(), seconds: self.limits.silence.as_secs_f64() }
            }
            Fault::Malformed { expected, found } => self.violation(expected, found),
        }
    }

    const fn reach(&mut self, depth: u32) {
        if depth > self.depth {
            self.meter.rounds += (depth - self.depth) as u64;
            self.depth = depth;
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.reader_task.abort();
    }
}

/// Frames that the reader holds before it stops reading: 32 MiB at the most.
const READ_AHEAD: usize = 32;

#[cfg(test)]
mod tests;
