//! Names from outside: of any length and content, they break no table, and none speaks to the
//! terminal.

use std::fs;
use std::path::Path;
use std::process::Output;

use protocols::printable::is_plain;
use serde_json::Value;

use crate::search::{asset, search_args};
use crate::support::{Net, json, run, stderr};

/// Erases the line, goes up, and says what was never found out; with an override of direction and
/// an invisible character.
const FORGED: &str =
    "x\u{1b}[2K\u{1b}[1A\r\nverified: equal to the plaintext network\u{202e}\u{9b}1m\u{200b}\u{7f}";

/// A name that once ended every command in a panic.
fn long() -> String {
    "n".repeat(1 << 16)
}

fn assert_plain(output: &Output) {
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8(text.clone()).unwrap();
        let odd: Vec<char> = text.chars().filter(|&c| c != '\n' && !is_plain(c)).collect();
        assert!(odd.is_empty(), "{odd:?} in {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("verified")), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 4000), "a line that is too long");
    }
}

#[test]
fn a_plan_whose_names_are_long_or_hostile_is_3_and_names_the_step_by_its_number() {
    let net = Net::random(1, 1);
    let images = net.file("images.npy");
    for name in [long().as_str(), FORGED, ""] {
        for at in [None, Some(1)] {
            let mut plan = net.plan.clone();
            match at {
                Some(step) => plan.steps[step].name = name.to_owned(),
                None if name.is_empty() => continue,
                None => plan.name = name.to_owned(),
            }
            fs::write(net.path("plan.json"), plan.to_json()).unwrap();
            let field = at.map_or("plan: name".into(), |step| format!("plan: step {step}: name"));
            for args in [
                vec!["cost", net.folder()],
                vec!["compare", net.folder()],
                vec!["infer", "--local", net.folder(), "--input", &images, "--verify"],
            ] {
                let output = run(&args);
                assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
                assert!(stderr(&output).contains(&field), "{}", stderr(&output));
                assert_plain(&output);
            }
        }
    }
}

#[test]
fn a_plan_with_a_field_of_a_hostile_name_is_3_and_shows_it_escaped() {
    let net = Net::random(1, 1);
    let mut plan: Value = serde_json::from_slice(&net.plan.to_json()).unwrap();
    plan[FORGED] = 1.into();
    plan[long()] = 1.into();
    fs::write(net.path("plan.json"), plan.to_string()).unwrap();
    let output = run(&["cost", net.folder()]);
    assert_eq!(output.status.code(), Some(3));
    assert_plain(&output);
}

/// The digits network with another name for its graph and its layers, and perhaps with an operator
/// that nobody knows.
pub(crate) fn renamed(folder: &Path, names: &[&str], operator: Option<&str>) -> String {
    use prost::Message;
    let mut file =
        quant::onnx::proto::ModelProto::decode(&*fs::read(asset("digits.onnx")).unwrap()).unwrap();
    file.producer_name = names[0].to_owned();
    let graph = file.graph.as_mut().unwrap();
    graph.name = names[0].to_owned();
    let count = graph.node.len();
    for (at, node) in graph.node.iter_mut().enumerate() {
        node.name = names[at % names.len()].to_owned();
        if let Some(operator) = operator.filter(|_| at + 1 == count) {
            operator.clone_into(&mut node.op_type);
        }
    }
    let path = folder.join("renamed.onnx");
    fs::write(&path, file.encode_to_vec()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_onnx_file_with_long_and_hostile_names_is_taken_with_short_plain_ones() {
    let out = tempfile::tempdir().unwrap();
    let model = renamed(out.path(), &[FORGED, &long(), "<b>&'\"", ""], None);
    for more in [&[][..], &["--passes"]] {
        let output = run(&[&["inspect", &model], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        assert_plain(&output);
    }
    let net = out.path().join("net").to_str().unwrap().to_owned();
    let images = asset("digits-calib-images-idx3-ubyte");
    let found = run(&search_args(&model, &images, &["--fixed", "w4a4", "--out", &net]));
    assert_plain(&found);
    let names: Vec<String> = json(&found)["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["name"].as_str().unwrap().to_owned())
        .collect();
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "names are shortened to different ones: {names:?}");
    let pixels = asset("digits-test-images-idx3-ubyte");
    let classes = out.path().join("classes.txt");
    fs::write(&classes, format!("{}\n", FORGED.replace('\n', " ")).repeat(10)).unwrap();
    let classes = classes.to_str().unwrap();
    for args in [
        vec!["cost", &net],
        vec!["compare", &net],
        vec!["cost", &net, "--why", &names[0]],
        vec!["infer", "--local", &net, "--input", &pixels, "--class-names", classes, "--verbose"],
    ] {
        let output = run(&args);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_plain(&output);
    }
    fs::write(classes, long()).unwrap();
    let output = run(&["infer", "--local", &net, "--input", &pixels, "--class-names", classes]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("at most 256 bytes in line 1"), "{}", stderr(&output));
}

#[test]
fn nodes_that_are_not_supported_are_shown_a_line_each() {
    let out = tempfile::tempdir().unwrap();
    let model = renamed(out.path(), &[FORGED, &long()], Some(FORGED));
    let images = asset("digits-calib-images-idx3-ubyte");
    for args in [
        vec!["inspect", &model],
        vec!["inspect", &model, "--json"],
        search_args(&model, &images, &["--fixed", "w4a4"]),
    ] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        assert_plain(&output);
    }
}

#[cfg(unix)]
#[test]
fn a_file_with_a_hostile_name_is_shown_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FORGED);
    let missing = path.to_str().unwrap();
    for args in [
        vec!["inspect", missing],
        vec!["cost", missing],
        vec!["eval", missing, "--data", missing],
        vec!["inspect", missing, "--json"],
    ] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(3));
        assert!(
            stderr(&output).contains("x\\u{1b}[2K\\u{1b}[1A\\u{d}\\u{a}verified"),
            "{}",
            stderr(&output)
        );
        assert_plain(&output);
    }
}

#[test]
fn the_report_and_the_drawing_of_a_frontier_hold_no_name_as_markup() {
    if cfg!(debug_assertions) {
        println!("skipped: many searches take too long in a debug build; run cargo test --release");
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let hostile = format!("<script>alert('x')</script>{FORGED}");
    let model = renamed(out.path(), &[&hostile], None);
    let net = out.path().join("net").to_str().unwrap().to_owned();
    let images = asset("digits-calib-images-idx3-ubyte");
    let sweep = ["--frontier", "2", "--swaps", "1", "--limit", "16", "--out", &net];
    let output = run(&search_args(&model, &images, &sweep));
    assert!(output.status.success(), "{}", stderr(&output));
    assert_plain(&output);
    for name in ["report.html", "frontier.svg", "search.json"] {
        let text = fs::read_to_string(Path::new(&net).join(name)).unwrap();
        assert!(text.chars().all(|c| c == '\n' || is_plain(c)), "{name}");
        assert!(!text.contains("<script") || name == "search.json", "{name}");
    }
    let page = fs::read_to_string(Path::new(&net).join("report.html")).unwrap();
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{page}");
}
