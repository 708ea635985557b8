//! What this process needs of its system.
//!
//! Limits are met before any work starts, by errors that name them.

use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use crate::exit::{Failure, Outcome};

/// Files that a command has open at once, at most: connections, what waits for them and for
/// signals, what is read or written.
#[cfg(unix)]
const FILES: usize = 24;
/// Threads besides those that compute: two move bytes, one shows progress, one is the other party
/// or a child's reader, one looks up an address, and some are to spare.
const THREADS: usize = 8;
/// With stdin, stdout and stderr, and what whoever started this process has left open.
#[cfg(unix)]
const FEWEST: usize = FILES + 8;
#[cfg(unix)]
const ANY_FILE: &str = "/dev/null";

/// Makes sure of the threads and files that any command may need.
///
/// # Errors
/// The system refuses one: the limit and what to do.
pub(crate) fn prepare() -> Outcome<()> {
    workers()?;
    spare_threads()
}

/// Files can be opened. Before all else: what waits for signals needs some, too.
#[cfg(unix)]
pub(crate) fn files() -> Outcome<()> {
    use std::fs::File;
    let opened: std::io::Result<Vec<File>> = (0..FILES).map(|_| File::open(ANY_FILE)).collect();
    opened.map(drop).map_err(|error| {
        Failure::internal(format_args!(
            "the system refuses {FILES} open files, which a run may need: {error}; raise their \
            limit (ulimit -n) to {FEWEST} \
             at least"
        ))
    })
}

/// Files can be opened, as far as can be told.
#[cfg(not(unix))]
pub(crate) fn files() -> Outcome<()> {
    Ok(())
}

/// The threads that compute, one a core: started now, since they could only panic where they are
/// first used.
fn workers() -> Outcome<()> {
    let built =
        rayon::ThreadPoolBuilder::new().thread_name(|at| format!("worker {at}")).build_global();
    built.map_err(|error| Failure::refused("a thread for every core", &error))
}

/// As many more threads as a command may start can be started.
fn spare_threads() -> Outcome<()> {
    let all = Arc::new(Barrier::new(THREADS + 1));
    let mut started = Vec::with_capacity(THREADS);
    for _ in 0..THREADS {
        let all = Arc::clone(&all);
        started.push(spawn("spare", move || {
            // Where one is refused, those before it wait for ever: the process ends anyway.
            all.wait();
        })?);
    }
    all.wait();
    // They only end.
    started.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

/// Starts a thread. The only way to: `std::thread::spawn` panics where the system refuses.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Outcome<JoinHandle<T>> {
    thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|error| Failure::refused("another thread", &error))
}
