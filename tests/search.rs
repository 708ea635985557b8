//! The built-in digits network: search, eval, cost and infer agree; the search's promise is what is
//! measured.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{json, pq, run, stderr};

/// Everything about the digits network that the repository holds.
pub(crate) fn asset(name: &str) -> String {
    format!("{}/assets/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Arguments of a search on the digits network.
pub(crate) fn search_args<'a>(model: &'a str, images: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    // Few samples: these tests are about the command, not about the network's accuracy.
    [&["search", model, "--calib", images, "--samples", "32", "--json"], more].concat()
}

fn search(more: &[&str]) -> std::process::Output {
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    run(&search_args(&model, &images, more))
}

/// Whether searches are fast enough for tests of many of them.
pub(crate) fn searches_are_fast() -> bool {
    if cfg!(debug_assertions) {
        println!("skipped: many searches take too long in a debug build; run cargo test --release");
    }
    !cfg!(debug_assertions)
}

fn folder(out: &TempDir) -> &str {
    out.path().to_str().unwrap()
}

fn measured_bits(result: &Value) -> u64 {
    let bytes = |phase: &str, field: &str| result["cost"][phase][field].as_u64().unwrap();
    let phases = ["offline", "online"];
    8 * phases
        .iter()
        .map(|phase| bytes(phase, "server_bytes") + bytes(phase, "client_bytes"))
        .sum::<u64>()
}

#[test]
fn the_promise_of_the_search_is_what_one_inference_measures() {
    let images = asset("digits-test-images-idx3-ubyte");
    for options in [
        &["--budget-bits", "3M"][..],
        &["--fixed", "w4a4", "--ranges", "percentile:99.9"],
        &["--fixed", "w3a5", "--first-last", "same"],
    ] {
        let out = tempfile::tempdir().unwrap();
        let found = json(&search(&[options, &["--out", folder(&out)]].concat()));
        let stored = std::fs::read(out.path().join("search.json")).unwrap();
        assert_eq!(found, serde_json::from_slice::<Value>(&stored).unwrap());
        let args = ["infer", "--local", folder(&out), "--input", &images, "--verify", "--json"];
        let result = json(&run(&args));
        assert_eq!(result["verified"], true);
        assert_eq!(
            found["predicted_bits"].as_u64().unwrap(),
            measured_bits(&result),
            "{options:?}"
        );
        let setup = &result["cost"]["setup"];
        let setup =
            setup["server_bytes"].as_u64().unwrap() + setup["client_bytes"].as_u64().unwrap();
        assert_eq!(found["setup_bits"].as_u64().unwrap(), 8 * setup);
        let cost = json(&run(&["cost", folder(&out), "--json"]));
        assert_eq!(found["predicted_bits"].as_u64().unwrap(), measured_bits(&cost));
        for layer in found["layers"].as_array().unwrap() {
            for field in ["name", "weight_bits", "activation_bits", "protocol", "comm_bits"] {
                assert!(!layer[field].is_null(), "{field} of {layer}");
            }
        }
        if options[0] == "--budget-bits" {
            assert_eq!(found["budget_bits"], 3_000_000);
            assert!(found["predicted_bits"].as_u64().unwrap() <= 3_000_000);
        }
    }
}

#[test]
fn the_quantized_network_is_as_good_as_the_float_network() {
    let out = tempfile::tempdir().unwrap();
    json(&search(&["--fixed", "w8a8", "--out", folder(&out)]));
    let (images, model) = (asset("digits-test-images-idx3-ubyte"), asset("digits.onnx"));
    let result =
        json(&run(&["eval", folder(&out), "--data", &images, "--float", &model, "--json"]));
    assert_eq!(result["images"], 64);
    assert!(["onnxruntime", "pq"].contains(&result["float_engine"].as_str().unwrap()));
    let [ours, float] = ["accuracy", "float_accuracy"].map(|field| result[field].as_f64().unwrap());
    assert!((ours - float).abs() <= 1.0 / 64.0 && float > 0.98, "{ours} and {float}");
    let first = json(&run(&["eval", folder(&out), "--data", &images, "--limit", "15", "--json"]));
    assert_eq!(first["images"], 15);
}

#[test]
fn a_frontier_is_files_whose_networks_cost_what_they_say() {
    if !searches_are_fast() {
        return;
    }
    let (out, images) = (tempfile::tempdir().unwrap(), asset("digits-test-images-idx3-ubyte"));
    let sweep = |more: &[&str]| {
        let args = ["--frontier", "3", "--swaps", "2", "--limit", "32", "--out", folder(&out)];
        json(&search(&[&args, more].concat()))
    };
    let found = sweep(&[]);
    let points = found["points"].as_array().unwrap();
    // No network that was looked at beats a point: more bits lose less.
    assert!(!points.is_empty());
    let place = |point: &Value| {
        let loss = point["fidelity"]["loss"].as_f64().unwrap();
        (point["predicted_bits"].as_u64().unwrap(), loss)
    };
    let better = |a: (u64, f64), b: (u64, f64)| a.0 <= b.0 && a.1 < b.1;
    for pair in points.windows(2) {
        let (less, more) = (place(&pair[0]), place(&pair[1]));
        assert!(less.0 < more.0 && less.1 > more.1, "{less:?} and {more:?}");
    }
    for uniform in found["uniform"].as_array().unwrap() {
        assert!(points.iter().all(|point| !better(place(uniform), place(point))), "{uniform}");
    }
    for point in [&points[0], &found["uniform"][1]] {
        let net = out.path().join(point["folder"].as_str().unwrap());
        let net = net.to_str().unwrap();
        let result =
            json(&run(&["infer", "--local", net, "--input", &images, "--verify", "--json"]));
        assert_eq!(result["verified"], true);
        assert_eq!(
            point["predicted_bits"].as_u64().unwrap(),
            measured_bits(&result),
            "{}",
            point["name"]
        );
        let offline = &result["cost"]["offline"];
        let bytes = ["server_bytes", "client_bytes"].map(|by| offline[by].as_u64().unwrap());
        assert_eq!(point["offline_bits"], 8 * bytes.iter().sum::<u64>(), "{}", point["name"]);
    }
    let page = std::fs::read_to_string(out.path().join("report.html")).unwrap();
    let svg = std::fs::read_to_string(out.path().join("frontier.svg")).unwrap();
    assert!(
        page.contains("<svg") && !page.contains("http://localhost") && svg.ends_with("</svg>\n")
    );
    // It says which network to take, links all of them, and is laid out for narrow screens.
    assert!(page.contains("<strong>Take ") && page.contains("name=\"viewport\""));
    for point in points {
        let folder = point["folder"].as_str().unwrap();
        assert!(page.contains(&format!("<a href=\"{folder}/plan.json\">")), "{folder}");
        assert!(out.path().join(folder).join("plan.json").exists(), "{folder}");
    }
    // Networks that are there already are taken as they are.
    let plan = out.path().join("points/searched-1/plan.json");
    let written = std::fs::metadata(&plan).unwrap().modified().unwrap();
    assert_eq!(sweep(&["--resume"]), found);
    assert_eq!(std::fs::metadata(&plan).unwrap().modified().unwrap(), written);
}

#[test]
fn every_kind_of_budget_is_kept() {
    if !searches_are_fast() {
        return;
    }
    let online = |found: &Value| {
        let out = &found["out"];
        let cost = json(&run(&["cost", out.as_str().unwrap(), "--json"]));
        8 * (cost["cost"]["online"]["server_bytes"].as_u64().unwrap()
            + cost["cost"]["online"]["client_bytes"].as_u64().unwrap())
    };
    let out = tempfile::tempdir().unwrap();
    let found = |more: &[&str]| {
        let args = [&["--swaps", "1", "--out", folder(&out)], more].concat();
        let mut found = json(&search(&args));
        found["out"] = folder(&out).into();
        found
    };
    let wide = online(&found(&["--fixed", "w8a8"]));
    let budget = (wide * 2 / 3).to_string();
    assert!(online(&found(&["--budget-online-bits", &budget])) <= wide * 2 / 3);
    let timed = found(&["--fixed", "w8a8", "--link", "wan"])["predicted_seconds"].as_f64().unwrap();
    let seconds = format!("{:.3}", timed * 0.9);
    let fast = found(&["--budget-seconds", &seconds, "--link", "wan"]);
    assert!(fast["predicted_seconds"].as_f64().unwrap() <= timed * 0.9 + 1e-3);
    let learned = found(&["--budget-bits", "1500k", "--reconstruct", "3"]);
    assert!(learned["predicted_bits"].as_u64().unwrap() <= 1_500_000);
    // With one source of OTs: the fastest of all sources may move more bits for narrower widths.
    let accurate = |most: &str| {
        found(&["--min-accuracy", most, "--ot", "ferret:9"])["predicted_bits"].as_u64().unwrap()
    };
    let (loose, strict) = (accurate("0.5"), accurate("0.96"));
    assert!(loose <= strict, "{loose} and {strict}");
    for (option, value) in [("--budget-online-bits", "10"), ("--budget-seconds", "0.000001")] {
        assert_eq!(search(&[option, value]).status.code(), Some(3), "{option}");
    }
}

#[test]
fn sensitivities_are_explained_side_by_side() {
    if !searches_are_fast() {
        return;
    }
    for measure in ["fisher", "hessian"] {
        let found = json(&search(&["--budget-bits", "3M", "--sensitivity", measure, "--explain"]));
        for name in ["loss", "fisher", "hessian"] {
            let weights = found["sensitivities"][name]["weights"].as_array().unwrap();
            assert_eq!(weights.len(), found["layers"].as_array().unwrap().len());
        }
    }
}

#[test]
fn an_impossible_budget_is_3_and_names_the_smallest() {
    let output = search(&["--budget-bits", "1k"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let message = stderr(&output);
    let numbers =
        message.split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse::<u64>().ok());
    let smallest = numbers.max().unwrap();
    assert!(search(&["--budget-bits", &smallest.to_string()]).status.success(), "{message}");
    assert_eq!(search(&["--budget-bits", &(smallest - 1).to_string()]).status.code(), Some(3));
    let fixed = search(&["--budget-bits", "1k", "--fixed", "w8a8"]);
    assert_eq!(fixed.status.code(), Some(3), "with --fixed, the budget is checked");
}

#[test]
fn the_search_does_not_depend_on_the_cores() {
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let args = search_args(&model, &images, &["--budget-bits", "3M"]);
    let result =
        |threads: &str| json(&pq(&args).env("RAYON_NUM_THREADS", threads).output().unwrap());
    assert_eq!(result("1"), result("2"));
}

#[test]
fn the_demo_shows_images_and_a_verified_ledger() {
    if !searches_are_fast() {
        return;
    }
    let output = run(&["demo"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    for part in ["a 0, read as 0", "correlations", "✓", "verified: equal"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let result = json(&run(&["demo", "--images", "3", "--json"]));
    assert_eq!(result["verified"], true);
    assert_eq!(result["predictions"].as_array().unwrap().len(), 3);
    assert_eq!(result["cost"]["images"], 3);
}

#[test]
fn wrong_options_of_the_search_are_2() {
    for more in [
        &[][..],
        &["--budget-bits", "much"],
        &["--fixed", "w9a4"],
        &["--fixed", "w4a4", "--first-last", "some"],
        &["--budget-bits", "1G", "--first-last", "same"],
        &["--budget-bits", "1G", "--mean", "0.5"],
        &["--budget-seconds", "-1"],
        &["--min-accuracy", "1.5"],
        &["--budget-bits", "1G", "--sensitivity", "some"],
        &["--fixed", "w4a4", "--ranges", "percentile:10"],
        &["--frontier"],
        &["--frontier", "--out", "net", "--budget-seconds", "1"],
        &["--budget-bits", "1G", "--raw", "--mean", "0.5", "--std", "0.5"],
    ] {
        assert_eq!(search(more).status.code(), Some(2), "{more:?}");
    }
}

#[test]
fn images_of_another_shape_are_3_and_both_shapes_are_named() {
    let model = asset("digits.onnx");
    let net = crate::support::Net::random(0, 1);
    let images = net.file("images.npy");
    let output = run(&search_args(&model, &images, &["--fixed", "w4a4"]));
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("1x8x8"), "{}", stderr(&output));
}

#[test]
fn inspect_lists_layers_and_totals() {
    let result = json(&run(&["inspect", &asset("digits.onnx"), "--json"]));
    assert_eq!(result["macs"], 135_840);
    assert_eq!(result["relus"], 2048);
    assert_eq!(result["parameters"], 5050);
    assert_eq!(result["unsupported"], Value::Array(Vec::new()));
    assert_eq!(result["input"], serde_json::json!([1, 8, 8]));
}

#[test]
fn why_shows_every_way_to_run_a_layer_and_marks_the_chosen_one() {
    let out = tempfile::tempdir().unwrap();
    let found = json(&search(&["--fixed", "w4a4", "--link", "wan", "--out", folder(&out)]));
    let layers = found["layers"].as_array().unwrap();
    for layer in layers {
        let name = layer["name"].as_str().unwrap();
        let why = json(&run(&["cost", folder(&out), "--link", "wan", "--why", name, "--json"]));
        let ways = why["candidates"].as_array().unwrap();
        assert!(ways.len() >= 8, "{why}");
        let planned: Vec<_> = ways.iter().filter(|way| way["planned"] == true).collect();
        assert_eq!(planned.len(), 1, "{why}");
        assert_eq!(planned[0]["protocol"], layer["protocol"]);
        let bits = |way: &Value| -> u64 {
            let phases = ["offline", "online"].map(|phase| {
                ["server_bytes", "client_bytes"].map(|field| way[phase][field].as_u64().unwrap())
            });
            8 * phases.as_flattened().iter().sum::<u64>()
        };
        assert_eq!(layer["comm_bits"], bits(planned[0]), "the price is that of the plan");
        let seconds = |way: &Value| way["seconds"].as_f64().unwrap();
        for way in ways.iter().filter(|way| seconds(way) < seconds(planned[0])) {
            assert!(bits(way) > bits(planned[0]), "whatever is faster moves more: {why}");
        }
    }
    let unknown = run(&["cost", folder(&out), "--why", "nothing"]);
    assert_eq!(unknown.status.code(), Some(2));
    for layer in layers {
        assert!(stderr(&unknown).contains(layer["name"].as_str().unwrap()), "{}", stderr(&unknown));
    }
    let text = run(&["cost", folder(&out), "--why", layers[0]["name"].as_str().unwrap()]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("planned"));
}
