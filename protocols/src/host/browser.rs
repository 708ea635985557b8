//! Tasks and clock of a browser's event loop.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::{AbortHandle, abortable};
use tokio::sync::mpsc;

pub(crate) use wasmtimer::std::Instant;

/// Timers of a browser count milliseconds with 31 bits, and one that overflows is over at once.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Waits for a future, at most for so long.
pub(crate) async fn timeout<F: Future>(time: Duration, future: F) -> Result<F::Output, ()> {
    wasmtimer::tokio::timeout(time.min(LONGEST), future).await.map_err(drop)
}

/// Waits for a future, at most until then.
pub(crate) async fn timeout_at<F: Future>(end: Instant, future: F) -> Result<F::Output, ()> {
    timeout(end.saturating_duration_since(Instant::now()), future).await
}

/// A task that runs beside its maker, and ends with it at the latest.
pub(crate) struct Task {
    abort: AbortHandle,
    /// The other end is the task's: it is closed when the task has ended.
    alive: mpsc::Sender<Infallible>,
}

impl Task {
    /// Starts one, at the event loop's next turn.
    pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) -> Self {
        let (alive, end) = mpsc::channel(1);
        let (future, abort) = abortable(future);
        wasm_bindgen_futures::spawn_local(async move {
            let _ = future.await;
            drop(end);
        });
        Self { abort, alive }
    }

    /// Whether it has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.alive.is_closed()
    }

    /// Waits until it has ended. May be dropped while it waits.
    pub(crate) async fn ended(&mut self) {
        self.alive.closed().await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}
