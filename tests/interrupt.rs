//! Ctrl-C: the process ends at once with the code of shells, and leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::search::{asset, search_args, searches_are_fast};
use crate::support::{Net, Server, finished, pq, stderr};

const PATIENCE: Duration = Duration::from_secs(30);

/// Asks a process to end, as Ctrl-C does; one that has ended already is left alone.
fn interrupt(id: u32) {
    // Who starts these tests in the background has them start processes that ignore it, until these
    // say that they do not: an interruption would be lost before.
    let deadline = Instant::now() + PATIENCE;
    while ignores_interrupts(id) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    send("INT", id);
}

/// Whether a process ignores Ctrl-C: as Linux says it.
fn ignores_interrupts(id: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 2 != 0)
}

/// Sends a signal by its name.
fn send(signal: &str, id: u32) {
    Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status().unwrap();
}

#[test]
fn an_interrupted_server_and_an_interrupted_client_end_with_130() {
    let net = Net::random(1, 1);
    let server = Server::start(&net.file("plan.json"), &net.file("weights.safetensors"), &[]);
    interrupt(server.child.id());
    let output = server.finished(PATIENCE);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let address =
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (plan, images) = (net.file("plan.json"), net.file("images.npy"));
    let args =
        ["infer", "--role", "client", "--plan", &plan, "--input", &images, "--connect", &address];
    let client = pq(&args).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    interrupt(client.id());
    assert_eq!(finished(client, PATIENCE).status.code(), Some(130));
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Interrupted at the start, with each further file that it begins, and at the end: whatever the
/// machine's speed, some of these are amid the writes and some behind them.
#[test]
fn an_interrupted_search_leaves_whole_files_or_none() {
    if !searches_are_fast() {
        return;
    }
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let start = |folder: &Path| {
        let folder = folder.to_str().unwrap();
        pq(&search_args(&model, &images, &["--fixed", "w4a4", "--out", folder])).spawn().unwrap()
    };
    let out = tempfile::tempdir().unwrap();
    let output = finished(start(out.path()), PATIENCE);
    assert!(output.status.success(), "{}", stderr(&output));
    let whole = names(out.path());
    // Two halves, two files of hints, and the record.
    assert_eq!(whole.len(), 5, "{whole:?}");
    for begun in 0..=whole.len() {
        let out = tempfile::tempdir().unwrap();
        let child = start(out.path());
        let deadline = Instant::now() + PATIENCE;
        while names(out.path()).len() < begun {
            assert!(Instant::now() < deadline, "{begun} of the files do not come");
            std::thread::sleep(Duration::from_micros(100));
        }
        interrupt(child.id());
        finished(child, PATIENCE);
        let left = names(out.path());
        assert!(left.is_empty() || left == whole, "{begun} files begun: {left:?}");
    }
}

/// A demo whose temporary files go to a folder, once they are there.
fn started_demo(folder: &Path) -> Child {
    let child = pq(&["demo"]).env("TMPDIR", folder).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while names(folder).is_empty() {
        assert!(Instant::now() < deadline, "the demo does not start");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

/// Whether this process, and so what it starts, ignores SIGHUP.
#[cfg(target_os = "linux")]
fn hangups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1
}

#[cfg(target_os = "linux")]
#[test]
fn a_demo_that_any_signal_ends_leaves_nothing_behind() {
    for signal in ["HUP", "QUIT", "TERM", "ALRM", "USR1", "USR2", "XCPU"] {
        if signal == "HUP" && hangups_are_ignored() {
            println!("skipped: the tests run under nohup, so that HUP is ignored");
            continue;
        }
        let temporary = tempfile::tempdir().unwrap();
        let child = started_demo(temporary.path());
        send(signal, child.id());
        let output = finished(child, PATIENCE);
        assert_eq!(output.status.code(), Some(130), "{signal}: {}", stderr(&output));
        assert_eq!(names(temporary.path()), Vec::<String>::new(), "{signal}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn under_nohup_a_hangup_is_ignored() {
    let net = Net::random(1, 1);
    let address =
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "trap '' HUP; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_pq"),
        "infer",
        "--role",
        "client",
    ]);
    command.args(["--plan", &net.file("plan.json"), "--input", &net.file("images.npy")]);
    command.args(["--connect", &address, "--connect-timeout", "1"]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut messages = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(messages.next().unwrap().starts_with("waiting for"));
    send("HUP", child.id());
    // There is no server: the client waits until its time is over.
    assert_eq!(finished(child, PATIENCE).status.code(), Some(4));
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_may_not_grow_is_1_and_leaves_no_temporary_file() {
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    let args = search_args(&model, &images, &["--fixed", "w4a4", "--out", folder]);
    // In blocks of 512 bytes: enough for the plan or less, too few for the weights.
    for blocks in ["0", "1", "8"] {
        let script = format!("ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_pq")]).args(&args);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(1),
            "{blocks}: {:?} {}",
            output.status,
            stderr(&output)
        );
        assert!(stderr(&output).contains("cannot write"), "{blocks}: {}", stderr(&output));
        assert!(
            !names(out.path()).iter().any(|name| name.ends_with(".tmp")),
            "{:?}",
            names(out.path())
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_demo_leaves_no_process_and_no_folder() {
    for step in 0..6 {
        let delay = Duration::from_millis(200 * step);
        let temporary = tempfile::tempdir().unwrap();
        let child = pq(&["demo"]).env("TMPDIR", temporary.path()).spawn().unwrap();
        std::thread::sleep(delay);
        interrupt(child.id());
        finished(child, PATIENCE);
        assert_eq!(names(temporary.path()), Vec::<String>::new(), "{delay:?}");
        let marker = temporary.path().to_str().unwrap();
        for process in names(Path::new("/proc")) {
            let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            assert!(
                !String::from_utf8_lossy(&line).contains(marker),
                "a party still runs: {process}"
            );
        }
    }
}
