//! The writing half: a queue, and a task that empties it and keeps the connection visibly alive.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::sync::{Notify, mpsc};

use super::{Limits, Watched};
use crate::frame;
use crate::host::{Task, timeout};

/// Bytes that may wait in the queue before a stream in one direction pauses.
pub(super) const HIGH_WATER: usize = 8 << 20;

#[derive(Default)]
struct Progress {
    queued: AtomicUsize,
    moved: Notify,
}

pub(super) struct Writer {
    frames: Option<mpsc::UnboundedSender<Vec<u8>>>,
    progress: Arc<Progress>,
    /// Writes as long as the channel is there.
    task: Task,
}

impl Writer {
    /// Keep-alive bytes are watched.
    pub(super) fn spawn<S>(stream: WriteHalf<S>, limits: Limits, watched: Arc<Watched>) -> Self
    where
        S: AsyncWrite + Send + 'static,
    {
        let (frames, queue) = mpsc::unbounded_channel();
        let progress = Arc::new(Progress::default());
        let task = Task::spawn(write_frames(stream, queue, Arc::clone(&progress), limits, watched));
        Self { frames: Some(frames), progress, task }
    }

    pub(super) fn queue(&self, bytes: Vec<u8>) -> io::Result<()> {
        self.progress.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        self.frames.as_ref().ok_or_else(lost)?.send(bytes).map_err(|_| lost())
    }

    /// Waits until fewer than `bytes` are queued or the writer has ended, at most for `patience`;
    /// false where neither came to be.
    pub(super) async fn below(&self, bytes: usize, patience: Duration) -> bool {
        timeout(patience, async {
            while !self.is_below(bytes) {
                let moved = self.progress.moved.notified();
                if self.is_below(bytes) {
                    break;
                }
                moved.await;
            }
        })
        .await
        .is_ok()
    }

    /// Whether fewer than `bytes` are queued or the writer has ended.
    fn is_below(&self, bytes: usize) -> bool {
        self.progress.queued.load(Ordering::Relaxed) < bytes || self.task.is_finished()
    }

    pub(super) async fn close(&mut self, patience: Duration) {
        self.frames = None;
        let _ = timeout(patience, self.task.ended()).await;
    }
}

/// The error of a writer that has ended.
fn lost() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

async fn write_frames<S: AsyncWrite>(
    mut stream: WriteHalf<S>,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    progress: Arc<Progress>,
    limits: Limits,
    watched: Arc<Watched>,
) {
    loop {
        let (bytes, counted) = match timeout(limits.keep_alive(), queue.recv()).await {
            Ok(Some(bytes)) => {
                let len = bytes.len();
                (bytes, len)
            }
            Ok(None) => break,
            Err(_) => (frame::keep_alive(), 0),
        };
        // A peer that computes does not read, and that may take as long as its step may. The
        // channel waits no longer than that, and ends this task with itself.
        if stream.write_all(&bytes).await.is_err() {
            break;
        }
        // A stream that encrypts keeps a part until it is asked for it.
        if queue.is_empty() && stream.flush().await.is_err() {
            break;
        }
        if counted == 0 {
            watched.idle.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        progress.queued.fetch_sub(counted, Ordering::Relaxed);
        progress.moved.notify_one();
    }
    let _ = stream.shutdown().await;
    drop(queue);
    progress.moved.notify_one();
}
