//! Progress on stderr: a bar where that is a terminal, a line every ten seconds elsewhere. With
//! `--verbose`, every phase as a line, anywhere.

use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
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
    lines: Option<Lines>,
}

/// Where work is, if it has a known end.
type At = Arc<Mutex<Option<(String, usize, usize)>>>;

/// Lines that say where work is, for logs.
struct Lines {
    at: At,
    /// Dropped, it ends the thread.
    go_on: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

impl Lines {
    /// None where the system has no thread left: work goes on without them.
    fn start(interval: Duration, mut print: impl FnMut(String) + Send + 'static) -> Option<Self> {
        let (at, started) = (At::default(), Instant::now());
        let (go_on, ended) = channel();
        let seen = Arc::clone(&at);
        let run = move || {
            // Nothing is ever sent: the receiver wakes to print, or because the sender is gone.
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(interval) {
                let at = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some((message, done, of)) = at {
                    let seconds = started.elapsed().as_secs_f64();
                    print(format!("{seconds:8.3} s  {} {done}/{of}", Printable(&message)));
                }
            }
        };
        let thread = Builder::new().name("progress".into()).spawn(run).ok()?;
        Some(Self { at, go_on: Some(go_on), thread: Some(thread) })
    }

    fn set(&self, at: Option<(String, usize, usize)>) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.go_on = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to return.
            let _ = thread.join();
        }
    }
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let (terminal, shown) = (stderr().is_terminal(), verbosity() >= Verbosity::Usual);
        if terminal && shown {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        let lines = (shown && !terminal).then(|| Lines::start(INTERVAL, say));
        let lines = lines.flatten();
        Self { bar, message: Mutex::default(), started: Instant::now(), lines }
    }

    /// Work without a known end.
    pub(crate) fn waiting(&self, message: impl Into<String>) {
        self.bar.set_message(cell(&message.into()));
        if let Some(lines) = &self.lines {
            lines.set(None);
        }
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
        if let Some(lines) = &self.lines {
            lines.set(Some((message.to_owned(), done, of)));
        }
        if self.bar.length().is_none() {
            self.bar.set_style(style());
        }
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(cell(message));
    }

    /// A line between those of progress, for people who wait for long.
    pub(crate) fn note(&self, text: std::fmt::Arguments<'_>) {
        if verbosity() >= Verbosity::Usual {
            let seconds = self.started.elapsed().as_secs_f64();
            self.bar.suspend(|| say(format_args!("{seconds:8.3} s  {text}")));
        }
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
    fn lines_say_where_work_is_and_end_with_it() {
        let (sender, printed) = channel();
        let lines = Lines::start(Duration::from_millis(5), move |line| {
            let _ = sender.send(line);
        });
        let lines = lines.unwrap();
        lines.set(Some(("rounding\u{1b}".into(), 3, 7)));
        let line = printed.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(line.ends_with(" s  rounding\\u{1b} 3/7"), "{line}");
        lines.set(Some(("rounding".into(), 4, 7)));
        while !printed.recv_timeout(Duration::from_secs(60)).unwrap().ends_with("4/7") {}
        drop(lines);
        // Whoever waits without a known end is silent, and so is what has ended.
        while printed.recv().is_ok() {}
    }

    #[test]
    fn a_message_from_outside_is_shown_escaped() {
        let progress = Progress::new();
        progress.set("online: a\u{1b}[2Jb\nc", 1, 2);
        assert_eq!(progress.bar.message(), "online: a\\u{1b}[2Jb\\u{a}c");
        progress.waiting("waiting for \u{202e}");
        assert_eq!(progress.bar.message(), "waiting for \\u{202e}");
    }
}
