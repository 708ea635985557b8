//! Limits of the process: few files, few threads. What cannot run ends at once, with an error that
//! names the limit.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread::Builder;
use std::time::Duration;

use crate::support::{Net, finished, stderr};

/// Only a hang exceeds it.
const PATIENCE: Duration = Duration::from_secs(60);
const LISTENING: &str = "listening on ";

fn assert_ends_well(output: &Output, limit: &str, tool: i32) {
    let message = stderr(output);
    let code = output.status.code();
    // 127 and 126: the system could not even load the program.
    assert!(
        [Some(0), Some(1), Some(tool), Some(126)].contains(&code),
        "{limit}: {:?} {message}",
        output.status
    );
    assert!(!message.contains("panicked") && !message.contains("invariant"), "{limit}: {message}");
    if code == Some(1) {
        assert!(message.contains("ulimit"), "{limit}: {message}");
    }
}

/// The commands that need the most, on a network.
fn commands(net: &Net) -> [Vec<String>; 3] {
    let file = |name: &str| net.file(name);
    let local = ["infer", "--local", net.folder(), "--input", &file("images.npy"), "--json"]
        .map(str::to_owned);
    let server =
        ["infer", "--role", "server", "--plan", &file("plan.json"), "--weights"].map(str::to_owned);
    let server = server.into_iter().chain([
        file("weights.safetensors"),
        "--listen".into(),
        "127.0.0.1:0".into(),
    ]);
    let client =
        ["infer", "--role", "client", "--plan", &file("plan.json"), "--input", &file("images.npy")];
    let nobody = ["--connect", "localhost:1", "--connect-timeout", "0.2"];
    let client = client.into_iter().chain(nobody).map(str::to_owned);
    [local.into(), server.collect(), client.collect()]
}

/// How a run ends. A server that serves has said all that there is to know.
fn ended(mut command: Command, server: bool) -> Output {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    if !server {
        return finished(child, PATIENCE);
    }
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let (send, received) = mpsc::channel();
    let said = move || {
        let mut said = Vec::new();
        let serves = lines
            .by_ref()
            .inspect(|line| said.push(line.clone()))
            .any(|line| line.starts_with(LISTENING));
        let _ = send.send((serves, said.join("\n")));
    };
    Builder::new().spawn(said).unwrap();
    let (serves, stderr) = received.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        child.kill().unwrap();
        panic!("a server that neither serves nor ends");
    });
    if serves {
        child.kill().unwrap();
        child.wait().unwrap();
        return Output { status: ExitStatus::default(), stdout: Vec::new(), stderr: stderr.into() };
    }
    Output { stderr: stderr.into(), ..finished(child, PATIENCE) }
}

#[test]
fn few_files_are_an_error_that_names_the_limit() {
    let net = Net::random(1, 1);
    let (most, step) = if cfg!(debug_assertions) { (24, 3) } else { (48, 1) };
    let mut codes = Vec::new();
    for files in (0..=12).chain((13..=most).step_by(step)) {
        for (at, args) in commands(&net).iter().enumerate() {
            let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
            let mut command = Command::new("sh");
            command.args(["-c", &script, env!("CARGO_BIN_EXE_pq")]).args(args);
            let output = ended(command, at == 1);
            // A client without a server.
            if at == 2 && output.status.code() == Some(4) {
                continue;
            }
            assert_ends_well(&output, &format!("{files} files, {}", args[2]), 127);
            codes.extend(output.status.code().filter(|_| at == 0));
        }
    }
    assert!(codes.contains(&1), "no limit was met: {codes:?}");
}

#[test]
fn few_threads_are_an_error_that_names_the_limit() {
    // The limit counts a user's processes, and binds no administrator: a user of its own, who has
    // none.
    let user = format!("--reuid={}", 100_000 + std::process::id() % 100_000);
    let other = |limit: u32| {
        let mut command = Command::new("setpriv");
        command.args([&user, "--clear-groups", "prlimit", &format!("--nproc={limit}")]);
        command
    };
    let works =
        other(100).arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !works {
        println!(
            "skipped: only an administrator with setpriv and prlimit can run as a user without \
             processes"
        );
        return;
    }
    let net = Net::random(1, 1);
    fs::set_permissions(net.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["plan.json", "weights.safetensors", "images.npy"] {
        fs::set_permissions(net.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let mut readable = other(100);
    readable.args(["test", "-r", &net.file("plan.json"), "-a", "-x", env!("CARGO_BIN_EXE_pq")]);
    let readable = readable.status().is_ok_and(|status| status.success());
    if !readable {
        println!("skipped: another user cannot read the temporary folder or run the program");
        return;
    }
    let mut codes = Vec::new();
    for threads in 0..=24 {
        for (at, args) in commands(&net).iter().enumerate() {
            let mut command = other(threads);
            command.arg(env!("CARGO_BIN_EXE_pq")).args(args).env("RAYON_NUM_THREADS", "2");
            let output = ended(command, at == 1);
            if at == 2 && output.status.code() == Some(4) {
                continue;
            }
            assert_ends_well(&output, &format!("{threads} threads, {}", args[2]), 127);
            codes.extend(output.status.code().filter(|_| at == 0));
        }
    }
    assert!(codes.contains(&1) && codes.last() == Some(&0), "{codes:?}");
}
