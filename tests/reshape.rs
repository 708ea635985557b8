//! `pq reshape` on the digits network: what it writes, how it goes on, and what it refuses.

use std::path::Path;

use serde_json::Value;

use crate::schema::assert_valid;
use crate::search::asset;
use crate::support::{json, run, stderr};

fn reshape(out: &Path, more: &[&str]) -> std::process::Output {
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let test = asset("digits-test-images-idx3-ubyte");
    let args = ["reshape", &model, "--train", &images, "--no-flip", "--crop", "1"];
    let ends = ["--test", &test, "--out", out.to_str().unwrap(), "--json"];
    run(&[&args[..], &ends, more].concat())
}

/// What is said of a failure.
fn said(output: &std::process::Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(output)
}

fn requantizations(plan: &Path) -> usize {
    let plan: Value = serde_json::from_slice(&std::fs::read(plan).unwrap()).unwrap();
    let steps = plan["steps"].as_array().unwrap().iter();
    steps.filter(|step| step["op"]["op"] == "requant").count()
}

#[test]
fn a_merged_network_is_searched_and_runs_privately_with_fewer_requantizations() {
    let folder = tempfile::tempdir().unwrap();
    let [onnx, net] = ["merged.onnx", "net"].map(|name| folder.path().join(name));
    let found = json(&reshape(&onnx, &["--merge", "1", "--steps", "40"]));
    assert_valid("reshape", &found);
    assert_eq!(found["bytes"].as_u64().unwrap(), std::fs::metadata(&onnx).unwrap().len());
    let [before, after] = ["before", "after"].map(|name| &found[name]);
    for what in ["bits", "rounds", "nonlinear_steps", "relus"] {
        assert!(after[what].as_u64() < before[what].as_u64(), "{what}: {found:#}");
    }
    // Both digits networks tell nearly all digits.
    assert!(after["accuracy"].as_f64().unwrap() > 0.8, "{found:#}");
    let (model, net) = (onnx.to_str().unwrap(), net.to_str().unwrap());
    let calib = asset("digits-calib-images-idx3-ubyte");
    let search = ["search", model, "--calib", &calib, "--fixed", "w4a4", "--out", net, "--json"];
    json(&run(&search));
    let plan = Path::new(net).join("plan.json");
    assert_eq!(Some(requantizations(&plan) as u64), after["nonlinear_steps"].as_u64());
    let images = asset("digits-test-images-idx3-ubyte");
    let inference = ["infer", "--local", net, "--input", &images, "--verify", "--json"];
    assert_eq!(json(&run(&inference))["verified"], true);
}

#[test]
fn a_partly_linear_network_is_searched_and_runs_privately() {
    let folder = tempfile::tempdir().unwrap();
    let [onnx, net] = ["linear.onnx", "net"].map(|name| folder.path().join(name));
    let found = json(&reshape(&onnx, &["--relus", "0.4", "--by", "pixel", "--steps", "60"]));
    assert_valid("reshape-relus", &found);
    let relus = ["before", "after"].map(|name| found[name]["relus"].as_u64().unwrap());
    assert_eq!(relus[1], (0.4 * relus[0] as f64).floor() as u64);
    assert!(found["after"]["accuracy"].as_f64().unwrap() > 0.8, "{found:#}");
    for system in found["systems"].as_array().unwrap() {
        let [before, after] = ["before", "after"].map(|name| system[name].as_u64().unwrap());
        assert!(after * 2 < before && after > 0, "{system:#}");
    }
    let (model, net) = (onnx.to_str().unwrap(), net.to_str().unwrap());
    let calib = asset("digits-calib-images-idx3-ubyte");
    let search = ["search", model, "--calib", &calib, "--fixed", "w4a4", "--out", net, "--json"];
    json(&run(&search));
    let plan = Path::new(net).join("plan.json");
    let plan: Value = serde_json::from_slice(&std::fs::read(plan).unwrap()).unwrap();
    assert_valid("plan", &plan);
    let steps = plan["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| !step["op"]["linearized"].is_null()), "{plan:#}");
    let images = asset("digits-test-images-idx3-ubyte");
    let inference = ["infer", "--local", net, "--input", &images, "--verify", "--json"];
    assert_eq!(json(&run(&inference))["verified"], true);
}

#[test]
fn a_network_of_polynomials_is_searched_and_runs_privately() {
    let folder = tempfile::tempdir().unwrap();
    let [onnx, net] = ["squares.onnx", "net"].map(|name| folder.path().join(name));
    let found = json(&reshape(&onnx, &["--polynomial", "3", "--steps", "60"]));
    assert_valid("reshape-polynomial", &found);
    let relus = found["relus"].as_array().unwrap();
    let chosen: Vec<&Value> = relus.iter().filter(|relu| relu["chosen"] == true).collect();
    assert_eq!(chosen.len(), 3, "{found:#}");
    assert!(found["after"]["accuracy"].as_f64().unwrap() > 0.8, "{found:#}");
    let elements: u64 = chosen.iter().map(|relu| relu["elements"].as_u64().unwrap()).sum();
    let [before, after] = ["before", "after"].map(|name| found[name]["relus"].as_u64().unwrap());
    assert_eq!(before - after, elements);
    let (model, net) = (onnx.to_str().unwrap(), net.to_str().unwrap());
    let calib = asset("digits-calib-images-idx3-ubyte");
    let search = ["search", model, "--calib", &calib, "--fixed", "w4a4", "--out", net, "--json"];
    json(&run(&search));
    let images = asset("digits-test-images-idx3-ubyte");
    let inference = ["infer", "--local", net, "--input", &images, "--verify", "--json"];
    assert_eq!(json(&run(&inference))["verified"], true);
    // By name it is the same network, and one that is not known is told from those that are.
    let names: Vec<&str> = chosen.iter().map(|relu| relu["name"].as_str().unwrap()).collect();
    let named = folder.path().join("named.onnx");
    let again = json(&reshape(&named, &["--polynomial", &names.join(","), "--steps", "60"]));
    assert_eq!(again["after"], found["after"]);
    assert_eq!(std::fs::read(&named).unwrap(), std::fs::read(&onnx).unwrap());
}

#[test]
fn prices_of_others_make_squares_worth_it_and_ours_say_why_they_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let [onnx, prices] = ["squares.onnx", "prices.json"].map(|name| folder.path().join(name));
    let auto = ["--polynomial", "auto", "--steps", "0", "--prices"];
    for (system, why) in [
        ("pq", "a ReLU is part of a requantization"),
        ("cryptflow2", "a square is a product in the whole ring"),
        ("sirnn", "by the prices of SiRNN"),
        ("cheetah", "by the prices of Cheetah"),
    ] {
        let refused = said(&reshape(&onnx, &[&auto[..], &[system]].concat()));
        assert!(refused.contains("no polynomial saves anything"), "{refused}");
        assert!(refused.contains(why) && !onnx.exists(), "{refused}");
    }
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/prices/polympcnet-fpga.json");
    let table = table.to_str().unwrap();
    let found = json(&reshape(&onnx, &[&auto[..], &[table, "--most-loss", "100"]].concat()));
    assert_valid("reshape-polynomial", &found);
    for relu in found["relus"].as_array().unwrap() {
        let elements = relu["elements"].as_u64().unwrap() as f64;
        let saved = relu["saved"].as_f64().unwrap();
        if relu["becomes"] == "maximum" {
            // The average at the end is dearer as a maximum.
            assert!((saved + 0.3 + 10.19 * elements).abs() < 1e-6 * elements, "{relu}");
            assert_eq!(relu["chosen"], false);
            continue;
        }
        assert!((saved - 0.2 - 13.57 * elements).abs() < 1e-6 * saved, "{relu}");
        assert_eq!(relu["chosen"], true);
    }
    assert_eq!(found["after"]["relus"], 0);
    // Gates say which, by what is saved in the loss: all of them where that is worth enough.
    let gates = ["--gates", "60", "--worth", "100", "--most-loss", "100", "--force"];
    let gated = json(&reshape(&onnx, &[&auto[..], &[table], &gates].concat()));
    assert_valid("reshape-polynomial", &gated);
    for relu in gated["relus"].as_array().unwrap() {
        let gate = relu["gate"].as_f64();
        assert_eq!(gate.is_some(), relu["saved"].as_f64().unwrap() > 0.0, "{relu}");
        assert_eq!(gate.is_some_and(|gate| gate > 0.5), relu["chosen"], "{relu}");
    }
    assert_eq!(gated["after"]["relus"], 0);
    let least = ["--most-loss", "1e-9", "--force"];
    let refused = said(&reshape(&onnx, &[&auto[..], &[table], &least].concat()));
    assert!(refused.contains("no polynomial loses as little as 0.000000001 nats"), "{refused}");
    for (text, wrong) in [
        (r#"{"relu": [1, 2]}"#, "missing field `square`"),
        (r#"{"relu": [1, 2], "square": [1, 2], "pool": [0, 0]}"#, "unknown field `pool`"),
        (r#"{"relu": [1, 2], "square": [1, 2], "max_pool": [0, -3]}"#, "found -3"),
        (r#"{"relu": [1, 2], "square": [1, -2]}"#, "found -2"),
    ] {
        std::fs::write(&prices, text).unwrap();
        let more = [&auto[..], &[prices.to_str().unwrap(), "--force"]].concat();
        let refused = said(&reshape(&onnx, &more));
        assert!(refused.contains("prices.json: prices: expected JSON"), "{refused}");
        assert!(refused.contains(wrong), "{refused}");
    }
    let alone = ["--polynomial", "1", "--most-loss", "1", "--force"];
    let refused = said(&reshape(&onnx, &alone));
    assert!(refused.contains("for --polynomial auto alone"), "{refused}");
}

#[test]
fn a_shape_is_asked_for_in_one_way() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("net.onnx");
    for (more, wrong) in [
        (&["--relus", "0.5", "--merge", "1"][..], "--merge"),
        (&[][..], "--merge"),
        (&["--relus", "1.5"][..], "from 0 to 1"),
        (&["--merge", "1", "--by", "layer"][..], "--by"),
        (&["--relus", "0.5", "--by", "row"][..], "pixel, channel or layer"),
        (&["--polynomial", "1", "--relus", "0.5"][..], "--relus"),
        (&["--polynomial", "0"][..], "1 to 65535"),
        (&["--polynomial", "a,,b"][..], "found an empty one"),
        (&["--polynomial", "nothing"][..], "no ReLU or pooling is named nothing"),
        (&["--polynomial", "auto", "--prices", "sirnn", "--save", "seconds"][..], "prices of pq"),
        (&["--merge", "1", "--start", "near-identity"][..], "--start"),
        (&["--polynomial", "1", "--gates", "10"][..], "--polynomial auto alone"),
        (&["--polynomial", "auto", "--worth", "2"][..], "--gates"),
    ] {
        let refused = said(&reshape(&onnx, more));
        assert!(refused.contains(wrong), "{more:?}: {refused}");
        assert!(!onnx.exists());
    }
}

#[test]
fn a_resumed_training_ends_with_the_same_and_that_of_other_arguments_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, resumed] = ["a.onnx", "b.onnx"].map(|name| folder.path().join(name));
    let arguments = ["--merge", "2", "--drop", "--kernel", "1,3", "--steps", "6"];
    let found = json(&reshape(&whole, &arguments));
    let state = |onnx: &Path| format!("{}.state", onnx.display());
    std::fs::copy(state(&whole), state(&resumed)).unwrap();
    let refused = said(&reshape(&resumed, &arguments));
    assert!(refused.contains("b.onnx.state is there already"), "{refused}");
    let again = json(&reshape(&resumed, &[&arguments[..], &["--resume"]].concat()));
    assert_eq!(again["after"], found["after"]);
    assert_eq!(std::fs::read(&resumed).unwrap(), std::fs::read(&whole).unwrap());
    let other = ["--merge", "1", "--drop", "--kernel", "1,3", "--steps", "6"];
    let other = said(&reshape(&resumed, &[&other[..], &["--resume", "--force"]].concat()));
    assert!(other.contains("expected --merge 1, found --merge 2"), "{other}");
}

#[test]
fn minutes_settle_the_number_of_steps_and_a_resumed_training_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("net.onnx");
    let found = json(&reshape(&onnx, &["--merge", "1", "--minutes", "0.01"]));
    assert!(found["training"]["steps"].as_u64().unwrap() >= 1);
    let again = ["--merge", "1", "--minutes", "0.01", "--resume", "--force"];
    assert_eq!(json(&reshape(&onnx, &again))["training"], found["training"]);
}

#[test]
fn more_blocks_than_there_are_and_images_without_labels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("net.onnx");
    let refused = said(&reshape(&onnx, &["--merge", "3"]));
    assert!(
        refused.contains("digits.onnx: blocks to replace: expected at most 2, found 3"),
        "{refused}"
    );
    let refused = said(&reshape(&onnx, &["--merge", "1", "--kernel", "4"]));
    assert!(refused.contains("kernel of 4"), "{refused}");
    let images = folder.path().join("images-idx3-ubyte");
    std::fs::copy(asset("digits-test-images-idx3-ubyte"), &images).unwrap();
    let (model, images) = (asset("digits.onnx"), images.to_str().unwrap().to_owned());
    let args = ["--train", &images, "--test", &images, "--merge", "1", "--steps", "0"];
    let out = ["--out", onnx.to_str().unwrap()];
    let refused = said(&run(&[&["reshape", &model][..], &args, &out].concat()));
    assert!(refused.contains("images-idx3-ubyte: there are no labels"), "{refused}");
    assert!(!onnx.exists());
}

#[test]
fn the_library_reshapes_and_what_it_saves_is_opened_as_it_was() {
    let model = pq::Model::open(asset("digits.onnx")).unwrap();
    let images = ["calib", "test"].map(|name| asset(&format!("digits-{name}-images-idx3-ubyte")));
    let [train, test] = images.map(|path| pq::Images::open(path, &model).unwrap());
    let training = pq::TuneOptions { steps: 40, crop: 1, flip: false, ..Default::default() };
    let options = pq::ReshapeOptions { blocks: 1, training, ..Default::default() };
    let mut steps = 0;
    let reshaped = pq::reshape(&model, &[train], &options, &mut |at| steps = at.step).unwrap();
    assert_eq!(steps, 40);
    assert!(reshaped.prices[1].bits < reshaped.prices[0].bits, "{:?}", reshaped.prices);
    assert_eq!(reshaped.blocks.iter().filter(|block| block.chosen.is_some()).count(), 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    reshaped.model.save(&path).unwrap();
    let accuracy = pq::Model::open(&path).unwrap().accuracy(&test).unwrap();
    assert_eq!(accuracy, reshaped.model.accuracy(&test).unwrap());
    assert!(accuracy > 0.8, "{accuracy}");
}
