//! Long work: without the interpreter's lock, with progress, and ended by Ctrl-C.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pq::Error;
use pyo3::prelude::*;
use tokio::time::sleep;

use crate::errors::exception;

/// How often signals are looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks at signals and tells of progress, on the thread that works.
pub(crate) struct Watch(Mutex<State>);

struct State {
    progress: Option<Py<PyAny>>,
    looked: Instant,
    /// Why the work is not to go on.
    stopped: Option<PyErr>,
}

/// What unwinds work that is not to go on: see [`Watch::tell_or_unwind`].
struct Stopped;

impl Watch {
    /// With a callback `progress(phase, done, of)`, if any.
    pub(crate) fn new(progress: Option<Py<PyAny>>) -> Self {
        Self(Mutex::new(State { progress, looked: Instant::now(), stopped: None }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each field is whole, whatever was interrupted.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how far the work has come; false where it is not to go on.
    pub(crate) fn tell(&self, phase: &str, done: usize, of: usize) -> bool {
        let mut state = self.state();
        if state.stopped.is_some() {
            return false;
        }
        let told = state.progress.as_ref().map_or(Ok(()), |progress| {
            Python::attach(|py| progress.call1(py, (phase, done, of)).map(drop))
        });
        if let Err(error) = told {
            state.stopped = Some(error);
        }
        state.goes_on()
    }

    /// The same, for work that has no other way to end: it is unwound up to [`Watch::blocking`].
    pub(crate) fn tell_or_unwind(&self, phase: &str, done: usize, of: usize) {
        if !self.tell(phase, done, of) {
            // No hook hears of it: it is no panic.
            resume_unwind(Box::new(Stopped));
        }
    }

    /// Runs work on this thread, without the interpreter's lock.
    pub(crate) fn blocking<T: Send>(
        self,
        py: Python<'_>,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        // Whatever the work has changed is dropped with it.
        let done = py.detach(|| catch_unwind(AssertUnwindSafe(|| work(&self))));
        match (done, self.state().stopped.take()) {
            (_, Some(error)) => Err(error),
            (Ok(outcome), None) => outcome.map_err(exception),
            (Err(panic), None) => resume_unwind(panic),
        }
    }

    /// Waits for work, and drops it where it is not to go on: `None` then.
    pub(crate) async fn until<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = sleep(PAUSE) => {
                    if !self.state().goes_on() {
                        return None;
                    }
                }
            }
        }
    }

    /// Why the work did not go on.
    pub(crate) fn stopped(&self) -> Option<PyErr> {
        self.state().stopped.take()
    }
}

impl State {
    /// Looks at signals, unless it has just done so.
    fn goes_on(&mut self) -> bool {
        if self.stopped.is_none() && self.looked.elapsed() >= PAUSE {
            self.looked = Instant::now();
            self.stopped = Python::attach(|py| py.check_signals()).err();
        }
        self.stopped.is_none()
    }
}
