//! Progress on stderr, where that is a terminal; nowhere else.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line of progress that vanishes when it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if !stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// Work without a known end.
    pub(crate) fn waiting(&self, message: impl Into<String>) {
        self.0.set_message(message.into());
    }

    /// So much of the work is done.
    pub(crate) fn set(&self, message: impl Into<String>, done: usize, of: usize) {
        if self.0.length().is_none() {
            self.0.set_style(style());
        }
        self.0.set_length(of as u64);
        self.0.set_position(done as u64);
        self.0.set_message(message.into());
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} [{elapsed}]")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
