//! Ctrl-C: the process ends at once with the code of shells, and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::search::{asset, search_args};
use crate::support::{Net, Server, finished, pq, stderr};

const PATIENCE: Duration = Duration::from_secs(30);

/// Asks a process to end, as Ctrl-C does; one that has ended already is left alone.
fn interrupt(id: u32) {
    Command::new("kill").args(["-INT", &id.to_string()]).status().unwrap();
}

#[test]
fn an_interrupted_server_and_an_interrupted_client_end_with_130() {
    let net = Net::random(1, 1);
    let server = Server::start(&net.file("plan.json"), &net.file("weights.safetensors"), &[]);
    interrupt(server.child.id());
    let output = server.finished(PATIENCE);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (plan, images) = (net.file("plan.json"), net.file("images.npy"));
    let args = ["infer", "--role", "client", "--plan", &plan, "--input", &images, "--connect", &address];
    let client = pq(&args).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    interrupt(client.id());
    assert_eq!(finished(client, PATIENCE).status.code(), Some(130));
}

/// Delays at which a run that takes a moment is interrupted: some before, some amid, some after its writes.
fn delays() -> impl Iterator<Item = Duration> {
    (0..12).map(|step| Duration::from_millis(20 * step))
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn an_interrupted_search_leaves_whole_files_or_none() {
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    for delay in delays() {
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().to_str().unwrap();
        let args = search_args(&model, &images, &["--fixed", "w4a4", "--out", folder]);
        let child = pq(&args).spawn().unwrap();
        std::thread::sleep(delay);
        interrupt(child.id());
        finished(child, PATIENCE);
        let names = names(out.path());
        assert!(names.is_empty() || names.len() == 3, "{delay:?}: {names:?}");
        assert!(!names.iter().any(|name| name.ends_with(".tmp")), "{names:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_demo_leaves_no_process_and_no_folder() {
    for delay in delays().step_by(2) {
        let temporary = tempfile::tempdir().unwrap();
        let child = pq(&["demo"]).env("TMPDIR", temporary.path()).spawn().unwrap();
        std::thread::sleep(5 * delay);
        interrupt(child.id());
        finished(child, PATIENCE);
        assert_eq!(names(temporary.path()), Vec::<String>::new(), "{delay:?}");
        let marker = temporary.path().to_str().unwrap();
        for process in names(Path::new("/proc")) {
            let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&line).contains(marker), "a party still runs: {process}");
        }
    }
}
