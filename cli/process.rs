//! What this process needs of its system, and how it ends where it cannot go on.
//!
//! Limits are met before any work starts, by errors that name them; and a panic of any thread ends
//! the whole process, so that no other thread waits for what will never come.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use crate::cleanup::Cleanup;
use crate::console::say;
use crate::exit::{Code, Failure, Outcome};

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
    built.map_err(|error| refused("a thread for every core", &error))
}

/// As many more threads as a command may start can be started.
fn spare_threads() -> Outcome<()> {
    let all = Arc::new(Barrier::new(THREADS + 1));
    let mut started = Vec::with_capacity(THREADS);
    for _ in 0..THREADS {
        let all = Arc::clone(&all);
        // Where one is refused, those before it wait for ever: the process ends anyway.
        let wait = move || {
            all.wait();
        };
        started.push(spawn("spare", wait)?);
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
        .map_err(|error| refused("another thread", &error))
}

/// A thread or a process that the system refuses, and the limits that may be the reason.
pub(crate) fn refused(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::internal(format_args!(
        "the system refuses {what}: {error}; raise the limit of processes and threads (ulimit -u, \
        or the container's limit \
         of them) or end other programs; RAYON_NUM_THREADS=1 needs the fewest threads"
    ))
}

/// From now on, a panic of any thread cleans up and ends the process.
pub(crate) fn end_on_panic(cleanup: Cleanup) {
    std::panic::set_hook(Box::new(move |info| {
        say(told(info));
        cleanup.now();
        std::process::exit(i32::from(Code::Internal as u8));
    }));
}

/// A broken invariant, with its place.
fn told(info: &PanicHookInfo<'_>) -> String {
    let what = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
    let failure = Failure::internal(format_args!(
        "a broken invariant: {what}{}; please report it",
        place.unwrap_or_default()
    ));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        return format!("error: {failure}\n{trace}");
    }
    format!("error: {failure}")
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::PathBuf;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// Names the folder that the child below works in.
    const FOLDER: &str = "PQ_TEST_OF_A_PANIC";

    /// In a process of its own, see below: one thread panics while another one waits for it.
    #[test]
    fn a_child_that_panics() {
        let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
        let cleanup = Cleanup::default();
        end_on_panic(cleanup.clone());
        let (temporary, _) =
            cleanup.create(folder.join("half"), |path| File::create(path)).unwrap();
        let (kept, _) = cleanup.spawn(Command::new("sleep").arg("60")).unwrap();
        std::fs::write(folder.join("child"), format!("{}", kept.id())).unwrap();
        let all = Arc::new(Barrier::new(2));
        let waits = Arc::clone(&all);
        let thread = spawn("panics", move || {
            assert!(Arc::strong_count(&waits) > 9, "\u{1b}[2Jforged\nverified");
            waits.wait();
        });
        all.wait();
        drop((thread, temporary, kept));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_panic_of_any_thread_ends_the_process_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "process::tests::a_child_that_panics",
            "--nocapture",
            "--test-threads",
            "1",
        ]);
        command.env(FOLDER, folder.path()).env_remove("RUST_BACKTRACE");
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("a panic of one thread left the process hanging");
            }
            thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(
            message.contains("error: a broken invariant: \\u{1b}[2Jforged\\u{a}verified"),
            "{message}"
        );
        assert!(!folder.path().join("half").exists(), "a half-written file stays behind");
        let sleeper = std::fs::read_to_string(folder.path().join("child")).unwrap();
        assert!(!PathBuf::from(format!("/proc/{sleeper}")).exists(), "a child stays behind");
    }
}
