//! Encrypted sessions by two processes, with keys of files: who may, who may not, and data that are
//! changed on the way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pq::{Client, ClientOptions, ClientTls, Clients, Identity, Security, Server, ServerTls};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Net, Server as Process, client, finished, json, pq, run, stderr};

const PATIENCE: Duration = Duration::from_secs(60);
/// Chooses the bits that are flipped; printed, so that a failure can be repeated.
const SAMPLE: u64 = 16;
const FLIPS: usize = 200;

/// A key in a file of the network's folder: the file and the public half.
fn key(net: &Net, name: &str) -> (String, String) {
    let path = net.file(name);
    let made = json(&run(&["keygen", "--out", &path, "--json"]));
    (path, made["public_key"].as_str().unwrap().to_owned())
}

struct Keys {
    server: (String, String),
    client: (String, String),
    clients: String,
}

fn keys(net: &Net) -> Keys {
    let (server, client) = (key(net, "server.pem"), key(net, "client.pem"));
    let clients = net.file("clients.txt");
    std::fs::write(&clients, format!("# a test\nclient {}\n", client.1)).unwrap();
    Keys { server, client, clients }
}

fn serve(net: &Net, keys: &Keys) -> Process {
    let more = ["--key", &keys.server.0, "--clients", &keys.clients];
    Process::start(&net.file("plan.json"), &net.file("weights.safetensors"), &more)
}

#[test]
fn two_processes_with_keys_agree_with_the_plaintext_network() {
    let net = Net::random(5, 2);
    let keys = keys(&net);
    let server = serve(&net, &keys);
    let weights = net.file("weights.safetensors");
    let more = ["--key", &keys.client.0, "--server-key", &keys.server.1];
    let more = [&more[..], &["--verify", "--weights", &weights, "--json"]].concat();
    let found = json(&finished(client(&net, &server.address, &more), PATIENCE));
    assert_eq!(found["verified"], true);
    assert!(server.finished(PATIENCE).status.success());
}

#[test]
fn a_key_that_is_not_expected_ends_with_code_5_and_names_it() {
    let net = Net::random(5, 1);
    let keys = keys(&net);
    let (stranger, strange_key) = key(&net, "stranger.pem");
    let mut server = serve(&net, &keys);
    // The server is another one than was expected.
    let more = ["--key", &keys.client.0, "--server-key", &strange_key];
    let refused = finished(client(&net, &server.address, &more), PATIENCE);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    assert!(stderr(&refused).contains(&strange_key) && stderr(&refused).contains(&keys.server.1));
    // The client is one that the server does not know.
    let more = ["--key", &stranger, "--server-key", &keys.server.1];
    let refused = finished(client(&net, &server.address, &more), PATIENCE);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    assert!(stderr(&refused).contains(&strange_key), "{}", stderr(&refused));
    server.says(&strange_key);
    // One that speaks no TLS.
    let refused = finished(client(&net, &server.address, &[]), PATIENCE);
    assert!([Some(4), Some(6)].contains(&refused.status.code()), "{}", stderr(&refused));
    // The server is there still.
    let more = ["--key", &keys.client.0, "--server-key", &keys.server.1];
    let served = finished(client(&net, &server.address, &more), PATIENCE);
    assert!(served.status.success(), "{}", stderr(&served));
    assert!(server.finished(PATIENCE).status.success());
}

#[test]
fn a_server_that_is_known_need_not_be_named() {
    let net = Net::random(5, 1);
    let keys = keys(&net);
    let server = serve(&net, &keys);
    let home = net.file("home");
    let known = |more: &[&str]| {
        let args = [&["known"], more, &["--json"]].concat();
        pq(&args).env("XDG_CONFIG_HOME", &home).output().unwrap()
    };
    let (address, key) = (server.address.clone(), keys.server.1.as_str());
    let infer = || {
        let (plan, images) = (net.file("plan.json"), net.file("images.npy"));
        let mut client = pq(&["infer", "--role", "client", "--plan", &plan, "--input", &images]);
        client.args(["--connect", &address, "--key", &keys.client.0, "--json"]);
        finished(client.env("XDG_CONFIG_HOME", &home).spawn().unwrap(), PATIENCE)
    };
    let address = address.as_str();
    assert_eq!(json(&known(&[]))["servers"], serde_json::json!([]));
    let unknown = infer();
    assert_eq!(unknown.status.code(), Some(2), "{}", stderr(&unknown));
    assert!(stderr(&unknown).contains(&format!("pq known add {address}")), "{}", stderr(&unknown));
    let added = json(&known(&["add", address, key]));
    assert_eq!(added["servers"], serde_json::json!([{"address": address, "key": key}]));
    // Another key is never taken silently.
    let other = known(&["add", address, &keys.client.1]);
    assert_eq!(other.status.code(), Some(3), "{}", stderr(&other));
    let served = infer();
    assert!(served.status.success(), "{}", stderr(&served));
    assert!(server.finished(PATIENCE).status.success());
    assert_eq!(json(&known(&["remove", address]))["servers"], serde_json::json!([]));
    assert_eq!(known(&["remove", address]).status.code(), Some(3));
}

#[test]
fn keys_are_never_overwritten_and_wrong_files_are_named() {
    let net = Net::random(5, 1);
    let keys = keys(&net);
    let before = std::fs::read(&keys.server.0).unwrap();
    let again = run(&["keygen", "--out", &keys.server.0]);
    assert_eq!(again.status.code(), Some(3), "{}", stderr(&again));
    assert_eq!(std::fs::read(&keys.server.0).unwrap(), before);
    let (plan, weights) = (net.file("plan.json"), net.file("weights.safetensors"));
    let server = ["infer", "--role", "server", "--plan", &plan, "--weights", &weights];
    let server = [&server[..], &["--listen", "127.0.0.1:0"]].concat();
    let wrong = [
        (vec!["--key", &keys.server.0], 2, "--clients"),
        (vec!["--key", &keys.clients, "--clients", &keys.clients], 3, "clients.txt"),
        (vec!["--key", &keys.server.0, "--clients", &keys.server.0], 3, "server.pem, line 1"),
        (vec!["--clients", &keys.clients], 2, "--key"),
    ];
    for (more, code, part) in wrong {
        let output = run(&[&server[..], &more].concat());
        assert_eq!(output.status.code(), Some(code), "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{more:?}: {}", stderr(&output));
    }
}

#[test]
fn traffic_leaves_this_machine_in_the_clear_only_where_that_is_asked_for() {
    let net = Net::random(5, 1);
    let (plan, weights) = (net.file("plan.json"), net.file("weights.safetensors"));
    let server = ["infer", "--role", "server", "--plan", &plan, "--weights", &weights];
    let output = run(&[&server[..], &["--listen", "0.0.0.0:0"]].concat());
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("--insecure"), "{}", stderr(&output));
}

/// Whether a byte is of the version in a record's header. TLS 1.3 has both sides ignore it, and
/// does not authenticate it (RFC 8446, section 5.1).
fn is_version(sent: &[u8], at: usize) -> bool {
    let mut header = 0;
    while let Some([_, _, _, high, low]) = sent.get(header..header + 5) {
        if (header + 1..header + 3).contains(&at) {
            return true;
        }
        header += 5 + usize::from(u16::from_be_bytes([*high, *low]));
    }
    false
}

/// Forwards a connection, with one bit of what the server or the client sends flipped.
async fn flipping(
    server: String,
    at: Arc<Mutex<(bool, usize)>>,
    sent: Arc<[AtomicUsize; 2]>,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(&server).await.unwrap();
            let ((cr, cw), (sr, sw)) = (client.into_split(), server.into_split());
            let (of_server, bit) = *at.lock().unwrap();
            for (which, mut from, mut to) in [(0, sr, cw), (1, cr, sw)] {
                let mut flip = (of_server == (which == 0)).then_some(bit);
                let sent = Arc::clone(&sent);
                tokio::spawn(async move {
                    let (mut buffer, mut seen) = (vec![0; 1 << 14], Vec::new());
                    while let Ok(read @ 1..) = from.read(&mut buffer).await {
                        let before = seen.len();
                        seen.extend_from_slice(&buffer[..read]);
                        if let Some(bit) =
                            flip.filter(|bit| (before..seen.len()).contains(&(bit / 8)))
                        {
                            // Instead of a version, the length behind it, which may come
                            // later.
                            let bit = if is_version(&seen, bit / 8) { bit + 16 } else { bit };
                            flip = Some(bit);
                            if let Some(byte) = buffer[..read].get_mut(bit / 8 - before) {
                                *byte ^= 1 << (bit % 8);
                            }
                        }
                        sent[which].fetch_max(seen.len(), Ordering::Relaxed);
                        if to.write_all(&buffer[..read]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_are_all_detected_and_none_gives_a_wrong_answer() {
    println!("seed {SAMPLE}");
    let net = Net::random(3, 1);
    let network = pq::Network::open(net.folder()).unwrap();
    let limits = pq::Limits::new(Duration::from_secs(2));
    let identity = |name: &str| {
        let path = net.path(name);
        if !path.exists() {
            Identity::generate().unwrap().save(&path).unwrap();
        }
        Identity::open(&path).unwrap()
    };
    let clients = Clients::one("client", identity("c").public());
    let tls = Arc::new(ServerTls::new(identity("s"), clients, None).unwrap());
    let granted =
        pq::ServerOptions { limits, security: Security::Tls(tls), ..pq::ServerOptions::default() };
    let server = Server::bind("127.0.0.1:0", &network, &granted).await.unwrap();
    let (at, sent) = (Arc::new(Mutex::new((true, usize::MAX))), Arc::default());
    let address = flipping(server.address().to_string(), Arc::clone(&at), Arc::clone(&sent)).await;
    tokio::spawn(async move { server.serve(&mut |_| ()).await });
    let server = identity("s").public().into();
    let tls = Arc::new(ClientTls { identity: identity("c").into(), server });
    let asked = ClientOptions { limits, security: Security::Tls(tls), ..ClientOptions::default() };
    let plan = Arc::clone(network.plan());
    let session = async || {
        let client = Client::connect(&address, Arc::clone(&plan), &asked).await?;
        client.run(&net.integers, &mut |_| ()).await
    };
    let (expected, _) = session().await.unwrap();
    let lengths = [0, 1].map(|which| sent[which].load(Ordering::Relaxed) * 8);
    let mut rng = StdRng::seed_from_u64(SAMPLE);
    for _ in 0..FLIPS {
        let of_server = rng.random::<bool>();
        let bit = rng.random_range(0..lengths[usize::from(!of_server)]);
        *at.lock().unwrap() = (of_server, bit);
        match session().await {
            // The last records close the connection: a client that has its answer and the server's
            // statement is done. What it has is right.
            Ok((found, _)) => {
                assert_eq!(found, expected, "bit {bit}, of the server: {of_server}");
                let length = lengths[usize::from(!of_server)];
                let place = format!("bit {bit} of {length}, of the server: {of_server}");
                assert!(bit + (1 << 11) > length, "{place}");
            }
            Err(error) => drop(error),
        }
    }
}
