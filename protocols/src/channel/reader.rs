//! The reading half: parses and bounds what the peer sends before anything else sees it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, ReadHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Limits;
use super::frame::{Frame, HEADER, Header};

/// Why nothing more will arrive.
pub(super) enum Fault {
    Lost(io::Error),
    Silent,
    Malformed { expected: String, found: String },
}

/// Reads frames until the stream ends or fails; the last item sent says why. Keep-alive bytes are added to `idle`.
pub(super) async fn read_frames<S: AsyncRead>(
    mut stream: ReadHalf<S>,
    frames: mpsc::Sender<Result<Frame, Fault>>,
    limits: Limits,
    idle: impl AsRef<AtomicU64>,
) {
    let mut last_data = Instant::now();
    loop {
        let late = |found: &str| Fault::Malformed {
            expected: format!("a message within {} s", limits.idle.as_secs_f64()),
            found: found.into(),
        };
        // The time-out alone would let a peer send a frame byte by byte for as long as it likes.
        let item = match timeout(limits.idle, read_frame(&mut stream, limits)).await {
            Ok(Ok(None)) if last_data.elapsed() < limits.idle => {
                idle.as_ref().fetch_add(HEADER as u64, Ordering::Relaxed);
                continue;
            }
            Ok(Ok(None)) => Err(late("only keep-alive frames")),
            Ok(Ok(Some(frame))) => Ok(frame),
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(late("a part of one")),
        };
        let ended = item.is_err();
        if frames.send(item).await.is_err() || ended {
            return;
        }
        last_data = Instant::now();
    }
}

async fn read_frame<S: AsyncRead>(stream: &mut ReadHalf<S>, limits: Limits) -> Result<Option<Frame>, Fault> {
    let mut header = [0; HEADER];
    fill(stream, &mut header, limits).await?;
    match Header::parse(&header) {
        Ok(Header::KeepAlive) => Ok(None),
        Ok(Header::Data { tag, depth, len }) => {
            let mut payload = vec![0; len];
            fill(stream, &mut payload, limits).await?;
            Ok(Some(Frame::data(tag, depth, payload)))
        }
        Err((expected, found)) => Err(Fault::Malformed { expected, found }),
    }
}

/// Fills a buffer; every single byte restarts the time-out.
async fn fill<S: AsyncRead>(
    stream: &mut ReadHalf<S>,
    mut buffer: &mut [u8],
    limits: Limits,
) -> Result<(), Fault> {
    while !buffer.is_empty() {
        match timeout(limits.silence, stream.read(buffer)).await {
            Err(_) => return Err(Fault::Silent),
            Ok(Err(source)) => return Err(Fault::Lost(source)),
            Ok(Ok(0)) => return Err(Fault::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(count)) => buffer = &mut buffer[count..],
        }
    }
    Ok(())
}
