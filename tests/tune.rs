//! `pq tune` on the digits network: where it starts, how it goes on, and what it ends with.

use std::path::Path;

use crate::search::asset;
use crate::support::{json, run, stderr};

fn tune(out: &Path, more: &[&str]) -> std::process::Output {
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let out = out.to_str().unwrap();
    let args = ["tune", &model, "--train", &images, "--fixed", "w2a4", "--no-flip", "--crop", "1"];
    run(&[&args[..], &["--out", out, "--json"], more].concat())
}

/// The integers of a network, which its export holds without salt.
fn integers(net: &Path) -> Vec<u8> {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("net.onnx");
    json(&run(&["export", net.to_str().unwrap(), "--out", path.to_str().unwrap(), "--json"]));
    std::fs::read(path).unwrap()
}

#[test]
fn without_steps_it_is_the_network_of_the_search() {
    let folder = tempfile::tempdir().unwrap();
    let [tuned, searched] = ["tuned", "searched"].map(|name| folder.path().join(name));
    let mut found = json(&tune(&tuned, &["--steps", "0"]));
    // What a search does not have.
    let training = found.as_object_mut().unwrap().remove("training").unwrap();
    assert_eq!((&training["steps"], &training["curve"]), (&0.into(), &serde_json::json!([])));
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let out = searched.to_str().unwrap();
    let args = ["search", &model, "--calib", &images, "--fixed", "w2a4", "--out", out, "--json"];
    assert_eq!(found, json(&run(&args)));
    assert_eq!(integers(&tuned), integers(&searched));
}

#[test]
fn a_trained_network_runs_privately_and_a_resumed_training_ends_with_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, resumed] = ["whole", "resumed"].map(|name| folder.path().join(name));
    let steps = ["--steps", "6"];
    let report = folder.path().join("curves.html");
    let page = ["--report", report.to_str().unwrap()];
    let found = json(&tune(&whole, &[&steps[..], &page].concat()));
    let images = asset("digits-test-images-idx3-ubyte");
    let net = whole.to_str().unwrap();
    let inference =
        json(&run(&["infer", "--local", net, "--input", &images, "--verify", "--json"]));
    assert_eq!(inference["verified"], true);
    assert_eq!(found["layers"][0]["weight_bits"], 8);
    // A tenth is held back, at most: the start and every step are looked at.
    let curve = found["training"]["curve"].as_array().unwrap();
    let steps_of: Vec<_> = curve.iter().map(|at| at["step"].as_u64().unwrap()).collect();
    assert_eq!(steps_of, [0, 1, 2, 3, 4, 5, 6]);
    assert!(found["training"]["held_back"].as_u64().unwrap() > 0);
    assert!(curve.iter().all(|at| (0.0..=1.0).contains(&at["agreement"].as_f64().unwrap())));
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(!page.contains("\\u{"), "{page}");
    assert!(page.matches("<polyline").count() >= 2 && page.ends_with("</html>\n"), "{page}");
    // From the last state there is nothing left to do but to write.
    std::fs::create_dir(&resumed).unwrap();
    std::fs::copy(whole.join("training.state"), resumed.join("training.state")).unwrap();
    let again = json(&tune(&resumed, &["--steps", "6", "--resume"]));
    assert_eq!(again["predicted_bits"], found["predicted_bits"]);
    assert_eq!(again["training"], found["training"]);
    assert_eq!(integers(&resumed), integers(&whole));
    let other = tune(&resumed, &["--steps", "7", "--resume"]);
    assert!(!other.status.success());
    let said = String::from_utf8_lossy(&other.stdout).into_owned() + &stderr(&other);
    assert!(said.contains("expected --steps 7, found --steps 6"), "{said}");
    let state = std::fs::read(resumed.join("training.state")).unwrap();
    std::fs::write(resumed.join("training.state"), &state[..state.len() - 4]).unwrap();
    let cut = tune(&resumed, &["--steps", "6", "--resume"]);
    let said = String::from_utf8_lossy(&cut.stdout).into_owned() + &stderr(&cut);
    assert!(!cut.status.success() && said.contains("bytes: expected"), "{said}");
}

/// Widths that are searched, and a teacher that is another file.
#[test]
fn a_network_is_trained_within_a_budget() {
    let folder = tempfile::tempdir().unwrap();
    let [fixed, within] = ["fixed", "within"].map(|name| folder.path().join(name));
    let uniform = json(&tune(&fixed, &["--steps", "0"]));
    let budget = uniform["predicted_bits"].as_u64().unwrap();
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let (bits, out) = (budget.to_string(), within.to_str().unwrap());
    let args = ["tune", &model, "--train", &images, "--no-flip", "--crop", "1", "--steps", "4"];
    let goal = ["--budget-bits", &bits, "--teacher", &model, "--out", out, "--json"];
    let found = json(&run(&[&args[..], &goal].concat()));
    assert_eq!(found["budget_bits"], budget);
    assert!(found["predicted_bits"].as_u64().unwrap() <= budget, "{found}");
    let images = asset("digits-test-images-idx3-ubyte");
    let inference =
        json(&run(&["infer", "--local", out, "--input", &images, "--verify", "--json"]));
    assert_eq!(inference["verified"], true);
    // The bits of widths that are fixed: what is planned is the cheapest, not the fastest.
    let (sparse, least) = (folder.path().join("sparse"), (budget * 9 / 10).to_string());
    let goal_of = |bits| ["--fixed", "w3a3", "--budget-bits", bits];
    let written = ["--out", sparse.to_str().unwrap(), "--json"];
    let found = json(&run(&[&args[..], &goal_of(&least), &written].concat()));
    assert!(found["predicted_bits"].as_u64().unwrap() <= budget * 9 / 10, "{found}");
    let impossible = run(&[&args[..], &goal_of("1"), &written, &["--force"]].concat());
    let said = String::from_utf8_lossy(&impossible.stdout).into_owned() + &stderr(&impossible);
    assert!(!impossible.status.success() && said.contains("the smallest possible"), "{said}");
    let goal = ["--budget-bits", &bits, "--teacher", "none.onnx", "--out", out, "--json"];
    let missing = run(&[&args[..], &goal].concat());
    let said = String::from_utf8_lossy(&missing.stdout).into_owned() + &stderr(&missing);
    assert!(!missing.status.success() && said.contains("none.onnx"), "{said}");
}

#[test]
fn a_network_is_trained_at_the_widths_of_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let [first, again, wrong] = ["first", "again", "wrong"].map(|name| folder.path().join(name));
    let fixed = json(&tune(&first, &["--steps", "0"]));
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let args = ["tune", &model, "--train", &images, "--no-flip", "--crop", "1", "--steps", "0"];
    let at = |widths: &Path, out: &Path| {
        let ends = ["--widths", widths.to_str().unwrap(), "--out", out.to_str().unwrap(), "--json"];
        run(&[&args[..], &ends].concat())
    };
    assert_eq!(json(&at(&first, &again)), fixed);
    assert_eq!(integers(&again), integers(&first));
    // Of other layers, or none at all.
    let summary = first.join("search.json");
    let mut other = fixed.clone();
    other["layers"][0]["name"] = "elsewhere".into();
    for (text, said) in [
        (other.to_string(), "search.json: widths of layers: found elsewhere, expected some of"),
        ("{}".into(), "search.json: expected widths of layers"),
    ] {
        std::fs::write(&summary, text).unwrap();
        let refused = at(&first, &wrong);
        let found = String::from_utf8_lossy(&refused.stdout).into_owned() + &stderr(&refused);
        assert!(!refused.status.success() && found.contains(said), "{found}");
        assert!(!wrong.join("plan.json").exists());
    }
}
