//! Progress on stderr, where that is a terminal; nowhere else.

use std::cell::RefCell;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line of progress that vanishes when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// What was last said to be done.
    message: RefCell<String>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if !stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, message: RefCell::default() }
    }

    /// Work without a known end.
    pub(crate) fn waiting(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }

    /// So much of the work is done. Another message is another phase, whose time left is estimated anew.
    pub(crate) fn set(&self, message: &str, done: usize, of: usize) {
        if *self.message.borrow() != message {
            message.clone_into(&mut self.message.borrow_mut());
            self.bar.reset_eta();
        }
        if self.bar.length().is_none() {
            self.bar.set_style(style());
        }
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(message.to_owned());
    }
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
