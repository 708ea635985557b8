//! What a search says of its own network is what an evaluation of it finds; `pq inspect` says no
//! more than a search does.

use std::fs;
use std::path::Path;

use quant::model::{Model, Node, Op, ValueId};
use quant::onnx;
use serde_json::Value;

use crate::search::{asset, search_args};
use crate::support::{json, run, stderr};

/// The first calibration images, without labels beside them.
fn unlabeled(folder: &Path, count: u32) -> String {
    let path = folder.join("images");
    let mut bytes = fs::read(asset("digits-calib-images-idx3-ubyte")).unwrap();
    // IDX: a magic number, then images, rows and columns, big-endian.
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let len = 16 + count as usize * number(8) * number(12);
    bytes.truncate(len);
    bytes[4..8].copy_from_slice(&count.to_be_bytes());
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn agreement_and_loss_of_a_search_are_those_of_its_network() {
    let out = tempfile::tempdir().unwrap();
    let (images, model) = (unlabeled(out.path(), 32), asset("digits.onnx"));
    let net = out.path().join("net").to_str().unwrap().to_owned();
    for (widths, far) in [("w8a8", false), ("w2a2", true)] {
        let more = ["--fixed", widths, "--first-last", "same", "--out", &net];
        let searched = run(&search_args(&model, &images, &more));
        let found = json(&searched);
        let fidelity = &found["fidelity"];
        assert_eq!((&found["expected_loss"], &fidelity["images"]), (&Value::Null, &32.into()));
        let warned = stderr(&searched).contains("far from the float network");
        assert_eq!(warned, far, "{fidelity} {}", stderr(&searched));
        // No labels: there is an agreement, and no accuracy.
        let eval = ["eval", &net, "--data", &images, "--limit", "32", "--float", &model];
        let evaluated = json(&run(&[&eval[..], &["--json"]].concat()));
        assert_eq!(evaluated["agreement"], fidelity["agreement"]);
        assert_eq!([&evaluated["accuracy"], &evaluated["float_accuracy"]], [&Value::Null; 2]);
        let text = run(&eval);
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(text.contains("both classify alike") && text.contains("no labels"), "{text}");
        assert!(fidelity["loss"].as_f64().unwrap() > 0.0, "{fidelity}");
    }
    let refused = run(&["eval", &net, "--data", &images]);
    assert_eq!(refused.status.code(), Some(3));
    for part in ["--labels", "--float"] {
        assert!(stderr(&refused).contains(part), "{}", stderr(&refused));
    }
}

#[test]
fn the_text_of_a_search_says_how_near_the_network_is() {
    let (images, model) = (asset("digits-calib-images-idx3-ubyte"), asset("digits.onnx"));
    let args = ["search", &model, "--calib", &images, "--samples", "32", "--fixed", "w8a8"];
    let output = run(&args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Those that did not calibrate judge, where there are enough.
    for part in ["agreement      ", "224 other images", "measured loss  ", "unsigned, 8 bits"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let all = ["search", &model, "--calib", &images, "--fixed", "w8a8"];
    let text = String::from_utf8_lossy(&run(&all).stdout).into_owned();
    assert!(text.contains("256 calibration images"), "{text}");
    assert!(!text.contains("expected loss") && !text.contains("0.0000 nats"), "{text}");
}

#[test]
fn what_a_search_fails_at_is_not_called_supported() {
    let out = tempfile::tempdir().unwrap();
    let shape = [1, 8, 8];
    let node = |name: &str, op, input| Node {
        name: name.into(),
        op,
        inputs: vec![ValueId(input)],
        output: ValueId(input + 1),
        shape,
    };
    let nodes = vec![node("relu", Op::Relu { max: None }, 0)];
    let model = Model { name: "idle".into(), input: shape, nodes, output: ValueId(1) };
    let file = out.path().join("idle.onnx").to_str().unwrap().to_owned();
    fs::write(&file, onnx::export(&model)).unwrap();
    let inspected = run(&["inspect", &file, "--json"]);
    assert_eq!(inspected.status.code(), Some(3), "{}", stderr(&inspected));
    let found: Value = serde_json::from_slice(&inspected.stdout).unwrap();
    let reason = found["unsupported"][0]["reason"].as_str().unwrap();
    let images = asset("digits-calib-images-idx3-ubyte");
    let searched = run(&search_args(&file, &images, &["--fixed", "w8a8"]));
    assert_eq!(searched.status.code(), Some(3));
    assert!(stderr(&searched).contains(reason), "{reason}: {}", stderr(&searched));
    let good = json(&run(&["inspect", &asset("digits.onnx"), "--json"]));
    assert_eq!(good["unsupported"], Value::Array(Vec::new()));
}

#[test]
fn a_search_keeps_to_its_memory_or_says_what_it_needs() {
    let (images, model) = (asset("digits-calib-images-idx3-ubyte"), asset("digits.onnx"));
    let args = ["search", &model, "--calib", &images, "--fixed", "w8a8", "--max-memory"];
    let refused = run(&[&args[..], &["10k"]].concat());
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    let told = stderr(&refused);
    let words: Vec<&str> = told.split("takes about ").collect();
    let needed = words[1].split(' ').next().unwrap();
    assert!(needed.parse::<u64>().unwrap() > 10_000, "{told}");
    assert!(told.contains("10000 are allowed") && told.contains("digits.onnx"), "{told}");
    let least = run(&[&args[..], &[needed]].concat());
    assert!(least.status.success(), "{}", stderr(&least));
}
