//! `pq inspect --passes`: the integer network after each pass, and what leaving one out costs.

use crate::search::asset;
use crate::support::{Net, json, run, stderr};

fn passes(more: &[&str]) -> serde_json::Value {
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let inspect = [&["inspect", &model, "--passes", "--calib", &images, "--json"], more].concat();
    json(&run(&inspect))["fusion"].take()
}

#[test]
fn passes_are_shown_with_the_graphs_that_they_make() {
    let fusion = passes(&[]);
    let found = fusion["passes"].as_array().unwrap();
    assert!(found.iter().any(|pass| pass["pass"] == "relu_into_requant"), "{fusion}");
    let last = found.last().unwrap()["graph"].as_array().unwrap();
    assert!(last.iter().all(|line| !line.as_str().unwrap().contains(" = relu ")), "{fusion}");
    assert!(last.len() < fusion["graph"].as_array().unwrap().len());
    assert_eq!(fusion["bits"], fusion["bits_with_all"]);
    let text = run(&["inspect", &asset("digits.onnx"), "--passes"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    for part in ["before any pass", "after relu_into_requant", "noise", " an inference"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn assumptions_are_those_of_the_plan() {
    let fusion = passes(&[]);
    let named = |found: &serde_json::Value| -> Vec<String> {
        let found = found["assumptions"].as_array().unwrap();
        found.iter().map(|assumption| assumption["name"].as_str().unwrap().to_owned()).collect()
    };
    // The plan that is looked at takes its OTs from SoftSpoken.
    assert!(named(&fusion).contains(&"circular_correlation_robustness".to_owned()), "{fusion}");
    assert!(!named(&fusion).contains(&"regular_lpn".to_owned()), "{fusion}");
    let net = Net::random(2, 1);
    for (source, lpn) in [("softspoken:4", false), ("ferret", true)] {
        let cost = json(&run(&["cost", net.folder(), "--ot", source, "--json"]));
        assert_eq!(named(&cost).contains(&"regular_lpn".to_owned()), lpn, "{source}: {cost}");
        assert!(
            cost["cost"]["online"]["rounds"].as_u64().unwrap() > 0,
            "all other fields are there"
        );
        let text = run(&["cost", net.folder(), "--ot", source]);
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(text.contains("Diffie-Hellman is hard in ristretto255"), "{text}");
        assert_eq!(text.contains("learning parity with regular noise"), lpn, "{text}");
    }
}

#[test]
fn a_pass_left_out_is_paid_for_and_a_misspelt_one_is_an_error() {
    let fusion = passes(&["--without", "relu_into_requant"]);
    let bits = |field: &str| fusion[field].as_u64().unwrap();
    assert!(bits("bits") > bits("bits_with_all"), "{fusion}");
    let refused = run(&["inspect", &asset("digits.onnx"), "--passes", "--without", "nothing"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("residual_into_accumulator"), "{}", stderr(&refused));
    assert_eq!(
        run(&["inspect", &asset("digits.onnx"), "--without", "idle_nodes"]).status.code(),
        Some(2)
    );
}
