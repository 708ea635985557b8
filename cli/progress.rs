//! Progress on stderr, where that is a terminal; nowhere else. With `--verbose`, every phase as a
//! line, anywhere.

use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pq::Event;
use protocols::printable::Printable;

use crate::console::{Verbosity, say, verbosity};
use crate::table::cell;

/// A line of progress that vanishes when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// What was last said to be done.
    message: Mutex<String>,
    started: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if stderr().is_terminal() && verbosity() >= Verbosity::Usual {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { bar, message: Mutex::default(), started: Instant::now() }
    }

    /// Work without a known end.
    pub(crate) fn waiting(&self, message: impl Into<String>) {
        self.bar.set_message(cell(&message.into()));
    }

    /// How far a search has come.
    pub(crate) fn search(&self, at: quant::search::Progress) {
        self.set(at.phase, at.done, at.of);
    }

    /// So much of the work is done. Another message is another phase, whose time left is estimated
    /// anew.
    pub(crate) fn set(&self, message: &str, done: usize, of: usize) {
        // A panic ends the process: nobody finds a message half written.
        let mut last = self.message.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != message {
            message.clone_into(&mut last);
            self.bar.reset_eta();
            self.tell(message);
        }
        if self.bar.length().is_none() {
            self.bar.set_style(style());
        }
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(cell(message));
    }

    /// A line of its own, if so much was asked for: names of phases and steps, which are public.
    fn tell(&self, message: &str) {
        if verbosity() < Verbosity::Verbose {
            return;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        self.bar.suspend(|| say(format_args!("{seconds:8.3} s  {}", Printable(message))));
    }
}

/// Shows the events of a run as progress.
pub(crate) fn show(progress: &Progress) -> impl FnMut(Event<'_>) + Send {
    |event| progress.set(&format!("{}: {}", event.phase, event.step), event.index, event.count)
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} [{elapsed}, {eta} left]")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_from_outside_is_shown_escaped() {
        let progress = Progress::new();
        progress.set("online: a\u{1b}[2Jb\nc", 1, 2);
        assert_eq!(progress.bar.message(), "online: a\\u{1b}[2Jb\\u{a}c");
        progress.waiting("waiting for \u{202e}");
        assert_eq!(progress.bar.message(), "waiting for \\u{202e}");
    }
}
