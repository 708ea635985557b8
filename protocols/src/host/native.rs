//! Tasks and clock of a tokio runtime.

use tokio::task::JoinHandle;

pub(crate) use tokio::time::{Instant, timeout, timeout_at};

/// A task that runs beside its maker, and ends with it at the latest.
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    /// Starts one. Must be called within a tokio runtime.
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    /// Whether it has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits until it has ended. May be dropped while it waits.
    pub(crate) async fn ended(&mut self) {
        // A handle may not be asked again for what it has given. A panic is told by its hook.
        if !self.0.is_finished() {
            let _ = (&mut self.0).await;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
