//! Processes of the real binary.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Net;

/// The binary with arguments.
pub(crate) fn pq(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pq"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A client's process, which asks for the first image.
pub(crate) fn client(net: &Net, address: &str, more: &[&str]) -> Child {
    let (plan, images) = (net.file("plan.json"), net.file("images.npy"));
    let args =
        ["infer", "--role", "client", "--plan", &plan, "--input", &images, "--connect", address];
    pq(&[&args, more].concat()).spawn().unwrap()
}

/// Runs the binary to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    pq(args).output().unwrap()
}

/// The one object on stdout of a run that went well.
pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{:?}: {}", output.status, stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits for a process that must end within a time.
pub(crate) fn finished(mut child: Child, within: Duration) -> Output {
    let deadline = Instant::now() + within;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("a process hangs: {}", stderr(&child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// A server process that listens.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    messages: BufReader<std::process::ChildStderr>,
}

impl Server {
    /// Starts a server at a free port of loopback.
    pub(crate) fn start(plan: &str, weights: &str, more: &[&str]) -> Self {
        let mut args = vec!["infer", "--role", "server", "--plan", plan, "--weights", weights];
        args.extend(["--listen", "127.0.0.1:0", "--json"]);
        args.extend(more);
        let mut child = pq(&args).spawn().unwrap();
        let mut messages = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(
                messages.read_line(&mut line).unwrap() > 0,
                "the server ended: {:?}",
                child.wait()
            );
            if let Some(address) = line.strip_prefix("listening on ") {
                break address.trim().to_owned();
            }
        };
        Self { child, address, messages }
    }

    /// Waits for a message that contains this, and returns it.
    pub(crate) fn says(&mut self, part: &str) -> String {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let read = self.messages.read_line(&mut line).unwrap();
            assert!(read > 0, "the server ended without {part:?}: {:?}", self.child.wait());
        }
        line
    }

    /// Ends it, and returns what it has said.
    pub(crate) fn stopped(mut self) -> Output {
        self.child.kill().unwrap();
        self.finished(Duration::from_secs(60))
    }

    /// Waits for its end.
    pub(crate) fn finished(mut self, within: Duration) -> Output {
        let mut output = finished(self.child, within);
        self.messages.read_to_end(&mut output.stderr).unwrap();
        output
    }
}
