//! Every documented exit code, with a message that says what was wrong.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocols::Limits;
use protocols::execute::Side;
use protocols::weights::Weights;
use tokio::runtime::Runtime;

use crate::support::party::converse;
use crate::support::{Net, Server, client, finished, pq, run, stderr};

const PATIENCE: Duration = Duration::from_secs(60);

fn assert_fails(output: &Output, code: i32, parts: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
    assert_only_an_error(output, code);
    for part in parts {
        assert!(stderr(output).contains(part), "{part:?} is missing in: {}", stderr(output));
    }
}

/// Nothing is on stdout, but under `--json` the error.
fn assert_only_an_error(output: &Output, code: i32) {
    if output.stdout.is_empty() {
        return;
    }
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed.as_object().unwrap().len(), 1, "{printed}");
    let error = &printed["error"];
    assert_eq!(error["code"], code, "{error}");
    let kinds = ["internal", "usage", "input", "peer_lost", "disagreement", "violation"];
    assert_eq!(error["kind"], kinds[code as usize - 1], "{error}");
    let said = stderr(output);
    assert!(said.contains(error["message"].as_str().unwrap()), "{error}: {said}");
}

#[test]
fn wrong_usage_is_2() {
    let net = Net::random(1, 1);
    let images = net.file("images.npy");
    for args in [
        vec!["infer"],
        vec!["infer", "--role", "server"],
        vec!["infer", "--role", "client", "--plan", "p", "--input", "i", "--connect", "nowhere"],
        vec![
            "infer",
            "--role",
            "client",
            "--plan",
            "p",
            "--input",
            "i",
            "--connect",
            "a:1",
            "--verify",
        ],
        vec![
            "infer",
            "--role",
            "server",
            "--plan",
            "p",
            "--weights",
            "w",
            "--listen",
            "a:1",
            "--input",
            "i",
        ],
        vec!["infer", "--local", net.folder()],
        vec!["infer", "--local", net.folder(), "--input", &images, "--index", "3..1"],
        vec!["infer", "--local", net.folder(), "--input", &images, "--timeout", "0"],
        vec!["cost", net.folder(), "--link", "carrier-pigeon"],
        vec!["cost", net.folder(), "--batch", "0"],
        vec!["nonsense"],
    ] {
        assert_fails(&run(&args), 2, &["--help"]);
        let output = run(&[&args[..], &["--json"]].concat());
        assert_fails(&output, 2, &["--help"]);
        assert!(!output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn help_documents_the_exit_codes() {
    for args in [vec!["--help"], vec!["infer", "--help"], vec!["cost", "--help"]] {
        let output = run(&args);
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("verification failed"), "{text}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_3() {
    let net = Net::random(1, 1);
    let (images, plan) = (net.file("images.npy"), net.file("plan.json"));
    let missing = net.file("missing");
    assert_fails(&run(&["inspect", &missing]), 3, &["missing"]);
    let output = run(&["inspect", &missing, "--json"]);
    assert_fails(&output, 3, &["missing"]);
    assert!(!output.stdout.is_empty());
    assert_fails(&run(&["inspect", &images]), 3, &["images.npy"]);
    assert_fails(&run(&["cost", &missing]), 3, &["missing"]);
    assert_fails(&run(&["eval", net.folder(), "--data", &images]), 3, &["--labels"]);
    let local = |more: &[&str]| {
        run(&[&["infer", "--local", net.folder(), "--input", &images], more].concat())
    };
    assert_fails(&local(&["--index", "1..2"]), 3, &["images.npy", "1 images"]);
    fs::write(&plan, "{}").unwrap();
    assert_fails(&run(&["cost", &plan]), 3, &["plan.json"]);
}

#[test]
fn a_plan_that_does_not_hold_together_is_3_and_names_the_step() {
    let net = Net::random(3, 1);
    let mut plan = net.plan.clone();
    let step = plan.steps.last().unwrap().name.clone();
    plan.steps.last_mut().unwrap().op =
        protocols::plan::Op::Output(protocols::steps::Output { input: 9999 });
    fs::write(net.path("plan.json"), plan.to_json()).unwrap();
    assert_fails(&run(&["cost", net.folder()]), 3, &["plan.json", &step, "9999"]);
}

#[test]
fn weights_of_another_network_are_3() {
    let (net, other) = (Net::random(1, 1), Net::random(2, 1));
    fs::copy(other.path("weights.safetensors"), net.path("weights.safetensors")).unwrap();
    let images = net.file("images.npy");
    let output = run(&["infer", "--local", net.folder(), "--input", &images]);
    assert_fails(&output, 3, &["weights.safetensors"]);
}

#[test]
fn a_weight_out_of_range_is_3_and_names_the_step() {
    let net = Net::random(3, 1);
    let mut weights = Weights::clone(&net.weights);
    let (name, layer) = weights.layers.iter_mut().next().unwrap();
    layer.bias[0] = 1 << 59;
    let name = name.clone();
    let mut plan = net.plan.clone();
    plan.weights = weights.digest();
    fs::write(net.path("plan.json"), plan.to_json()).unwrap();
    fs::write(net.path("weights.safetensors"), weights.to_safetensors()).unwrap();
    let images = net.file("images.npy");
    let output = run(&["infer", "--local", net.folder(), "--input", &images]);
    assert_eq!(output.status.code(), Some(3), "{name}: {}", stderr(&output));
}

fn server(net: &Net, more: &[&str]) -> Server {
    Server::start(&net.file("plan.json"), &net.file("weights.safetensors"), more)
}

#[test]
fn a_server_that_nobody_started_is_4_within_the_connect_timeout() {
    let net = Net::random(1, 1);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let started = Instant::now();
    let output = finished(client(&net, &address, &["--connect-timeout", "0.5"]), PATIENCE);
    assert_fails(&output, 4, &[&address, "--connect-timeout"]);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_peer_that_is_killed_is_4_and_the_step_is_named() {
    let net = Net::random(1, 1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let child = client(&net, &listener.local_addr().unwrap().to_string(), &[]);
    drop(listener.accept().unwrap());
    assert_fails(&finished(child, PATIENCE), 4, &["step handshake"]);
}

#[test]
fn a_peer_that_says_nothing_is_4_within_the_timeout() {
    let net = Net::random(1, 1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let child = client(&net, &listener.local_addr().unwrap().to_string(), &["--timeout", "0.5"]);
    let kept = listener.accept().unwrap();
    // The peer's silence and the step's deadline end at the same time: either may be noticed first.
    assert_fails(&finished(child, PATIENCE), 4, &["step handshake", "0.5 s", "--timeout"]);
    drop(kept);
}

#[test]
fn a_peer_that_speaks_something_else_is_6() {
    let net = Net::random(1, 1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let child = client(&net, &listener.local_addr().unwrap().to_string(), &[]);
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"SSH-2.0-OpenSSH_9.6p1\r\n").unwrap();
    assert_fails(&finished(child, PATIENCE), 6, &["protocol violation"]);
}

/// A client that fits ends the session of a server that others have tried, and both end well.
fn assert_serves(net: &Net, server: Server) -> String {
    let weights = net.file("weights.safetensors");
    let good =
        finished(client(net, &server.address, &["--verify", "--weights", &weights]), PATIENCE);
    assert!(good.status.success(), "{}", stderr(&good));
    assert!(String::from_utf8_lossy(&good.stdout).contains("verified: equal"));
    let output = server.finished(PATIENCE);
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn another_plan_is_5_at_the_client_and_the_server_waits_on() {
    let (net, other) = (Net::random(1, 1), Net::random(2, 1));
    let server = server(&net, &[]);
    let failed = finished(client(&other, &server.address, &[]), PATIENCE);
    let hashes: Vec<String> = [&net, &other]
        .iter()
        .map(|net| net.plan.hash().iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    assert_fails(&failed, 5, &["plan hash", &hashes[0], &hashes[1]]);
    let said = assert_serves(&net, server);
    for part in ["no session with 127.0.0.1:", "plan hash", &hashes[0], &hashes[1]] {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

#[test]
fn a_batch_beyond_the_servers_limit_is_5_at_the_client_and_the_server_waits_on() {
    let net = Net::random(1, 3);
    let server = server(&net, &["--max-batch", "2"]);
    let failed = finished(client(&net, &server.address, &["--index", "0..3"]), PATIENCE);
    assert_fails(&failed, 5, &["batch size", "3 images", "at most 2"]);
    let said = assert_serves(&net, server);
    assert!(said.contains("batch size") && said.contains("3 images"), "{said}");
}

#[test]
fn strangers_do_not_end_a_server_and_do_not_keep_a_client_waiting() {
    let net = Net::random(1, 1);
    let server = server(&net, &[]);
    let connect = || TcpStream::connect(&server.address).unwrap();
    for _ in 0..20 {
        drop(connect());
    }
    let mut garbage = vec![0xFF; 5000];
    garbage[..12].copy_from_slice(&[0xD1, 0, 0, 0, 1, 0, 0, 0, 0, 0x10, 0, 0]);
    for said in
        [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", &garbage[..], b"\x1b[2J\x1b[32m\r\n\r\n\r\n"]
    {
        let mut stream = connect();
        stream.write_all(said).unwrap();
        // It is told to go, at once.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    // More than the server keeps at a time, and half of them have begun a hello.
    let mut silent: Vec<TcpStream> = (0..24).map(|_| connect()).collect();
    for stream in silent.iter_mut().step_by(2) {
        let _ = stream.write_all(&[0xD1, 0, 0, 0, 1, 0]);
    }
    let started = Instant::now();
    let said = assert_serves(&net, server);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "a client waits for nobody else's time-out"
    );
    assert!(said.matches("no session with").count() >= 20, "{said}");
    assert!(said.contains("protocol violation") && !said.contains('\x1b'), "{said}");
}

#[test]
fn a_silent_connection_ends_with_the_timeout_and_the_server_waits_on() {
    let net = Net::random(1, 1);
    let mut server = server(&net, &["--timeout", "0.5"]);
    let kept = TcpStream::connect(&server.address).unwrap();
    let said = server.says("no session with");
    assert!(said.contains("silent") || said.contains("nothing useful"), "{said}");
    drop(kept);
    assert_serves(&net, server);
}

/// A network, and its weights with another bias of the last layer, which changes the logits: a
/// server that lies.
fn lie() -> (Net, Weights) {
    let lies = (0..).map(|seed| {
        let net = Net::random(seed, 1);
        let mut weights = Weights::clone(&net.weights);
        let (_, last, _) = net.plan.layers().last().unwrap();
        weights.layers.get_mut(last).unwrap().bias[0] += 1;
        (net, weights)
    });
    let mut lies = lies.filter(|(net, weights)| {
        let logits = |weights| fusion::ideal(&net.plan, weights, &net.integers).unwrap();
        logits(weights) != logits(&net.weights)
    });
    lies.next().unwrap()
}

#[test]
fn a_result_that_is_not_the_plaintext_one_is_7() {
    let (net, weights) = lie();
    let (runtime, weights) = (Runtime::new().unwrap(), Arc::new(weights));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let genuine = net.file("weights.safetensors");
    let child = client(&net, &address, &["--verify", "--weights", &genuine, "--json"]);
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        converse(stream, &net.plan, Side::Server(&weights), 1, Limits::new(PATIENCE)).await
    };
    runtime.block_on(server).unwrap();
    let output = finished(child, PATIENCE);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["verified"], false);
    assert_eq!(result["error"]["code"], 7);
    assert_eq!(result["error"]["kind"], "unverified");
}

#[test]
fn an_address_that_is_taken_is_1() {
    let net = Net::random(1, 1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (plan, weights) = (net.file("plan.json"), net.file("weights.safetensors"));
    let args =
        ["infer", "--role", "server", "--plan", &plan, "--weights", &weights, "--listen", &address];
    assert_fails(&run(&args), 1, &[&address]);
}

#[test]
fn off_loopback_in_the_clear_there_is_a_warning() {
    let net = Net::random(1, 1);
    let (plan, weights) = (net.file("plan.json"), net.file("weights.safetensors"));
    let args = [
        "infer",
        "--role",
        "server",
        "--plan",
        &plan,
        "--weights",
        &weights,
        "--listen",
        "0.0.0.0:0",
        "--insecure",
    ];
    let mut child = pq(&args).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let messages: Vec<String> =
        lines.take_while(|line| !line.starts_with("listening on")).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(messages.concat().contains("not encrypted"), "{messages:?}");
}
