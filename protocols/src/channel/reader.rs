//! The reading half: parses and bounds what the peer sends before anything else sees it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, ReadHalf};
use tokio::sync::mpsc;

use super::{Limits, Watched};
use crate::frame::{Frame, HEADER, Header};
use crate::host::{Instant, timeout_at};

/// Why nothing more will arrive.
pub(super) enum Fault {
    Lost(io::Error),
    Silent,
    /// A frame was begun and not finished within this time.
    Slow(Duration),
    Malformed {
        expected: String,
        found: String,
    },
}

/// Reads frames until the stream ends or fails; the last item sent says why. Keep-alive bytes are
/// watched.
pub(super) async fn read_frames<S: AsyncRead>(
    mut stream: ReadHalf<S>,
    frames: mpsc::Sender<Result<Frame, Fault>>,
    limits: Limits,
    watched: Arc<Watched>,
) {
    loop {
        let item = match read_frame(&mut stream, limits).await {
            Ok(None) => {
                watched.idle.fetch_add(HEADER as u64, Ordering::Relaxed);
                continue;
            }
            Ok(Some(frame)) => Ok(frame),
            Err(fault) => Err(fault),
        };
        let ended = item.is_err();
        watched.over.store(ended, Ordering::Relaxed);
        if frames.send(item).await.is_err() {
            return;
        }
        if ended {
            return discard(stream).await;
        }
    }
}

/// Reads what still comes and forgets it: closing a socket with unread bytes would take back what
/// this party has said last. Ends with the stream, or with the channel.
async fn discard<S: AsyncRead>(mut stream: ReadHalf<S>) {
    let mut bytes = vec![0; 1 << 12];
    while matches!(stream.read(&mut bytes).await, Ok(1..)) {}
}

async fn read_frame<S: AsyncRead>(
    stream: &mut ReadHalf<S>,
    limits: Limits,
) -> Result<Option<Frame>, Fault> {
    let mut header = [0; HEADER];
    // Whoever sends nothing at all is silent; whoever has begun a frame has to finish it.
    let (first, rest) = header.split_at_mut(1);
    fill(stream, first, limits, None).await?;
    let started = Instant::now();
    fill(stream, rest, limits, Some(due(started, limits, 0))).await?;
    match Header::parse(&header) {
        Ok(Header::KeepAlive) => Ok(None),
        Ok(Header::Data { tag, depth, len }) => {
            let mut payload = vec![0; len];
            fill(stream, &mut payload, limits, Some(due(started, limits, len))).await?;
            Ok(Some(Frame::data(tag, depth, payload)))
        }
        Err((expected, found)) => Err(Fault::Malformed { expected, found }),
    }
}

/// The instant when a frame with so long a payload has to be there, and how long that is after its
/// first byte.
fn due(started: Instant, limits: Limits, len: usize) -> (Instant, Duration) {
    let whole = limits.frame(HEADER + len);
    (started + whole, whole)
}

/// Fills a buffer: no pause is longer than the silence allowed, and all of it is there by an
/// instant, which is so long after the frame's first byte.
async fn fill<S: AsyncRead>(
    stream: &mut ReadHalf<S>,
    mut buffer: &mut [u8],
    limits: Limits,
    by: Option<(Instant, Duration)>,
) -> Result<(), Fault> {
    while !buffer.is_empty() {
        let quiet = Instant::now() + limits.silence;
        let slow = by.filter(|(end, _)| *end < quiet);
        match timeout_at(slow.map_or(quiet, |(end, _)| end), stream.read(buffer)).await {
            Err(_) => return Err(slow.map_or(Fault::Silent, |(_, whole)| Fault::Slow(whole))),
            Ok(Err(source)) => return Err(Fault::Lost(source)),
            Ok(Ok(0)) => return Err(Fault::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(count)) => buffer = &mut buffer[count..],
        }
    }
    Ok(())
}
