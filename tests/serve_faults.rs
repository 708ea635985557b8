//! Faults of a service and of the way to it: a panic in one session, and clients that try again.

use std::net::TcpListener;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pq::{Client, ClientOptions, Load, Network, ServiceEvent, ServiceOptions};

use crate::schema::assert_valid;
use crate::support::relay::{Relay, Then};
use crate::support::service::{Keys, Service, page, sum};
use crate::support::{Net, finished, json, pq, run, stderr};

const PATIENCE: Duration = Duration::from_secs(60);

/// Options of a service in this process.
fn options(net: &Net, keys: &Keys) -> ServiceOptions {
    let nets = vec![("net".into(), net.folder().into())];
    let (key, clients) = (keys.file("server").into(), keys.file("clients.txt").into());
    let options = ServiceOptions::new(Some(key), clients, nets);
    ServiceOptions { admin: Some("127.0.0.1:0".into()), ..options }
}

/// A log is called on its session's own thread: one that panics is a fault in that thread.
#[test]
fn a_panic_in_one_session_is_the_end_of_that_session_alone() {
    let net = Net::random(5, 2);
    let keys = Keys::new(&[("struck", "sessions=1"), ("good", "")]);
    let struck = Mutex::new(String::new());
    let log = move |event: &ServiceEvent<'_>| {
        if let ServiceEvent::Opened { session, client: "struck", .. } = event {
            *struck.lock().unwrap() = (*session).to_owned();
        }
        if let ServiceEvent::Served { session, .. } = event {
            let own = struck.lock().unwrap().clone();
            assert_ne!(*session, own, "a secret that no log may have");
        }
    };
    let runtime = pq::runtime().unwrap();
    runtime.block_on(async {
        let service = pq::Service::bind(options(&net, &keys), Box::new(log)).await.unwrap();
        let (address, control) = (service.address().to_string(), service.control());
        let admin = service.admin_address().unwrap().to_string();
        let running = tokio::spawn(service.run());
        let images = Network::open(net.folder()).unwrap().images(net.file("images.npy")).unwrap();
        let connect = async |name: &str| {
            let (load, security) = (Load::new(1, 1, 2), keys.security(name));
            let options = ClientOptions { load, security, ..ClientOptions::default() };
            Client::connect(&address, net.plan.clone(), &options).await.unwrap()
        };
        let charged = || sum(&page(&admin, "/metrics").1, "pq_memory_bytes", "charged");
        let before = charged();
        let mut good = connect("good").await;
        good.prepare(&mut |_| ()).await.unwrap();
        let one = charged();
        let mut lost = connect("struck").await;
        assert!(lost.infer(&images.take(1)).await.is_err());
        let deadline = Instant::now() + PATIENCE;
        while sum(&page(&admin, "/metrics").1, "pq_sessions_total", "outcome=\"panic\"") < 1
            || charged() > one
        {
            assert!(Instant::now() < deadline, "{}", page(&admin, "/metrics").1);
        }
        assert_eq!(sum(&page(&admin, "/metrics").1, "pq_panics_total", ""), 1);
        assert!(before < one && page(&admin, "/sessions").1.matches("\"client\"").count() == 1);
        for at in 0..2 {
            good.infer(&images.skip(at).take(1)).await.unwrap();
        }
        // Its one place is free again.
        drop(connect("struck").await);
        good.close().await.unwrap();
        control.drain();
        assert_eq!(running.await.unwrap(), 0, "all sessions have ended");
    });
}

/// Arguments of a client with the plan's file, so that it has one connection a session.
fn with_plan(net: &Net, keys: &Keys, (client, address): (&str, &str)) -> Vec<String> {
    let (plan, images, weights) =
        (net.file("plan.json"), net.file("images.npy"), net.file("weights.safetensors"));
    let server = keys.identity("server").public().to_string();
    let (key, index) = (keys.file(client), format!("0..{}", net.images));
    ["infer", "--role", "client", "--connect", address, "--plan", &plan, "--input", &images]
        .into_iter()
        .chain(["--key", &key, "--server-key", &server, "--index", &index, "--batch", "1"])
        .chain(["--verify", "--weights", &weights, "--json"])
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_client_whose_session_is_lost_runs_what_is_left_in_another() {
    let net = Net::random(5, 6);
    let keys = Keys::new(&[("client", "")]);
    let service = Service::start(&keys, &[format!("net={}", net.folder())], &[]);
    let whole = Relay::to(&service.address, u64::MAX, Then::Cut);
    let found = json(&service.client(&with_plan(&net, &keys, ("client", &whole.address)), &[]));
    assert_valid("infer", &found);
    assert_eq!(
        (found["sessions"].as_array().unwrap().len(), &found["verified"]),
        (1, &true.into())
    );
    let all = whole.sent();
    let relay = Relay::to(&service.address, all * 2 / 3, Then::Cut);
    let args = with_plan(&net, &keys, ("client", &relay.address));
    let lost = service.client(&args, &[]);
    assert_eq!(lost.status.code(), Some(4), "{}", stderr(&lost));
    let relay = Relay::to(&service.address, all * 2 / 3, Then::Cut);
    let args = with_plan(&net, &keys, ("client", &relay.address));
    let again = json(&service.client(&args, &["--retry-for", "30"]));
    assert_valid("infer", &again);
    assert_eq!(again["verified"], true);
    assert_eq!(again["logits_int"], found["logits_int"]);
    let sessions = again["sessions"].as_array().unwrap();
    let [first, second] = &sessions[..] else { panic!("{sessions:?}") };
    let [before, after] = [first, second].map(|session| session["images"].as_u64().unwrap());
    assert!(before > 0 && after > 0 && before + after == 6, "{sessions:?}");
    assert_eq!((&first["complete"], &second["complete"]), (&false.into(), &true.into()));
    for by in ["server_bytes", "client_bytes"] {
        let phases = ["setup", "offline", "online"].map(|phase| &again["cost"][phase][by]);
        let all: u64 = phases.iter().map(|bytes| bytes.as_u64().unwrap()).sum();
        let sum: u64 = sessions.iter().map(|session| session[by].as_u64().unwrap()).sum();
        assert_eq!(all, sum, "{by}");
    }
    // What the client counts of a session that is complete, its server has in its log.
    service.await_metric("pq_sessions_total", "outcome=\"complete\"", 2);
    let ended = service.event_of("ended", ("session", &second["session"]));
    for field in ["images", "server_bytes", "client_bytes"] {
        assert_eq!(ended[field], second[field], "{field}");
    }
    assert!(service.drained().status.success());
}

#[test]
fn a_client_comes_again_to_a_server_that_is_busy_until_its_time_is_up() {
    let net = Net::random(5, 1);
    let keys = Keys::new(&[("client", "sessions=1")]);
    let service = Service::start(&keys, &[format!("net={}", net.folder())], &[]);
    let args = with_plan(&net, &keys, ("client", &service.address));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (load, security) = (Load::new(1, 1, 2), keys.security("client"));
    let options = ClientOptions { load, security, ..ClientOptions::default() };
    let runtime = pq::runtime().unwrap();
    let connect = Client::connect(&service.address, net.plan.clone(), &options);
    let held = runtime.block_on(connect).unwrap();
    let late = run(&[&args[..], &["--retry-for", "1.5"]].concat());
    assert_eq!(late.status.code(), Some(4), "{}", stderr(&late));
    assert!(stderr(&late).contains("busy") && stderr(&late).contains("--retry-for"));
    let child = pq(&args).args(["--retry-for", "30"]).spawn().unwrap();
    let refused = service.metric("pq_refused_total", "busy");
    service.await_metric("pq_refused_total", "busy", refused + 1);
    runtime.block_on(async { drop(held) });
    assert_eq!(json(&finished(child, PATIENCE))["verified"], true);
    assert!(service.drained().status.success());
}

#[test]
fn a_client_waits_for_a_server_no_longer_than_it_may() {
    let net = Net::random(5, 1);
    let keys = Keys::new(&[("client", "")]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let args = with_plan(&net, &keys, ("client", &closed));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (started, more) = (Instant::now(), ["--retry-for", "1", "--connect-timeout", "0.2"]);
    let late = run(&[&args[..], &more].concat());
    assert_eq!(late.status.code(), Some(4), "{}", stderr(&late));
    assert!(stderr(&late).contains("trying again"), "{}", stderr(&late));
    assert!((1.0..20.0).contains(&started.elapsed().as_secs_f64()), "{:?}", started.elapsed());
}
