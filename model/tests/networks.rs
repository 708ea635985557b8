//! The real networks: import, float logits, accuracy, and agreement with onnxruntime.
//!
//! They live beside the workspace, in `../shared/data`; without them these tests print so and pass.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use model::onnx::export;
use model::{Dataset, Interface, Model, Preprocess, Tensor, float, import, import_file};

mod support;
use support::reference_runtime;

struct Network {
    file: &'static str,
    golden: &'static str,
    images: &'static str,
    preprocess: Preprocess,
    macs: u64,
    relus: u64,
    parameters: u64,
    /// Top-1 on the whole test set, as published with the networks.
    accuracy: f64,
}

fn data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no networks in {}", folder.display());
    None
}

fn networks() -> [Network; 5] {
    let cifar = "cifar10_test_5k.bin.gz";
    let imagenet = || Preprocess::Normalize {
        mean: vec![0.485, 0.456, 0.406],
        std: vec![0.229, 0.224, 0.225],
    };
    let resnet20 = |file| Network {
        file,
        golden: "resnet20_cifar10",
        images: cifar,
        preprocess: imagenet(),
        macs: 40_551_040,
        relus: 188_416,
        parameters: 269_034,
        accuracy: 0.9173,
    };
    [
        resnet20("resnet20_cifar10_bn"),
        resnet20("resnet20_cifar10_folded"),
        Network {
            file: "resnet8_cifar10_bn",
            golden: "resnet8_cifar10",
            images: cifar,
            preprocess: Preprocess::Raw,
            macs: 12_501_632,
            relus: 73_728,
            parameters: 77_706,
            accuracy: 0.8719,
        },
        Network {
            file: "minionn_relu6_cifar10",
            golden: "minionn_relu6_cifar10",
            images: cifar,
            preprocess: Preprocess::Unit,
            macs: 61_089_792,
            relus: 173_056,
            parameters: 164_954,
            accuracy: 0.8502,
        },
        Network {
            file: "lenet3x3_mnist",
            golden: "lenet3x3_mnist",
            images: "mnist-t10k-images-idx3-ubyte.gz",
            preprocess: Preprocess::Unit,
            macs: 643_880,
            relus: 15_780,
            parameters: 81_990,
            accuracy: 0.99,
        },
    ]
}

impl Network {
    fn model(&self, data: &Path) -> Model {
        import_file(&data.join("networks").join(format!("{}.onnx", self.file))).unwrap()
    }

    fn dataset(&self, data: &Path, model: &Model) -> Dataset {
        Dataset::open(&data.join("images").join(self.images), None, model.interface()).unwrap()
    }
}

fn difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.shape, b.shape);
    a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_are_the_golden_ones() {
    let Some(data) = data() else { return };
    for network in networks() {
        let model = network.model(&data);
        let batch = network.dataset(&data, &model).batch(0..16, &network.preprocess).unwrap();
        let logits = float::evaluate(&model, &batch).unwrap();
        let path = data.join("golden").join(format!("{}_logits_first16.npy", network.golden));
        let golden = Dataset::open(&path, None, Interface { input: [10, 1, 1], classes: 1 })
            .unwrap()
            .batch(0..16, &Preprocess::Raw)
            .unwrap();
        let difference = difference(&logits, &golden);
        println!("{}: {difference:e} from golden", network.file);
        assert!(difference < 1e-4, "{}: {difference}", network.file);
    }
}

#[test]
fn accuracy_is_the_published_one() {
    let Some(data) = data() else { return };
    let images = if cfg!(debug_assertions) { 100 } else { 1000 };
    for network in networks() {
        let model = network.model(&data);
        let dataset = network.dataset(&data, &model);
        let batch = dataset.batch(0..images, &network.preprocess).unwrap();
        let start = Instant::now();
        let logits = float::evaluate(&model, &batch).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let accuracy = logits.accuracy(&dataset.labels().unwrap()[..images]);
        println!("{}: top-1 {accuracy} of {images} images in {seconds:.2} s", network.file);
        // Four standard errors.
        let tolerance = 4.0 * (0.25 / images as f64 * network.accuracy.min(1.0)).sqrt();
        assert!((accuracy - network.accuracy).abs() < tolerance, "{}: {accuracy}", network.file);
    }
}

#[test]
fn figures_are_the_published_ones() {
    let Some(data) = data() else { return };
    for network in networks() {
        let model = network.model(&data);
        let found = [model.macs(), model.relus(), model.parameters()];
        println!("{}: {found:?}", network.file);
        assert_eq!(found, [network.macs, network.relus, network.parameters], "{}", network.file);
    }
}

#[test]
fn onnxruntime_agrees() {
    let Some(data) = data() else { return };
    let Some(reference_runtime) = reference_runtime() else { return };
    println!("judged by {}", reference_runtime.library().display());
    let images = if cfg!(debug_assertions) { 32 } else { 500 };
    for network in networks() {
        let path = data.join("networks").join(format!("{}.onnx", network.file));
        let model = network.model(&data);
        let batch = network.dataset(&data, &model).batch(0..images, &network.preprocess).unwrap();
        let theirs = reference_runtime.run(&path, &batch).unwrap();
        let ours = float::evaluate(&model, &batch).unwrap();
        let difference = difference(&ours, &theirs);
        println!("{}: {difference:e} from onnxruntime", network.file);
        assert!(difference < 1e-4, "{}: {difference}", network.file);
        assert_eq!(ours.argmax(), theirs.argmax());
    }
}

#[test]
fn written_networks_are_read_back_as_they_were_and_judged_alike() {
    let Some(data) = data() else { return };
    let images = if cfg!(debug_assertions) { 16 } else { 200 };
    for network in networks() {
        let model = network.model(&data);
        let bytes = export(&model);
        assert_eq!(import(&bytes).unwrap(), model, "{}", network.file);
        let Some(reference_runtime) = reference_runtime() else { continue };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, bytes).unwrap();
        let batch = network.dataset(&data, &model).batch(0..images, &network.preprocess).unwrap();
        let theirs = reference_runtime.run(file.path(), &batch).unwrap();
        let difference = difference(&float::evaluate(&model, &batch).unwrap(), &theirs);
        assert!(difference < 1e-4, "{}: {difference}", network.file);
    }
}
