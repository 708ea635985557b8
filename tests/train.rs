//! `pq train` on the digits network: where it starts, how it goes on, and what it refuses.

use std::path::Path;

use crate::schema::assert_valid;
use crate::search::asset;
use crate::support::{json, run, stderr};

fn train(out: &Path, more: &[&str]) -> std::process::Output {
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let test = asset("digits-test-images-idx3-ubyte");
    let args = ["train", &model, "--teacher", &model, "--train", &images, "--no-flip"];
    let ends = ["--crop", "1", "--test", &test, "--out", out.to_str().unwrap(), "--json"];
    run(&[&args[..], &ends, more].concat())
}

/// What is said of a failure.
fn said(output: &std::process::Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(output)
}

#[test]
fn a_network_that_knows_nothing_learns_digits_from_one_that_does() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("new.onnx");
    let found = json(&train(&onnx, &["--start", "random", "--steps", "400", "--rate", "0.01"]));
    assert_valid("train", &found);
    assert_eq!(found["bytes"].as_u64().unwrap(), std::fs::metadata(&onnx).unwrap().len());
    let accuracies = ["teacher", "before", "after"].map(|name| found[name]["accuracy"].as_f64());
    let [teacher, before, after] = accuracies.map(Option::unwrap);
    assert!(teacher > 0.9 && before < 0.4 && after > 0.8, "{found:#}");
    assert_eq!(found["before"]["macs"], found["after"]["macs"]);
}

#[test]
fn a_resumed_training_ends_with_the_same_bytes_and_other_arguments_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, resumed] = ["whole.onnx", "resumed.onnx"].map(|name| folder.path().join(name));
    let steps = ["--steps", "6"];
    json(&train(&whole, &steps));
    let state = |onnx: &Path| onnx.with_extension("onnx.state");
    std::fs::copy(state(&whole), state(&resumed)).unwrap();
    json(&train(&resumed, &["--steps", "6", "--resume"]));
    assert_eq!(std::fs::read(&resumed).unwrap(), std::fs::read(&whole).unwrap());
    let again = said(&train(&whole, &steps));
    assert!(again.contains("whole.onnx is there already"), "{again}");
    let more = ["--steps", "6", "--resume", "--force", "--start", "random"];
    let other = said(&train(&resumed, &more));
    assert!(other.contains("expected --start random, found --start as-is"), "{other}");
}

#[test]
fn without_steps_it_is_the_network_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("new.onnx");
    let found = json(&train(&onnx, &["--steps", "0"]));
    assert_eq!(found["before"], found["after"]);
    assert_eq!(found["training"]["loss"], 0.0);
}

#[test]
fn a_teacher_of_other_images_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let [onnx, teacher] = ["new.onnx", "teacher.onnx"].map(|name| folder.path().join(name));
    let mut other = quant::import_file(Path::new(&asset("digits.onnx"))).unwrap();
    let classes = other.nodes.pop().unwrap();
    other.output = classes.inputs[0];
    std::fs::write(&teacher, quant::onnx::export(&other)).unwrap();
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let args = ["train", &model, "--teacher", teacher.to_str().unwrap(), "--train", &images];
    let refused = said(&run(&[&args[..], &["--out", onnx.to_str().unwrap()]].concat()));
    assert!(refused.contains("teacher.onnx: the teacher takes"), "{refused}");
    assert!(!onnx.exists());
    let refused = said(&train(&onnx, &["--start", "zero"]));
    assert!(refused.contains("expected as-is or random"), "{refused}");
}

#[test]
fn the_library_trains_with_a_teacher() {
    let model = pq::Model::open(asset("digits.onnx")).unwrap();
    let images = ["calib", "test"].map(|name| asset(&format!("digits-{name}-images-idx3-ubyte")));
    let [train, test] = images.map(|path| pq::Images::open(path, &model).unwrap());
    let training = pq::TuneOptions { steps: 400, crop: 1, flip: false, ..Default::default() };
    let options = pq::DistillOptions { start: pq::Start::Random, training, rate: 0.01 };
    let mut steps = 0;
    let trained =
        pq::distill(&model, &model, &[train], &options, &mut |at| steps = at.step).unwrap();
    assert_eq!(steps, 400);
    assert!(trained.accuracy(&test).unwrap() > 0.8);
    let refused = pq::distill(&model, &model, &[], &options, &mut |_| ()).unwrap_err();
    assert!(refused.to_string().contains("no training image"), "{refused}");
}
