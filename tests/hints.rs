//! Hints in files: made by `pq hints`, known to a client or sent to it, and refused by name where
//! they are not the plan's.

use std::fs;
use std::time::Duration;

use pq::{Network, Reveal};
use protocols::plan::Plan;
use serde_json::Value;

use crate::support::{Net, Server, client, finished, json, run, stderr};

const PATIENCE: Duration = Duration::from_secs(120);
const AMOUNT: [&str; 3] = ["server_bytes", "client_bytes", "rounds"];

/// A network with its hints' files.
fn with_hints(seed: u64) -> Net {
    let mut net = Net::random(seed, 2).hinted();
    let made = json(&run(&["hints", net.folder(), "--json"]));
    net.plan = plan(&net);
    assert_eq!(made["digest"].as_str(), net.plan.hints.as_deref());
    assert_eq!(made["bytes"], fs::metadata(net.path("hints.bin")).unwrap().len());
    net
}

fn plan(net: &Net) -> Plan {
    Network::open_plan(net.folder()).unwrap()
}

/// A server and a client of the files as they stand; what each says.
fn both(net: &Net, more: &[&str]) -> [Value; 2] {
    let server = Server::start(&net.file("plan.json"), &net.file("weights.safetensors"), more);
    let asking = client(net, &server.address, &[more, &["--json"]].concat());
    let asked = json(&finished(asking, PATIENCE));
    [json(&server.finished(PATIENCE)), asked]
}

fn assert_setup(result: &Value, predicted: &Value) {
    for field in AMOUNT {
        assert_eq!(result["cost"]["setup"][field], predicted["cost"]["setup"][field], "{field}");
    }
}

#[test]
fn a_client_with_the_file_gets_no_hints_and_one_without_it_gets_them() {
    let net = with_hints(4);
    let images = net.integers.len() / net.images;
    assert!(images > 0);
    let input = &net.integers;
    let first = fusion::ideal(&net.plan, &net.weights, input).unwrap();
    let first: Vec<i64> = first.into_iter().step_by(net.images).collect();
    let cost = |hints| json(&run(&["cost", net.folder(), "--hints", hints, "--json"]));
    let [known, sent] = ["known", "sent"].map(cost);
    let default = || json(&run(&["cost", net.folder(), "--json"]));
    assert_setup(&default(), &known);
    let run = |predicted| {
        let [server, client] = both(&net, &[]);
        assert_eq!(client["logits_int"], serde_json::json!([first]));
        assert_setup(&server, predicted);
        assert_setup(&client, predicted);
    };
    run(&known);
    let [label] = [both(&net, &["--reveal", "label"])].map(|[_, client]| client);
    let largest = first.iter().max().unwrap();
    let expected = first.iter().position(|logit| logit == largest).unwrap();
    assert_eq!(label["predictions"], serde_json::json!([expected]), "one file serves both");
    fs::remove_file(net.path("hints.bin")).unwrap();
    assert_setup(&default(), &sent);
    run(&sent);
    let [server, client] = both(&net, &["--reveal", "label"]);
    assert_eq!(client["predictions"], serde_json::json!([expected]));
    for field in AMOUNT {
        assert_eq!(server["cost"]["setup"][field], client["cost"]["setup"][field]);
    }
}

#[test]
fn both_parties_in_one_process_use_the_file_that_is_there() {
    for seed in [1, 2] {
        let net = with_hints(seed);
        let images = net.file("images.npy");
        let args = ["infer", "--local", net.folder(), "--input", &images, "--verify", "--json"];
        for hints in ["known", "sent"] {
            let result = json(&run(&args));
            assert_eq!(result["verified"], true);
            let cost = json(&run(&["cost", net.folder(), "--hints", hints, "--json"]));
            assert_setup(&result, &cost);
            if hints == "known" {
                fs::remove_file(net.path("hints.bin")).unwrap();
            }
        }
        let compared = json(&run(&["compare", net.folder(), "--input", &images, "--json"]));
        assert_eq!(compared["predicted_bytes"], compared["measured_bytes"]);
    }
}

#[test]
fn hints_that_are_not_the_plans_are_refused_by_name() {
    let net = with_hints(3);
    let (file, seed) = (net.path("hints.bin"), net.path("hints.secret"));
    let (public, secret) = (fs::read(&file).unwrap(), fs::read(&seed).unwrap());
    let before = fs::read(net.path("plan.json")).unwrap();
    let refused = |output: std::process::Output, parts: &[&str]| {
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        let message = stderr(&output);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    };
    // Nobody listens: a client holds its files against the plan first.
    let ask = || finished(client(&net, "127.0.0.1:1", &["--connect-timeout", "1"]), PATIENCE);
    let serve = || {
        let (plan, weights) = (net.file("plan.json"), net.file("weights.safetensors"));
        let args = ["infer", "--role", "server", "--plan", &plan, "--weights", &weights];
        run(&[&args[..], &["--listen", "127.0.0.1:0"]].concat())
    };
    let advice = "pq hints";
    let mut changed = public.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (bytes, what) in [
        (&public[..public.len() - 1], "hints: length"),
        (&changed, "hints: digest"),
        (&[], "hints: length"),
        (&b"something else, and longer than the header of a file"[..], "hints: start"),
    ] {
        fs::write(&file, bytes).unwrap();
        refused(ask(), &["hints.bin", what, advice]);
        refused(run(&["cost", net.folder()]), &["hints.bin", what]);
    }
    fs::write(&file, &public).unwrap();
    let mut changed = secret.clone();
    changed[20] ^= 1;
    for (bytes, what) in [
        (&secret[1..], "76 bytes"),
        (&changed, "of this seed and these weights"),
        (&[0; 76], "hints.secret"),
    ] {
        fs::write(&seed, bytes).unwrap();
        refused(serve(), &["hints.secret", what, advice]);
    }
    fs::remove_file(&seed).unwrap();
    refused(serve(), &["hints.secret", "no such file", advice]);
    // What has nothing to do with hints goes on without their seed.
    let (images, labels) = (net.file("images.npy"), net.file("labels.txt"));
    json(&run(&["eval", net.folder(), "--data", &images, "--labels", &labels, "--json"]));
    // Made anew, whatever was there: the earlier file and the earlier seed serve no more.
    json(&run(&["hints", net.folder(), "--json"]));
    assert_ne!(fs::read(net.path("plan.json")).unwrap(), before);
    assert_ne!(fs::read(&seed).unwrap(), secret);
    let [_, asked] = both(&net, &[]);
    assert!(asked["logits_int"].is_array());
    fs::write(&file, &public).unwrap();
    refused(ask(), &["hints.bin", "hints: digest", advice]);
    fs::write(&seed, &secret).unwrap();
    refused(serve(), &["hints.secret: digest", advice]);
}

#[test]
fn hints_of_one_network_are_not_those_of_another() {
    let (net, other) = (with_hints(5), with_hints(6));
    for name in ["hints.bin", "hints.secret"] {
        fs::copy(other.path(name), net.path(name)).unwrap();
    }
    let asked = finished(client(&net, "127.0.0.1:1", &["--connect-timeout", "1"]), PATIENCE);
    assert!(stderr(&asked).contains("hints: what they are made of"), "{}", stderr(&asked));
    let network = Network::open(net.folder()).unwrap();
    assert!(network.hints().unwrap_err().to_string().contains("hints.secret: digest"));
    // With the other's digest as well.
    let mixed = Plan { hints: other.plan.hints.clone(), ..net.plan.clone() };
    fs::write(net.path("plan.json"), mixed.to_json()).unwrap();
    let network = Network::open(net.folder()).unwrap();
    let error = network.hints().unwrap_err().to_string();
    assert!(error.contains("of this seed and these weights"), "{error}");
    assert!(Network::hints_beside(net.folder(), &mixed).is_err());
}

#[test]
fn a_network_without_hints_has_none_to_make() {
    let net = Net::random(1, 1);
    let refused = run(&["hints", net.folder()]);
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("no layer of this plan has a hint"));
    assert!(!net.path("hints.bin").exists());
}

#[cfg(unix)]
#[test]
fn a_network_is_saved_with_its_hints_and_their_seed_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let net = with_hints(2);
    let network = Network::open(net.folder()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    network.save(folder.path()).unwrap();
    for from in [net.folder.path(), folder.path()] {
        for (name, rights) in [("hints.bin", 0o644), ("hints.secret", 0o600), ("plan.json", 0o644)]
        {
            let path = from.join(name);
            assert_eq!(fs::read(&path).unwrap(), fs::read(net.path(name)).unwrap(), "{name}");
            // Net writes its plan itself.
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, rights, "{name}: {mode:o}");
        }
    }
    let again = Network::open(folder.path()).unwrap();
    let images = again.images(net.file("images.npy")).unwrap();
    let label = again.revealing(Reveal::Label).unwrap();
    for network in [&again, &label] {
        let report = network.infer_locally(&images).unwrap().report;
        assert_eq!(report.setup.cost, network.plan().session_cost(report.load));
    }
    let anew = again.with_new_hints().unwrap();
    assert_ne!(anew.plan().hints, again.plan().hints);
}
