//! Private inference by the real binary: results, ledger and JSON.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Net, Server, finished, json, pq, run, stderr};

const PATIENCE: Duration = Duration::from_secs(120);
const AMOUNT: [&str; 4] = ["server_bytes", "client_bytes", "rounds", "seconds"];

/// The plaintext logits, `[images][classes]`.
fn expected(net: &Net) -> Vec<Vec<i64>> {
    let logits = fusion::ideal(&net.plan, &net.weights, &net.integers).unwrap();
    (0..net.images)
        .map(|image| logits.iter().skip(image).step_by(net.images).copied().collect())
        .collect()
}

fn logits(result: &Value) -> Vec<Vec<i64>> {
    serde_json::from_value(result["logits_int"].clone()).unwrap()
}

fn sum(values: &Value, phase: &str, field: &str) -> u64 {
    values.as_array().unwrap().iter().map(|step| step[phase][field].as_u64().unwrap()).sum()
}

fn assert_amount(amount: &Value) {
    for field in AMOUNT {
        assert!(amount[field].is_number(), "{field} of {amount}");
    }
}

fn without_seconds(mut amount: Value) -> Value {
    for part in ["offline", "online"] {
        amount[part].as_object_mut().unwrap().remove("seconds");
    }
    amount.as_object_mut().unwrap().remove("seconds");
    amount
}

/// The shape that the contract gives to a ledger, and its laws: steps sum to phases, predictions
/// are measurements.
fn assert_ledger(result: &Value, images: usize) {
    let (cost, steps) = (&result["cost"], &result["steps"]);
    assert_eq!(cost["images"], images);
    for phase in ["setup", "offline", "online"] {
        assert_amount(&cost[phase]);
    }
    for phase in ["offline", "online"] {
        for field in &AMOUNT[..3] {
            assert_eq!(
                sum(steps, phase, field),
                cost[phase][field].as_u64().unwrap(),
                "{phase} {field}"
            );
        }
    }
    for step in steps.as_array().unwrap() {
        assert!(step["name"].is_string() && step["protocol"].is_string());
        let kinds = ["linear", "nonlinear", "pool", "ot", "io"];
        assert!(kinds.contains(&step["kind"].as_str().unwrap()), "{step}");
        for part in [step, &step["offline"], &step["online"]] {
            assert_amount(part);
        }
        let predicted = &step["predicted"];
        for part in [predicted, &predicted["offline"], &predicted["online"]] {
            assert_amount(part);
        }
        for field in &AMOUNT[..3] {
            assert_eq!(
                step[field],
                step["offline"][field].as_u64().unwrap() + step["online"][field].as_u64().unwrap()
            );
            assert_eq!(step[field], predicted[field], "{step}");
        }
        let measured: Value =
            ["offline", "online"].iter().map(|p| (p.to_string(), step[p].clone())).collect();
        let priced: Value =
            ["offline", "online"].iter().map(|p| (p.to_string(), predicted[p].clone())).collect();
        assert_eq!(without_seconds(measured), without_seconds(priced));
    }
}

#[test]
fn both_parties_in_one_process_equal_the_plaintext_network() {
    for seed in [1, 2, 3] {
        let net = Net::random(seed, 3);
        let images = net.file("images.npy");
        let args = [
            "infer",
            "--local",
            net.folder(),
            "--input",
            &images,
            "--index",
            "0..3",
            "--verify",
            "--json",
        ];
        let result = json(&run(&args));
        assert_eq!(result["verified"], true);
        assert_eq!(logits(&result), expected(&net));
        assert_ledger(&result, 3);
        let floats: Vec<Vec<f64>> = serde_json::from_value(result["logits"].clone()).unwrap();
        assert_eq!(floats[0][0], expected(&net)[0][0] as f64 * net.plan.output.scale);
        let predictions: Vec<usize> =
            serde_json::from_value(result["predictions"].clone()).unwrap();
        let largest =
            |row: &Vec<i64>| row.iter().position(|v| v == row.iter().max().unwrap()).unwrap();
        assert_eq!(predictions, expected(&net).iter().map(largest).collect::<Vec<_>>());
    }
}

#[test]
fn two_processes_equal_the_plaintext_network_and_agree_on_the_ledger() {
    let net = Net::random(4, 2);
    let server = Server::start(&net.file("plan.json"), &net.file("weights.safetensors"), &[]);
    let (plan, images) = (net.file("plan.json"), net.file("images.npy"));
    let address = server.address.clone();
    let args =
        ["infer", "--role", "client", "--plan", &plan, "--input", &images, "--index", "0..2"];
    let client =
        finished(pq(&args).args(["--connect", &address, "--json"]).spawn().unwrap(), PATIENCE);
    let server = json(&server.finished(PATIENCE));
    let client = json(&client);
    assert_eq!(logits(&client), expected(&net));
    assert_eq!(client["verified"], Value::Null);
    assert_eq!(server["predictions"], Value::Null, "the server learns nothing");
    for result in [&server, &client] {
        assert_ledger(result, 2);
    }
    for phase in ["setup", "offline", "online"] {
        for field in &AMOUNT[..3] {
            assert_eq!(server["cost"][phase][field], client["cost"][phase][field]);
        }
    }
}

#[test]
fn inferences_are_prepared_first_and_then_run_one_by_one() {
    let net = Net::random(3, 3);
    let images = net.file("images.npy");
    let args = |index, offline| {
        let args = ["infer", "--local", net.folder(), "--input", &images, "--verify", "--json"];
        json(&run(&[&args[..], &["--index", index, "--offline", offline]].concat()))
    };
    let one = args("0", "1");
    let result = args("0..3", "3");
    assert_eq!(result["verified"], true);
    assert_eq!(logits(&result), expected(&net));
    assert_ledger(&result, 3);
    assert_eq!(
        (&result["cost"]["prepared"], &result["cost"]["inferences"]),
        (&3.into(), &3.into())
    );
    for field in &AMOUNT[..3] {
        let [one, three] =
            [&one, &result].map(|result| result["cost"]["online"][field].as_u64().unwrap());
        assert_eq!(three, 3 * one, "online {field}");
    }
    let spare = args("1..3", "3");
    assert_eq!(spare["verified"], true);
    assert_eq!(logits(&spare), expected(&net)[1..]);
    assert_eq!(spare["cost"]["offline"]["client_bytes"], result["cost"]["offline"]["client_bytes"]);
    // Two are prepared and run, then the third.
    let two = args("0..3", "2");
    assert_eq!((&two["verified"], logits(&two)), (&true.into(), expected(&net)));
    assert_ledger(&two, 3);
    assert_eq!((&two["cost"]["prepared"], &two["cost"]["inferences"]), (&3.into(), &3.into()));
}

#[test]
fn a_batch_is_cut_into_inferences_of_one_session_and_the_last_may_be_smaller() {
    let net = Net::random(4, 7);
    let images = net.file("images.npy");
    let args = [
        "infer",
        "--local",
        net.folder(),
        "--input",
        &images,
        "--index",
        "0..7",
        "--verify",
        "--json",
    ];
    let run = |more: &[&str]| json(&run(&[&args[..], more].concat()));
    let whole = run(&[]);
    assert_eq!((&whole["cost"]["batch"], &whole["cost"]["inferences"]), (&7.into(), &1.into()));
    for (options, batch, inferences) in [
        (&["--batch", "3"][..], 3, 3),
        (&["--batch", "4"], 4, 2),
        (&["--batch", "3", "--offline", "2"], 3, 3),
        (&["--batch", "5", "--reveal", "label"], 4, 2),
    ] {
        let result = run(options);
        assert_eq!(result["verified"], true, "{options:?}");
        assert_eq!(result["predictions"], whole["predictions"], "{options:?}");
        assert_ledger(&result, 7);
        let cost = &result["cost"];
        assert_eq!(
            (&cost["batch"], &cost["inferences"]),
            (&batch.into(), &inferences.into()),
            "{options:?}"
        );
        if !options.contains(&"label") {
            assert_eq!(logits(&result), logits(&whole));
        }
    }
}

#[test]
fn the_label_alone_is_revealed_where_both_parties_ask_for_it() {
    let net = Net::random(3, 3);
    let (plan, images) = (net.file("plan.json"), net.file("images.npy"));
    let args = ["infer", "--local", net.folder(), "--input", &images, "--index", "0..3"];
    let local = |more: &[&str]| run(&[&args[..], &["--verify", "--json"], more].concat());
    let logits = json(&local(&["--reveal", "logits"]));
    let result = json(&local(&["--reveal", "label"]));
    assert_eq!(result["verified"], true);
    assert_eq!((&result["logits"], &result["logits_int"]), (&Value::Null, &Value::Null));
    assert_eq!(result["predictions"], logits["predictions"]);
    assert_ledger(&result, 3);
    let steps = result["steps"].as_array().unwrap();
    assert!(
        steps.iter().any(|step| step["protocol"].as_str().unwrap().starts_with("argmax")),
        "{steps:?}"
    );
    // One by one, prepared before.
    let prepared = json(&local(&["--reveal", "label", "--offline", "3"]));
    assert_eq!(
        (&prepared["verified"], &prepared["predictions"]),
        (&true.into(), &result["predictions"])
    );
    let text = run(&[&args[..], &["--reveal", "label"]].concat());
    assert!(
        !String::from_utf8_lossy(&text.stdout).contains(" %  "),
        "no probability without logits"
    );
    // Processes that do and do not agree on it.
    for (server_reveals, code) in [("label", 0), ("logits", 5)] {
        let mut server =
            Server::start(&plan, &net.file("weights.safetensors"), &["--reveal", server_reveals]);
        let address = server.address.clone();
        let args =
            ["infer", "--role", "client", "--plan", &plan, "--input", &images, "--reveal", "label"];
        let client =
            finished(pq(&args).args(["--connect", &address, "--json"]).spawn().unwrap(), PATIENCE);
        assert_eq!(client.status.code(), Some(code), "{}", stderr(&client));
        if code == 0 {
            assert!(server.finished(PATIENCE).status.success());
            continue;
        }
        // The server waits for a client that agrees.
        let said = server.says("no session with");
        assert!(stderr(&client).contains("reveal") && said.contains("logits"), "{said}");
        server.stopped();
    }
}

#[test]
fn a_server_prepares_what_its_client_asks_for_within_its_limit() {
    let net = Net::random(2, 3);
    let (plan, images) = (net.file("plan.json"), net.file("images.npy"));
    let ask = |offline: &str| {
        let mut server =
            Server::start(&plan, &net.file("weights.safetensors"), &["--max-batch", "4"]);
        let address = server.address.clone();
        let args =
            ["infer", "--role", "client", "--plan", &plan, "--input", &images, "--index", "0..3"];
        let more = ["--connect", &address, "--json", "--offline", offline];
        let client = finished(pq(&args).args(more).spawn().unwrap(), PATIENCE);
        if client.status.success() {
            return (client, server.finished(PATIENCE));
        }
        server.says("no session with");
        (client, server.stopped())
    };
    let (client, server) = ask("4");
    let (client, server) = (json(&client), json(&server));
    assert_eq!(logits(&client), expected(&net));
    assert_eq!(
        client["cost"]["offline"]["client_bytes"],
        server["cost"]["offline"]["client_bytes"]
    );
    assert!(client["keep_alive_bytes"].is_u64() && server["keep_alive_bytes"].is_u64());
    let (client, _) = ask("5");
    assert_eq!(client.status.code(), Some(5), "{}", stderr(&client));
}

#[test]
fn what_cost_predicts_is_what_infer_measures() {
    let net = Net::random(5, 2);
    // What --link was called before is still understood.
    let predicted = json(&run(&["cost", net.folder(), "--batch", "2", "--net", "wan", "--json"]));
    assert_ledger(&predicted, 2);
    let images = net.file("images.npy");
    let args = ["infer", "--local", net.folder(), "--input", &images, "--index", "0..2", "--json"];
    let measured = json(&run(&args));
    for phase in ["setup", "offline", "online"] {
        for field in &AMOUNT[..3] {
            assert_eq!(
                predicted["cost"][phase][field], measured["cost"][phase][field],
                "{phase} {field}"
            );
        }
    }
    assert!(
        predicted["cost"]["online"]["seconds"].as_f64().unwrap() > 0.04,
        "rounds take time over a wan"
    );
}

#[test]
fn a_client_waits_for_a_server_that_is_not_up_yet() {
    let net = Net::random(1, 1);
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (plan, weights, images) =
        (net.file("plan.json"), net.file("weights.safetensors"), net.file("images.npy"));
    let args =
        ["infer", "--role", "client", "--plan", &plan, "--input", &images, "--connect", &port];
    let client = pq(&args).args(["--connect-timeout", "60", "--json"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let args =
        ["infer", "--role", "server", "--plan", &plan, "--weights", &weights, "--listen", &port];
    let server = pq(&args).spawn().unwrap();
    let client = finished(client, PATIENCE);
    assert_eq!(logits(&json(&client)), expected(&net));
    assert!(stderr(&client).contains("waiting for a server"), "{}", stderr(&client));
    assert!(finished(server, PATIENCE).status.success());
}

#[test]
fn eval_counts_the_right_answers() {
    let net = Net::random(6, 9);
    let (images, labels) = (net.file("images.npy"), net.file("labels.txt"));
    let args = ["eval", net.folder(), "--data", &images, "--labels", &labels, "--json"];
    let result = json(&run(&args));
    let largest = |row: &Vec<i64>| row.iter().position(|v| v == row.iter().max().unwrap()).unwrap();
    let right =
        expected(&net).iter().enumerate().filter(|(image, row)| largest(row) == image % 3).count();
    assert_eq!(result["accuracy"], right as f64 / 9.0);
    assert_eq!(result["images"], 9);
    assert_eq!(result["float_accuracy"], Value::Null);
}

#[test]
fn text_shows_probabilities_labels_and_the_ledger() {
    let net = Net::random(2, 1);
    let (images, labels) = (net.file("images.npy"), net.file("labels.txt"));
    let args =
        ["infer", "--local", net.folder(), "--input", &images, "--labels", &labels, "--verify"];
    let output = run(&args);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    for part in ["image 0, label 0", "%", "correlations", "set-up, once", "verified: equal", "✓"]
    {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(!text.contains("differs"));
}
