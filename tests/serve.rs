//! `pq serve`: real processes, several networks, clients that behave and others that do not.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pq::{Client, ClientOptions, Error, Load, Network, PublicNetwork};
use protocols::{Error as ProtocolError, Reason};
use serde_json::Value;

use crate::schema::assert_valid;
use crate::support::service::{Keys, Service, apart};
use crate::support::{Net, json, pq, run, stderr};

const TEN: Duration = Duration::from_secs(10);

fn named(name: &str, net: &Net) -> String {
    format!("{name}={}", net.folder())
}

fn assert_ended(output: &Output) {
    assert!(output.status.success(), "{:?}: {}", output.status, stderr(output));
    let ended = json(output);
    assert_valid("serve", &ended);
    assert_eq!(ended["cut"], 0);
}

/// Bytes that the ledger of a run has, of one party.
fn ledger(run: &Value, by: &str) -> u64 {
    ["setup", "offline", "online"]
        .iter()
        .map(|phase| run["cost"][phase][by].as_u64().unwrap())
        .sum()
}

/// A library's client of a network by its name.
async fn connected(
    service: &Service,
    keys: &Keys,
    (client, model): (&str, &str),
    load: Load,
) -> Result<Client, Error> {
    let security = keys.security(client);
    let options = ClientOptions { load, security, ..ClientOptions::default() };
    let stream = Client::dial(&service.address, TEN, &mut || ()).await?;
    let network = PublicNetwork::fetch(stream, model, None, &options).await?;
    let options = ClientOptions { hints: network.hints, ..options };
    Client::connect(&service.address, network.plan, &options).await
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

#[test]
fn several_clients_of_two_networks_at_once_agree_with_the_plaintext_and_the_metrics() {
    let (a, mut b) = (Net::random(5, 6), Net::random(6, 2).hinted());
    Network::open(b.folder()).unwrap().with_new_hints().unwrap().save(b.folder()).unwrap();
    b.plan = Network::open_plan(b.folder()).unwrap();
    let keys = Keys::new(&[("alice", ""), ("bob", "models=b sessions=8")]);
    let service = Service::start(&keys, &[named("a", &a), named("b", &b)], &[]);
    assert_eq!(service.page("/healthz").0, 200);
    assert_eq!(service.page("/readyz"), (200, "ready\n".into()));
    assert_eq!(service.page("/nothing").0, 404);
    let models: Value = serde_json::from_str(&service.page("/models").1).unwrap();
    assert_eq!(models[1]["name"], "b");
    let runs: Vec<Value> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|at| {
                let (client, model, net, index) = match at % 2 {
                    0 => ("alice", "a", &a, "1..6"),
                    _ => ("bob", "b", &b, "0..2"),
                };
                let args = service.infer(&keys, client, model, &net.file("images.npy"));
                let weights = net.file("weights.safetensors");
                let service = &service;
                scope.spawn(move || {
                    let more = ["--index", index, "--prepare", "2", "--verify"];
                    let more = [&more[..], &["--weights", &weights]].concat();
                    json(&service.client(&args, &more))
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(runs.iter().all(|run| run["verified"] == true));
    service.await_metric("pq_sessions_total", "outcome=\"complete\"", 8);
    assert_eq!(service.metric("pq_images_total", "model=\"a\""), 4 * 5);
    assert_eq!(service.metric("pq_images_total", ""), 4 * 5 + 4 * 2);
    for (by, label) in [("server_bytes", "by=\"server\""), ("client_bytes", "by=\"client\"")] {
        let sum: u64 = runs.iter().map(|run| ledger(run, by)).sum();
        assert_eq!(service.metric("pq_bytes_total", label), sum, "{by}");
    }
    assert_eq!(service.metric("pq_ledger_mismatch_total", ""), 0);
    assert!(service.metric("pq_files_bytes_total", "") > 0);
    // What was kept serves the next time: no file is sent again.
    let before = service.metric("pq_files_bytes_total", "");
    let args = service.infer(&keys, "alice", "b", &b.file("images.npy"));
    json(&service.client(&args, &[]));
    assert_eq!(service.metric("pq_files_bytes_total", ""), before);
    // Nobody's input, result or private key is logged.
    let log = format!("{:?}", service.log());
    for secret in ["logits", "PRIVATE", "prediction"] {
        assert!(!log.contains(secret), "{log}");
    }
    assert_ended(&service.drained());
}

#[test]
fn rights_say_which_networks_and_whether_labels_alone() {
    let (a, b) = (Net::random(5, 1), Net::random(6, 1));
    let keys = Keys::new(&[("one", "models=a"), ("label", "reveal=label")]);
    let service = Service::start(&keys, &[named("a", &a), named("b", &b)], &[]);
    let refused = service.infer(&keys, "one", "b", &b.file("images.npy"));
    let refused = service.client(&refused, &[]);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("no network b"), "{}", stderr(&refused));
    let args = service.infer(&keys, "label", "b", &b.file("images.npy"));
    let found = json(&service.client(&args, &[]));
    assert!(found["logits"].is_null() && found["predictions"][0].is_u64(), "{found}");
    let whole =
        json(&service.client(&service.infer(&keys, "one", "a", &a.file("images.npy")), &[]));
    assert!(whole["logits"].is_array());
    // Whoever knows the plan of the logits does not get it by its hash, either.
    let options = ClientOptions { security: keys.security("label"), ..ClientOptions::default() };
    let by_hash = block_on(Client::connect(&service.address, b.plan.clone(), &options));
    assert!(matches!(by_hash, Err(Error::UnknownNetwork { .. })), "{:?}", by_hash.err());
    assert_ended(&service.drained());
}

#[test]
fn strangers_garbage_and_the_dead_cost_others_nothing() {
    let net = Net::random(5, 4);
    let keys = Keys::new(&[("good", ""), ("dead", "")]);
    let service = Service::start(&keys, &[named("net", &net)], &["--auth-time", "2"]);
    // More connections than have a place, half of them silent and half with garbage.
    let strangers: Vec<TcpStream> = (0..80)
        .map(|at| {
            let mut stream = TcpStream::connect(&service.address).unwrap();
            if at % 2 == 1 {
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            }
            stream
        })
        .collect();
    let images = net.file("images.npy");
    let unknown = Keys::new(&[("unknown", "")]);
    let mut args = service.infer(&keys, "good", "net", &images);
    let key = args.iter().position(|arg| arg == "--key").unwrap() + 1;
    args[key] = unknown.file("unknown");
    let refused = service.client(&args, &[]);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    // Clients that are killed, wherever they are.
    for wait in [30, 60, 90, 120, 200] {
        let args = service.infer(&keys, "dead", "net", &images);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut child = pq(&args).args(["--index", "0..4"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let weights = net.file("weights.safetensors");
    let args = service.infer(&keys, "good", "net", &images);
    let found = service.client(&args, &["--verify", "--weights", &weights]);
    assert_eq!(json(&found)["verified"], true);
    assert!(service.metric("pq_refused_total", "tls") > 0);
    assert_eq!(service.metric("pq_refused_total", "\"key\""), 1);
    drop(strangers);
    assert_ended(&service.drained());
}

#[test]
fn a_service_without_room_says_so_and_when_to_come_again() {
    let net = Net::random(5, 1);
    let keys = Keys::new(&[("first", ""), ("second", "sessions=1")]);
    let plan = &net.plan;
    let one = plan.session_memory(Load::one(1));
    let room = protocols::price::PROCESS + plan.shared_memory() + one + one / 2;
    let more = ["--max-memory", &room.to_string(), "--queue-time", "0.2"];
    let service = Service::start(&keys, &[named("net", &net)], &more);
    block_on(async {
        let mut held =
            connected(&service, &keys, ("first", "net"), Load::new(1, 1, 2)).await.unwrap();
        held.prepare(&mut |_| ()).await.unwrap();
        let args = service.infer(&keys, "second", "net", &net.file("images.npy"));
        let busy = service.client(&args, &[]);
        assert_eq!(busy.status.code(), Some(4), "{}", stderr(&busy));
        assert!(stderr(&busy).contains("busy"), "{}", stderr(&busy));
        let rows: Value = serde_json::from_str(&service.page("/sessions").1).unwrap();
        assert_eq!(
            (&rows[0]["client"], rows[0]["memory_bytes"].as_u64()),
            (&"first".into(), Some(one))
        );
        held.close().await.unwrap();
        service.await_metric("pq_sessions_total", "complete", 1);
        // More than there will ever be room for: both parties know how much would fit.
        let large = connected(&service, &keys, ("first", "net"), Load::one(500)).await;
        let large = large.err().unwrap().to_string();
        assert!(large.contains("the server's memory") && large.contains("images"), "{large}");
        let own = connected(&service, &keys, ("second", "net"), Load::one(1)).await.unwrap();
        let second = connected(&service, &keys, ("second", "net"), Load::one(1)).await;
        assert!(matches!(second, Err(Error::Busy { .. })), "{:?}", second.err());
        drop(own);
    });
    assert!(service.metric("pq_refused_total", "busy") == 2);
    assert_ended(&service.drained());
}

#[test]
fn a_quota_of_images_survives_a_restart() {
    let net = Net::random(5, 3);
    let keys = Keys::new(&[("few", "images_per_day=3")]);
    let images = net.file("images.npy");
    let start = || Service::start(&keys, &[named("net", &net)], &[]);
    let service = start();
    let args = service.infer(&keys, "few", "net", &images);
    json(&service.client(&args, &["--index", "0..2"]));
    // Two more are one too many: nothing is told of the second.
    let cut = service.client(&args, &["--index", "0..2", "--batch", "1"]);
    assert_eq!(cut.status.code(), Some(5), "{}", stderr(&cut));
    service.await_metric("pq_sessions_total", "quota", 1);
    assert_eq!(service.metric("pq_images_total", ""), 3);
    assert_ended(&service.drained());
    let service = start();
    let refused = service.client(&service.infer(&keys, "few", "net", &images), &[]);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("all images"), "{}", stderr(&refused));
    assert_eq!(service.metric("pq_refused_total", "quota"), 1);
    assert_ended(&service.drained());
}

#[test]
fn a_service_that_ends_lets_sessions_end_first() {
    let net = Net::random(5, 2);
    let keys = Keys::new(&[("busy", ""), ("idle", "")]);
    let service = Service::start(&keys, &[named("net", &net)], &[]);
    let plan = net.plan.clone();
    block_on(async {
        let load = Load::new(1, 2, 2);
        let mut busy = connected(&service, &keys, ("busy", "net"), load).await.unwrap();
        let mut idle = connected(&service, &keys, ("idle", "net"), load).await.unwrap();
        busy.prepare(&mut |_| ()).await.unwrap();
        idle.prepare(&mut |_| ()).await.unwrap();
        service.signal("TERM");
        service.event("draining");
        assert_eq!(service.page("/readyz").0, 503);
        assert!(
            Client::dial(&service.address, Duration::from_millis(200), &mut || ()).await.is_err()
        );
        let elements = plan.input_wire().elements();
        let image = &net.integers;
        let images = Network::open(net.folder()).unwrap().images(net.file("images.npy")).unwrap();
        assert_eq!(image.len(), 2 * elements);
        for at in 0..2 {
            busy.infer(&images.skip(at).take(1)).await.unwrap();
        }
        busy.close().await.unwrap();
        // The other one asks for nothing, and hears why it ends.
        service.event_of("ended", ("client", &"busy".into()));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let late = idle.infer(&images.take(1)).await;
        let told = matches!(
            late,
            Err(Error::Protocol(ProtocolError::Dismissed { reason: Reason::Leaving, .. }))
        );
        assert!(told, "{late:?}");
    });
    assert_ended(&service.ended());
}

#[test]
fn shards_are_merged_to_what_the_plaintext_network_says() {
    let net = Net::random(5, 7);
    let keys = Keys::new(&[("client", "")]);
    let service = Service::start(&keys, &[named("net", &net)], &[]);
    let mut args = service.infer(&keys, "client", "net", &net.file("images.npy"));
    args.extend(["--index", "0..7", "--labels", &net.file("labels.txt")].map(str::to_owned));
    let files: Vec<String> = (0..3).map(|at| net.file(&format!("part-{at}.jsonl"))).collect();
    let shard = |at: usize| {
        let shard = format!("{at}/3");
        service.client(&args, &["--shard", &shard, "--out", &files[at]])
    };
    let runs = [0, 1].map(|at| json(&shard(at)));
    let part: Vec<&str> = files[..2].iter().map(String::as_str).collect();
    let missing = run(&[&["merge"], &part[..]].concat());
    assert_eq!(missing.status.code(), Some(3), "{}", stderr(&missing));
    assert!(stderr(&missing).contains("found 0..4"), "{}", stderr(&missing));
    let last = json(&shard(2));
    // What is there whole is not run again.
    let before = std::fs::read(&files[1]).unwrap();
    let again = json(&shard(1));
    assert_eq!((&again["images"], std::fs::read(&files[1]).unwrap()), (&[2, 4].into(), before));
    service.await_metric("pq_sessions_total", "complete", 3);
    assert_eq!(service.metric("pq_images_total", ""), 7);
    let all: Vec<&str> = files.iter().rev().map(String::as_str).collect();
    let merged = json(&run(&[&["merge", "--json"], &all[..]].concat()));
    assert_valid("merge", &merged);
    let found = fusion::ideal(&net.plan, &net.weights, &net.integers).unwrap();
    let expected = net.plan.decode(&found, 7).into_iter();
    let expected: Vec<_> = expected.map(|answer| answer.logits.unwrap().integers).collect();
    assert_eq!(merged["logits_int"], serde_json::to_value(&expected).unwrap());
    let eval = ["eval", net.folder(), "--data", &net.file("images.npy"), "--json", "--labels"];
    let eval = json(&run(&[&eval[..], &[&net.file("labels.txt")]].concat()));
    assert_eq!(merged["accuracy"], eval["accuracy"]);
    let runs = [&runs[0], &runs[1], &last];
    for by in ["server_bytes", "client_bytes"] {
        let sum: u64 = runs.iter().map(|run| ledger(run, by)).sum();
        assert_eq!(merged[by], sum, "{by}");
    }
    let twice = run(&["merge", &files[0], &files[0]]);
    assert_eq!(twice.status.code(), Some(3), "{}", stderr(&twice));
    assert!(stderr(&twice).contains("there twice"), "{}", stderr(&twice));
    let none = service.client(&args, &["--shard", "0/9"]);
    assert_eq!(none.status.code(), Some(2), "{}", stderr(&none));
    assert_ended(&service.drained());
}

#[test]
fn a_client_that_wants_nothing_is_let_go() {
    let net = Net::random(5, 1);
    let keys = Keys::new(&[("idle", "")]);
    let service = Service::start(&keys, &[named("net", &net)], &["--idle", "0.3"]);
    let images = Network::open(net.folder()).unwrap().images(net.file("images.npy")).unwrap();
    block_on(async {
        let mut idle = connected(&service, &keys, ("idle", "net"), Load::one(1)).await.unwrap();
        idle.prepare(&mut |_| ()).await.unwrap();
        service.await_metric("pq_sessions_total", "outcome=\"late\"", 1);
        let late = idle.infer(&images).await;
        let told = matches!(
            late,
            Err(Error::Protocol(ProtocolError::Dismissed { reason: Reason::Overdue, .. }))
        );
        assert!(told, "{late:?}");
    });
    assert_ended(&service.drained());
}

#[test]
fn files_are_read_again_and_a_wrong_one_changes_nothing() {
    let (a, b) = (Net::random(5, 1), Net::random(6, 1));
    let keys = Keys::new(&[("old", "")]);
    let service = Service::start(&keys, &[named("net", &a)], &[]);
    let hash = |service: &Service| -> Value {
        serde_json::from_str::<Value>(&service.page("/models").1).unwrap()[0]["plans"][0].clone()
    };
    let before = hash(&service);
    std::fs::write(keys.file("clients.txt"), "old not-a-key\n").unwrap();
    service.signal("HUP");
    let why = service.event("not_reloaded")["why"].to_string();
    assert!(why.contains("clients.txt, line 1"), "{why}");
    json(&service.client(&service.infer(&keys, "old", "net", &a.file("images.npy")), &[]));
    assert_eq!(hash(&service), before);
    keys.write(&[("new", "")]);
    for name in ["plan.json", "weights.safetensors"] {
        std::fs::copy(b.path(name), a.path(name)).unwrap();
    }
    block_on(async {
        // What has begun goes on with what it has.
        let network = Network::open(b.folder()).unwrap();
        let images = network.images(b.file("images.npy")).unwrap();
        service.signal("HUP");
        service.event("reloaded");
        assert_ne!(hash(&service), before);
        let mut new = connected(&service, &keys, ("new", "net"), Load::one(1)).await.unwrap();
        let found = new.infer(&images).await.unwrap();
        let expected = network.infer_locally(&images).unwrap().answers;
        let integers = |all: &[pq::Answer]| all[0].logits.as_ref().unwrap().integers.clone();
        assert_eq!(integers(&found), integers(&expected));
        new.close().await.unwrap();
        let old = connected(&service, &keys, ("old", "net"), Load::one(1)).await;
        assert!(matches!(old, Err(Error::NotAdmitted { .. })), "{:?}", old.err());
    });
    assert_ended(&service.drained());
}

#[test]
fn a_recorded_session_is_refused() {
    let net = Net::random(5, 1);
    let keys = Keys::new(&[("client", "")]);
    let service = Service::start(&keys, &[named("net", &net)], &[]);
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap().to_string();
    let (server, copy) = (service.address.clone(), Arc::clone(&recorded));
    apart(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(&server).unwrap();
            let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (mut to_server, mut to_client) = (server, client);
            let copy = Arc::clone(&copy);
            apart(move || {
                let (mut buffer, mut own) = ([0; 4096], Vec::new());
                while let Ok(read @ 1..) = up.read(&mut buffer) {
                    own.extend_from_slice(&buffer[..read]);
                    if to_server.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                let _ = to_server.shutdown(std::net::Shutdown::Write);
                copy.lock().unwrap().push(own);
            });
            apart(move || {
                let _ = std::io::copy(&mut down, &mut to_client);
                let _ = to_client.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    let mut args = service.infer(&keys, "client", "net", &net.file("images.npy"));
    let at = args.iter().position(|arg| arg == "--connect").unwrap() + 1;
    args[at] = proxy;
    json(&service.client(&args, &[]));
    service.await_metric("pq_sessions_total", "complete", 1);
    let deadline = Instant::now() + TEN;
    while recorded.lock().unwrap().len() < 2 {
        assert!(Instant::now() < deadline, "two connections, of the files and of the session");
        std::thread::sleep(Duration::from_millis(5));
    }
    for bytes in recorded.lock().unwrap().iter() {
        let mut stream = TcpStream::connect(&service.address).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    service.await_metric("pq_refused_total", "", 2);
    assert_eq!(service.metric("pq_sessions_total", ""), 1);
    assert_eq!(service.metric("pq_images_total", ""), 1);
    assert_ended(&service.drained());
}

/// Many sessions at once, again and again: what they took is given back.
#[test]
fn memory_is_given_back_when_sessions_have_ended() {
    const SESSIONS: usize = 16;
    let net = Net::random(5, 4);
    let keys = Keys::new(&[("client", "")]);
    let service = Service::start(&keys, &[named("net", &net)], &[]);
    let network = Network::open(net.folder()).unwrap();
    let images = network.images(net.file("images.npy")).unwrap();
    let round = async || {
        let mut clients = Vec::new();
        for _ in 0..SESSIONS {
            let load = Load::new(1, 1, 4);
            clients.push(connected(&service, &keys, ("client", "net"), load).await.unwrap());
        }
        let mut running = tokio::task::JoinSet::new();
        for mut client in clients {
            let images = images.clone();
            running.spawn(async move {
                for at in 0..4 {
                    client.infer(&images.skip(at).take(1)).await.unwrap();
                }
                client.close().await.unwrap();
            });
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
    };
    let after: Vec<u64> = (1..=3)
        .map(|at| {
            block_on(round());
            service.await_metric("pq_sessions_total", "complete", (at * SESSIONS) as u64);
            let deadline = Instant::now() + TEN;
            while service.metric("pq_memory_bytes", "charged")
                > net.plan.shared_memory() + (1 << 17)
            {
                assert!(Instant::now() < deadline, "{}", service.page("/metrics").1);
            }
            service.memory("VmRSS")
        })
        .collect();
    assert!(after[2] as f64 <= 1.2 * after[0] as f64, "{after:?}");
    let (plan, load) = (&net.plan, Load::new(1, 1, 4));
    let sessions = SESSIONS as u64 * plan.session_memory(load);
    let predicted = protocols::price::PROCESS + plan.shared_memory() + sessions;
    let peak = service.memory("VmHWM");
    println!("{peak} bytes at the most, {predicted} predicted; after each round {after:?}");
    assert!(peak as f64 <= 1.15 * predicted as f64, "{peak} of {predicted}");
    assert_eq!(service.metric("pq_images_total", ""), 3 * SESSIONS as u64 * 4);
    assert_ended(&service.drained());
}
