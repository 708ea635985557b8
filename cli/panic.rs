//! How this process ends where it cannot go on: a panic of any thread ends all of it, so that no
//! other thread waits for what will never come. A service goes on: there, whoever waits for a
//! connection's thread learns of its panic.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{Location, PanicHookInfo};
use std::thread;

use crate::cleanup::Cleanup;
use crate::console::say;
use crate::exit::{Code, Failure};

/// From now on, a panic of any thread cleans up and ends the process.
pub(crate) fn end_on_panic(cleanup: Cleanup) {
    std::panic::set_hook(Box::new(move |info| end(&cleanup, info)));
}

/// From now on, a panic of this thread ends the process, and one of any other thread what it was
/// part of: `log` hears of the thread and the place. What it says may quote secrets, and is left
/// out.
pub(crate) fn contain(cleanup: Cleanup, log: fn(&str, Option<&Location<'_>>)) {
    let main = thread::current().id();
    std::panic::set_hook(Box::new(move |info| {
        let own = thread::current();
        if own.id() == main {
            end(&cleanup, info);
        }
        log(own.name().unwrap_or("unnamed"), info.location());
    }));
}

fn end(cleanup: &Cleanup, info: &PanicHookInfo<'_>) -> ! {
    say(told(info));
    cleanup.now();
    std::process::exit(i32::from(Code::Internal as u8));
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
    use std::sync::{Arc, Barrier};
    use std::time::{Duration, Instant};

    use rayon::prelude::*;

    use super::*;
    use crate::process;

    /// Names the folder that the children below work in.
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
        let thread = process::spawn("panics", move || {
            assert!(Arc::strong_count(&waits) > 9, "\u{1b}[2Jforged\nverified");
            waits.wait();
        });
        all.wait();
        drop((thread, temporary, kept));
    }

    /// In a process of its own: a thread of a service panics on a thread that computes for it.
    #[test]
    fn a_child_that_contains_a_panic() {
        let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
        contain(Cleanup::default(), |thread, place| {
            say(format_args!("contained: {thread}, {}", place.map_or("", Location::file)));
        });
        let session = process::spawn("session", || {
            (0..64).into_par_iter().for_each(|at| assert!(at < 9, "a share is {at}"));
        });
        assert!(session.unwrap().join().is_err(), "whoever waits learns of it");
        std::fs::write(folder.join("went on"), "").unwrap();
    }

    /// Runs a test of this file in a process of its own, until it has ended.
    fn child(name: &str, folder: &tempfile::TempDir) -> std::process::Output {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = format!("panic::tests::{name}");
        command.args(["--exact", &name, "--nocapture", "--test-threads", "1"]);
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
        child.wait_with_output().unwrap()
    }

    #[test]
    fn a_panic_of_a_service_ends_what_it_was_part_of_and_tells_its_place_alone() {
        let folder = tempfile::tempdir().unwrap();
        let output = child("a_child_that_contains_a_panic", &folder);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{message}");
        assert!(folder.path().join("went on").exists(), "{message}");
        assert!(message.contains("cli/panic.rs"), "{message}");
        assert!(!message.contains("a share is"), "{message}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_panic_of_any_thread_ends_the_process_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let output = child("a_child_that_panics", &folder);
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
