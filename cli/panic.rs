//! How this process ends where it cannot go on: a panic of any thread ends all of it, so that no
//! other thread waits for what will never come.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

use crate::cleanup::Cleanup;
use crate::console::say;
use crate::exit::{Code, Failure};

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
    use std::sync::{Arc, Barrier};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::process;

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
        let thread = process::spawn("panics", move || {
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
            "panic::tests::a_child_that_panics",
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
