//! `--out`: checked before any work starts, and nothing of somebody else is replaced.

use std::fs;
use std::path::Path;

use protocols::plan::Plan;

use crate::search::{asset, search_args};
use crate::support::{json, run, stderr};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_folder_that_cannot_be_written_is_1_before_anything_else_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("net");
    let (out, file) = (text(&below), text(&file));
    // Neither the network nor the images exist: that would be 3, and is what a search would find
    // first.
    let search = ["search", "missing.onnx", "--calib", "missing", "--out", out];
    for args in [
        [&search[..], &["--fixed", "w4a4"]].concat(),
        [&search[..], &["--frontier"]].concat(),
        vec!["import", "missing.onnx", "--out", out],
        vec!["export", "missing", "--out", out],
    ] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(file) && stderr(&output).contains("cannot write"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn a_search_that_fails_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new");
    let output = run(&[
        "search",
        "missing.onnx",
        "--calib",
        "missing",
        "--fixed",
        "w4a4",
        "--out",
        text(&out),
    ]);
    assert_eq!(output.status.code(), Some(3));
    assert!(!out.exists());
}

#[test]
fn a_search_replaces_its_own_and_asks_before_it_writes_among_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(folder.path());
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let search =
        |more: &[&str]| run(&search_args(&model, &images, &[&["--out", out], more].concat()));
    json(&search(&["--fixed", "w4a4"]));
    let plan = fs::read(folder.path().join("plan.json")).unwrap();
    json(&search(&["--fixed", "w3a3"]));
    assert_ne!(
        fs::read(folder.path().join("plan.json")).unwrap(),
        plan,
        "a search may be repeated"
    );
    // Of another command, or with another file.
    let onnx = folder.path().join("model.onnx");
    for foreign in ["plan.json", "model.onnx"] {
        let refused = match foreign {
            "plan.json" => run(&["import", &model, "--out", out]),
            _ => {
                json(&run(&["export", out, "--out", text(&onnx), "--json"]));
                search(&["--fixed", "w4a4"])
            }
        };
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
        let message = stderr(&refused);
        assert!(message.contains(out) && message.contains("--force"), "{message}");
    }
    let before = fs::read(&onnx).unwrap();
    json(&search(&["--fixed", "w4a4", "--force"]));
    assert_eq!(unsalted(&fs::read(folder.path().join("plan.json")).unwrap()), unsalted(&plan));
    assert_eq!(fs::read(&onnx).unwrap(), before, "nothing else is touched");
    let again = run(&["export", out, "--out", text(&onnx)]);
    assert_eq!(again.status.code(), Some(2), "{}", stderr(&again));
    assert!(stderr(&again).contains("--force"), "{}", stderr(&again));
    assert_eq!(fs::read(&onnx).unwrap(), before);
    json(&run(&["export", out, "--out", text(&onnx), "--force", "--json"]));
    assert_ne!(fs::read(&onnx).unwrap(), before);
}

/// A plan without the digests of its weights and hints, which salt and seed make others every time.
fn unsalted(plan: &[u8]) -> Plan {
    Plan { weights: String::new(), hints: None, ..Plan::from_json(plan).unwrap() }
}
