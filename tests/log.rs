//! The log: its events at every level, in both forms, and that nothing private is in it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::service::{Keys, Service};
use crate::support::{Net, json, pq, run, stderr};

/// Fields that differ from run to run, whatever is inferred.
const VOLATILE: [&str; 5] = ["time", "seconds", "session", "peer", "address"];

/// Lines of a service at the finest level, of one inference of an image.
fn finest(net: &Net, keys: &Keys, index: &str) -> Vec<Value> {
    // Whether the plan has to be fetched is the client's affair, and told.
    let _ = std::fs::remove_dir_all(keys.file("cache"));
    let nets = [format!("net={}", net.folder())];
    let service = Service::start_under(&[("PQ_LOG", "trace")], keys, &nets);
    let args = service.infer(keys, "alice", "net", &net.file("images.npy"));
    json(&service.client(&args, &["--index", index]));
    service.event("ended");
    service.signal("TERM");
    service.event("drained");
    let log = service.log();
    assert!(service.ended().status.success());
    log
}

/// A line without what differs from run to run.
fn settled(line: &Value) -> String {
    let mut line = line.clone();
    let fields = line.as_object_mut().unwrap();
    VOLATILE.iter().for_each(|name| drop(fields.remove(*name)));
    line.to_string()
}

#[test]
fn at_the_finest_level_no_line_depends_on_the_image_or_has_a_private_key() {
    let net = Net::random(5, 2);
    let keys = Keys::new(&[("alice", "")]);
    let logs = ["0", "1"].map(|index| finest(&net, &keys, index));
    let events = |name: &str| logs[0].iter().filter(|line| line["event"] == name).count();
    for name in ["connected", "known", "asked", "opened", "moved", "step", "served", "ended"] {
        assert!(events(name) > 0, "no {name} in {:?}", logs[0]);
    }
    // Both parts of every step, at the least.
    assert!(events("step") >= 2 * net.plan.steps.len(), "{}", events("step"));
    // The results differ, and the lines do not.
    let classes = net.plan.classes();
    let found = fusion::ideal(&net.plan, &net.weights, &net.integers).unwrap();
    assert_ne!(found[..classes], found[classes..]);
    let [first, second] = logs.each_ref().map(|log| {
        let mut lines: Vec<String> = log.iter().map(settled).collect();
        lines.sort();
        lines
    });
    assert_eq!(first, second);
    let all = format!("{logs:?}");
    for name in ["server", "alice"] {
        let pem = std::fs::read_to_string(keys.file(name)).unwrap();
        let body = pem.lines().find(|line| !line.starts_with('-')).unwrap();
        assert!(!all.contains(body), "the private key of {name}");
    }
    // What a session's events lie within says whose they are.
    let step = logs[0].iter().find(|line| line["event"] == "step").unwrap();
    assert_eq!((&step["client"], &step["level"]), (&"alice".into(), &"trace".into()));
    assert!(step["session"].is_string() && step["step"].is_string(), "{step}");
}

#[test]
fn the_usual_log_has_the_fields_that_are_documented() {
    let net = Net::random(5, 1);
    let keys = Keys::new(&[("alice", "")]);
    let service = Service::start(&keys, &[format!("net={}", net.folder())], &[]);
    json(&service.client(&service.infer(&keys, "alice", "net", &net.file("images.npy")), &[]));
    service.event("ended");
    TcpStream::connect(&service.address).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    service.event("refused");
    let names: BTreeSet<_> =
        service.log().iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["ended", "opened", "refused", "served"].map(str::to_owned).into());
    let fields = |name: &str| -> BTreeSet<String> {
        let event = service.event(name);
        let names = event.as_object().unwrap().keys().cloned();
        names.filter(|name| !["time", "level", "event"].contains(&name.as_str())).collect()
    };
    let expected = |all: &str| -> BTreeSet<String> { all.split(' ').map(str::to_owned).collect() };
    let documented = [
        ("refused", "peer reason why"),
        ("opened", "session client peer model images prepared memory_bytes"),
        (
            "served",
            "session request images seconds server_bytes client_bytes predicted_bytes client model \
             peer",
        ),
        ("ended", "session client model outcome images server_bytes client_bytes seconds why peer"),
    ];
    for (name, all) in documented {
        assert_eq!(fields(name), expected(all), "{name}");
    }
    let ended = service.event("ended");
    // A field that has no value is there, and numbers are numbers.
    assert!(ended["why"].is_null() && ended["seconds"].is_f64() && ended["images"].is_u64());
    assert!(ended["time"].as_f64().unwrap() > 1.7e9, "{ended}");
    assert!(service.drained().status.success());
}

#[test]
fn text_is_a_line_an_event_and_the_level_is_the_users() {
    let net = Net::random(5, 1);
    let keys = Keys::new(&[("alice", "")]);
    let (key, clients) = (keys.file("server"), keys.file("clients.txt"));
    let folder = format!("net={}", net.folder());
    let serve = ["serve", &folder, "--listen", "127.0.0.1:0", "--key", &key, "--clients", &clients];
    let text = [&serve[..], &["--log-format", "text"]].concat();
    let mut child = pq(&text).env("PQ_LOG", "pq=info").spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap();
    let address = first.split("address=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert!(first.contains("Z  INFO listening ") && !first.contains("admin"), "{first}");
    TcpStream::connect(&address).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let refused = lines.next().unwrap();
    assert!(refused.contains("Z  WARN refused peer=127.0.0.1:"), "{refused}");
    assert!(refused.contains(" reason=tls why=\""), "{refused}");
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").arg(&id).status().unwrap().success());
    assert_eq!(lines.filter(|line| line.contains("Z  INFO drain")).count(), 2);
    assert!(child.wait().unwrap().success());
    let wrong = pq(&serve).env("PQ_LOG", "pq=loud").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{}", stderr(&wrong));
    assert!(stderr(&wrong).contains("PQ_LOG") && stderr(&wrong).contains("pq=loud"), "{wrong:?}");
    let wrong = run(&[&serve[..], &["--log-format", "xml"]].concat());
    assert_eq!(wrong.status.code(), Some(2), "{}", stderr(&wrong));
}
