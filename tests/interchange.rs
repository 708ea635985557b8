//! Quantized networks to and from ONNX.

use std::path::Path;

use serde_json::Value;

use crate::search::{asset, search_args};
use crate::support::{json, run, stderr};

/// Evaluates a network beside an ONNX file.
pub(crate) fn compare(net: &str, images: &str, onnx: &str, limit: &str) -> Value {
    json(&run(&["eval", net, "--data", images, "--float", onnx, "--limit", limit, "--json"]))
}

/// Whether onnxruntime evaluated the file: our own evaluation leaves quantizers out.
pub(crate) fn judged(evaluation: &Value) -> bool {
    let judged = evaluation["float_engine"] == "onnxruntime";
    assert!(judged || std::env::var_os("PQ_REQUIRE_ORT").is_none());
    judged
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn onnxruntime_classifies_the_exported_network_as_eval_does() {
    let (model, calibration) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let images = asset("digits-test-images-idx3-ubyte");
    for widths in [
        &["--fixed", "w4a4"][..],
        &["--fixed", "w3a5", "--first-last", "same"],
        &["--fixed", "w8a8"],
    ] {
        let out = tempfile::tempdir().unwrap();
        let (net, onnx) = (out.path().join("net"), out.path().join("net.onnx"));
        let more = [widths, &["--out", text(&net)]].concat();
        json(&run(&search_args(&model, &calibration, &more)));
        let exported = json(&run(&["export", text(&net), "--out", text(&onnx), "--json"]));
        assert_eq!(exported["bytes"].as_u64().unwrap(), std::fs::metadata(&onnx).unwrap().len());
        assert_eq!(exported["layers"], 7);
        let found = compare(text(&net), &images, text(&onnx), "64");
        if judged(&found) {
            assert_eq!(found["agreement"], 1.0, "{widths:?}");
        }
        // The way back: the same integers, so the same classes and the same price.
        let again = out.path().join("again");
        let imported = json(&run(&["import", text(&onnx), "--out", text(&again), "--json"]));
        let stored = std::fs::read(again.join("search.json")).unwrap();
        assert_eq!(imported, serde_json::from_slice::<Value>(&stored).unwrap());
        assert_eq!(imported["changes"], Value::Array(Vec::new()));
        let bits = |folder: &Path| json(&run(&["cost", text(folder), "--json"]))["cost"].clone();
        assert_eq!(bits(&again), bits(&net), "{widths:?}");
        let evaluated = compare(text(&again), &images, text(&onnx), "64");
        assert_eq!(evaluated["accuracy"], found["accuracy"]);
        if judged(&evaluated) {
            assert_eq!(evaluated["agreement"], 1.0, "{widths:?}");
        }
        let args = ["infer", "--local", text(&again), "--input", &images, "--verify", "--json"];
        assert_eq!(json(&run(&args))["verified"], true);
    }
}

#[test]
fn a_float_network_is_no_quantized_one() {
    let output = run(&["import", &asset("digits.onnx")]);
    assert_eq!(output.status.code(), Some(3));
    for part in ["input", "not quantized", "QuantizeLinear"] {
        assert!(stderr(&output).contains(part), "{part} is missing in {}", stderr(&output));
    }
}

#[test]
fn an_export_that_cannot_be_written_leaves_nothing_behind() {
    let out = tempfile::tempdir().unwrap();
    let net = tempfile::tempdir().unwrap();
    let (model, calibration) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    json(&run(&search_args(&model, &calibration, &["--fixed", "w4a4", "--out", text(net.path())])));
    let missing = out.path().join("missing");
    let output = run(&["export", text(&missing), "--out", text(&out.path().join("net.onnx"))]);
    assert_eq!(output.status.code(), Some(3));
    let folder = out.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let output = run(&["export", text(net.path()), "--out", text(&folder)]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1, "no half-written file");
}
