//! What `--json` prints, and the files that go with it, are as `docs/schema/` says.

use std::fs;
use std::path::Path;

use prost::Message;
use quant::onnx::proto::ModelProto;
use serde_json::Value;

use crate::names::renamed;
use crate::search::{asset, search_args, searches_are_fast};
use crate::support::{Net, Server, finished, json, pq, run};

/// Holds an object against a schema of `docs/schema/`, and says what differs.
pub(crate) fn assert_valid(schema: &str, value: &Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    let text = fs::read_to_string(folder.join(format!("{schema}.schema.json"))).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{schema}:\n{}\n{value:#}", wrong.join("\n"));
    // A schema that takes everything would say nothing.
    let mut more = value.clone();
    more.as_object_mut().unwrap().insert("another_field".into(), Value::Null);
    assert!(!validator.is_valid(&more), "{schema} takes a field that it does not know");
}

fn file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn plans_costs_runs_and_evaluations_are_as_their_schemas_say() {
    for seed in 0..8 {
        let net = Net::random(seed, 2);
        let (folder, images) = (net.folder(), net.file("images.npy"));
        assert_valid("plan", &file(&net.path("plan.json")));
        let cost = json(&run(&["cost", folder, "--json"]));
        assert_valid("cost", &cost);
        let layer = net.plan.layers().next().map(|(_, name, _)| name.to_owned()).unwrap();
        assert_valid("cost-why", &json(&run(&["cost", folder, "--why", &layer, "--json"])));
        for more in [&["--verify"][..], &["--reveal", "label"]] {
            let args = ["infer", "--local", folder, "--input", &images, "--json"];
            assert_valid("infer", &json(&run(&[&args[..], more].concat())));
        }
        let labels = net.file("labels.txt");
        let args = ["eval", folder, "--data", &images, "--labels", &labels, "--json"];
        assert_valid("eval", &json(&run(&args)));
    }
}

/// The plan with every layer that has a hint beside another one.
fn beside(mut plan: Value) -> Value {
    let mut found = 0;
    for step in plan["steps"].as_array_mut().unwrap() {
        let geometry = step["op"]["geometry"].clone();
        if let Some(hint) = step.pointer_mut("/op/protocol/hint") {
            hint["beside"] = serde_json::json!({"host": 1, "geometry": geometry});
            found += 1;
        }
    }
    assert!(found > 0, "{plan:#}");
    plan
}

#[test]
fn plans_and_runs_with_hints_are_as_their_schemas_say() {
    let net = Net::random(2, 1).hinted();
    let (folder, images) = (net.folder(), net.file("images.npy"));
    assert_valid("plan", &file(&net.path("plan.json")));
    assert_valid("plan", &beside(file(&net.path("plan.json"))));
    assert_valid("hints", &json(&run(&["hints", folder, "--json"])));
    let mut known = pq(&["known", "add", "host:7000", &format!("ed25519:{}", "A".repeat(43))]);
    let known = known.arg("--json").env("XDG_CONFIG_HOME", net.file("home")).output().unwrap();
    assert_valid("known", &json(&known));
    assert_valid("keygen", &json(&run(&["keygen", "--out", &net.file("key.pem"), "--json"])));
    assert_valid("plan", &file(&net.path("plan.json")));
    assert_valid("cost", &json(&run(&["cost", folder, "--hints", "sent", "--json"])));
    assert_valid("infer", &json(&run(&["infer", "--local", folder, "--input", &images, "--json"])));
}

#[test]
fn what_each_of_two_processes_says_is_as_its_schema_says() {
    let net = Net::random(3, 2);
    let plan = net.file("plan.json");
    let server = Server::start(&plan, &net.file("weights.safetensors"), &[]);
    let images = net.file("images.npy");
    let args = ["infer", "--role", "client", "--plan", &plan, "--input", &images, "--json"];
    let client = pq(&args).args(["--connect", &server.address]).spawn().unwrap();
    let patience = std::time::Duration::from_secs(120);
    assert_valid("infer", &json(&finished(client, patience)));
    assert_valid("infer", &json(&server.finished(patience)));
}

#[test]
fn searches_and_frontiers_are_as_their_schemas_say() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let asset = |name: &str| assets.join(name).to_str().unwrap().to_owned();
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let out = tempfile::tempdir().unwrap();
    let folder = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let args = ["search", &model, "--calib", &images, "--samples", "16", "--swaps", "0", "--json"];
    let search = |goal: &[&str], name: &str| {
        json(&run(&[&args[..], goal, &["--out", &folder(name)]].concat()))
    };
    let goals = [
        ("fixed", &["--fixed", "w4a4"][..]),
        ("searched", &["--budget-bits", "6M", "--sensitivity", "fisher", "--explain"]),
    ];
    // A debug build searches for minutes.
    let quick = if cfg!(debug_assertions) { 1 } else { goals.len() };
    for (name, goal) in &goals[..quick] {
        assert_valid("search", &search(goal, name));
        assert_valid("search", &file(&out.path().join(name).join("search.json")));
        assert_valid("plan", &file(&out.path().join(name).join("plan.json")));
    }
    if cfg!(debug_assertions) {
        return;
    }
    let goal = ["--frontier", "2", "--limit", "16", "--sensitivity", "fisher"];
    assert_valid("search-frontier", &search(&goal, "frontier"));
    assert_valid("search-frontier", &file(&out.path().join("frontier/search.json")));
}

#[test]
fn inspections_are_as_their_schema_says() {
    let model = asset("digits.onnx");
    let inspect = ["inspect", &model, "--json"];
    let passes = ["--passes", "--without", "relu_into_requant"];
    for more in [&[][..], &["--passes"], &passes] {
        assert_valid("inspect", &json(&run(&[&inspect[..], more].concat())));
    }
    let folder = tempfile::tempdir().unwrap();
    let odd = renamed(folder.path(), &["node"], Some("Mystery"));
    let failed = run(&["inspect", &odd, "--json"]);
    assert_eq!(failed.status.code(), Some(3));
    let result: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_valid("inspect", &result);
    assert!(result["error"].is_object(), "{result}");
}

#[test]
fn comparisons_are_as_their_schema_says() {
    let net = Net::random(2, 1);
    assert_valid("compare", &json(&run(&["compare", net.folder(), "--json"])));
    let images = net.file("images.npy");
    let measured = run(&["compare", net.folder(), "--input", &images, "--json"]);
    assert_valid("compare", &json(&measured));
}

/// Multiplies the scales of an exported network's values by 1.1, so that an import rounds them.
fn rescale(onnx: &Path) {
    let mut file = ModelProto::decode(&*fs::read(onnx).unwrap()).unwrap();
    let graph = file.graph.as_mut().unwrap();
    for tensor in graph.initializer.iter_mut().filter(|t| t.name.ends_with(".requant.scale")) {
        let scale = f32::from_le_bytes(tensor.raw_data[..].try_into().unwrap());
        tensor.raw_data = (1.1 * scale).to_le_bytes().to_vec();
    }
    fs::write(onnx, file.encode_to_vec()).unwrap();
}

#[test]
fn exports_and_imports_are_as_their_schemas_say() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let (net, onnx, again) = (path("net"), path("net.onnx"), path("again"));
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    json(&run(&search_args(&model, &images, &["--fixed", "w8a8", "--out", &net])));
    assert_valid("export", &json(&run(&["export", &net, "--out", &onnx, "--json"])));
    assert_valid("import", &json(&run(&["import", &onnx, "--out", &again, "--json"])));
    assert_valid("import", &file(&Path::new(&again).join("search.json")));
    rescale(Path::new(&onnx));
    let changed = json(&run(&["import", &onnx, "--json"]));
    assert_valid("import", &changed);
    assert_ne!(changed["changes"], Value::Array(Vec::new()));
}

#[test]
fn a_demo_is_as_its_schema_says() {
    // The demo searches.
    if searches_are_fast() {
        assert_valid("demo", &json(&run(&["demo", "--images", "1", "--json"])));
    }
}

#[test]
fn a_failure_is_as_its_schema_says() {
    for args in [
        &["cost", "/nowhere", "--json"][..],
        &["infer", "--json"],
        &["search", "/nowhere.onnx", "--calib", "/nowhere", "--fixed", "w4a4", "--json"],
    ] {
        let failed = run(args);
        assert!(!failed.status.success());
        assert_valid("error", &serde_json::from_slice(&failed.stdout).unwrap());
    }
}
