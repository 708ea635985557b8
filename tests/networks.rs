//! The real networks: searched, evaluated, and run privately with results equal to the plaintext
//! ones.
//!
//! They live beside the repository, in `../shared/data`, and take minutes: release builds only.

use std::path::Path;

use serde_json::Value;

use crate::interchange::{compare, judged};
use crate::support::net::shared;
use crate::support::{json, run};

/// A real network and its data.
struct Network {
    file: &'static str,
    calibration: &'static str,
    images: &'static str,
    preprocess: &'static [&'static str],
}

const RESNET20: Network = Network {
    file: "resnet20_cifar10_bn.onnx",
    calibration: "cifar10_train_10k.bin.gz",
    images: "cifar10_test_5k.bin.gz",
    preprocess: &["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"],
};
const RESNET8: Network =
    Network { file: "resnet8_cifar10_bn.onnx", preprocess: &["--raw"], ..RESNET20 };
const MINIONN: Network =
    Network { file: "minionn_relu6_cifar10.onnx", preprocess: &[], ..RESNET20 };
const LENET: Network = Network {
    file: "lenet3x3_mnist.onnx",
    calibration: "mnist-train10k-images-idx3-ubyte.gz",
    images: "mnist-t10k-images-idx3-ubyte.gz",
    preprocess: &[],
};

/// What a network came to.
struct Shown {
    accuracy: f64,
    float: f64,
}

/// The folder of networks and images, in a build that is fast enough for them.
fn data() -> Option<std::path::PathBuf> {
    if cfg!(debug_assertions) {
        println!("skipped: real networks take too long in a debug build; run cargo test --release");
        return None;
    }
    shared()
}

impl Network {
    /// Searches, evaluates on so many images, and verifies private runs of one and of `batch`
    /// images.
    fn show(&self, data: &Path, widths: &[&str], images: &str, batch: usize) -> Shown {
        let out = tempfile::tempdir().unwrap();
        let net = out.path().to_str().unwrap();
        let file =
            |folder: &str, name: &str| data.join(folder).join(name).to_str().unwrap().to_owned();
        let (model, test) = (file("networks", self.file), file("images", self.images));
        let calibration = file("images", self.calibration);
        let search = ["search", &model, "--calib", &calibration, "--out", net, "--json"];
        let found = json(&run(&[&search, self.preprocess, widths].concat()));
        let eval = ["eval", net, "--data", &test, "--float", &model, "--limit", images, "--json"];
        let evaluated = json(&run(&eval));
        let infer = |index: &str| {
            let args =
                ["infer", "--local", net, "--input", &test, "--index", index, "--verify", "--json"];
            json(&run(&args))
        };
        let one = infer("0");
        assert_eq!(
            (&one["verified"], bits(&one)),
            (&true.into(), found["predicted_bits"].as_u64().unwrap())
        );
        assert_eq!(infer(&format!("0..{batch}"))["verified"], true);
        let [accuracy, float] =
            ["accuracy", "float_accuracy"].map(|field| evaluated[field].as_f64().unwrap());
        println!(
            "{} {widths:?}: {accuracy} where float has {float}, {} bits",
            self.file,
            bits(&one)
        );
        Shown { accuracy, float }
    }
}

fn bits(result: &Value) -> u64 {
    let bytes = |phase: &str, field: &str| result["cost"][phase][field].as_u64().unwrap();
    let phase = |phase| bytes(phase, "server_bytes") + bytes(phase, "client_bytes");
    8 * (phase("offline") + phase("online"))
}

#[test]
fn resnet20_within_two_gigabits_is_as_good_as_in_float() {
    let Some(data) = data() else { return };
    let shown = RESNET20.show(&data, &["--budget-bits", "2G"], "5000", 8);
    assert!(
        shown.accuracy > shown.float - 0.005,
        "{} where float has {}",
        shown.accuracy,
        shown.float
    );
}

#[test]
fn resnet20_within_one_gigabit_is_verified() {
    let Some(data) = data() else { return };
    let shown = RESNET20.show(&data, &["--budget-bits", "1G"], "2000", 8);
    assert!(shown.accuracy > shown.float - 0.02, "{}", shown.accuracy);
}

#[test]
fn the_other_networks_are_verified() {
    let Some(data) = data() else { return };
    for (network, budget) in [(RESNET8, "1G"), (MINIONN, "3G"), (LENET, "200M")] {
        let shown = network.show(&data, &["--budget-bits", budget, "--samples", "64"], "1000", 2);
        assert!(
            shown.accuracy > shown.float - 0.03,
            "{} where float has {}",
            shown.accuracy,
            shown.float
        );
    }
}

#[test]
fn exported_networks_are_classified_alike_and_imported_again() {
    let Some(data) = data() else { return };
    for network in [RESNET20, RESNET8, MINIONN, LENET] {
        let out = tempfile::tempdir().unwrap();
        let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
        let file =
            |folder: &str, name: &str| data.join(folder).join(name).to_str().unwrap().to_owned();
        let (model, test) = (file("networks", network.file), file("images", network.images));
        let calibration = file("images", network.calibration);
        let (net, onnx, again) = (path("net"), path("net.onnx"), path("again"));
        let search = [
            "search",
            &model,
            "--calib",
            &calibration,
            "--samples",
            "64",
            "--fixed",
            "w4a4",
            "--out",
            &net,
        ];
        json(&run(&[&search, network.preprocess, &["--json"]].concat()));
        json(&run(&["export", &net, "--out", &onnx, "--json"]));
        let imported =
            json(&run(
                &[&["import", &onnx, "--out", &again, "--json"], network.preprocess].concat()
            ));
        assert_eq!(imported["changes"], Value::Array(Vec::new()), "{}", network.file);
        for net in [&net, &again] {
            let found = compare(net, &test, &onnx, "1000");
            println!(
                "{}: {} where onnxruntime has {}",
                network.file, found["accuracy"], found["float_accuracy"]
            );
            if judged(&found) {
                assert_eq!(found["agreement"], 1.0, "{}", network.file);
            }
        }
    }
}
