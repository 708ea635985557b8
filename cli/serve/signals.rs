//! The signals of a service: to end, and to read its files again.

use std::io;

use crate::exit::{Failure, Outcome};

/// What a signal means.
pub(crate) enum Signal {
    /// To read the files again.
    Reload,
    /// To end.
    End,
}

/// Signals that are heard from now on.
pub(crate) struct Signals {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
    #[cfg(unix)]
    end: [tokio::signal::unix::Signal; 2],
}

impl Signals {
    pub(crate) fn new() -> Outcome<Self> {
        Self::register()
            .map_err(|error| Failure::internal(format_args!("cannot watch for signals: {error}")))
    }

    #[cfg(unix)]
    fn register() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        // None of these ends the process by itself from here on.
        let end = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        Ok(Self { hangup: signal(SignalKind::hangup())?, end })
    }

    /// Waits for the next one. May be dropped while it waits.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Signal {
        let [terminate, interrupt] = &mut self.end;
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = terminate.recv() => Signal::End,
            _ = interrupt.recv() => Signal::End,
        }
    }

    #[cfg(not(unix))]
    fn register() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for Ctrl-C; there is no other signal.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> Signal {
        let _ = tokio::signal::ctrl_c().await;
        Signal::End
    }
}
