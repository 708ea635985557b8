//! Activations that are looked up: a network of all of them, from ONNX to two parties.

use std::fs;

use protocols::linear::Geometry;
use quant::model::{Conv, Function, Model, Node, Op, ValueId, Window};
use quant::{Dataset, Preprocess, float, import, onnx};
use serde_json::Value;

use crate::search::{asset, search_args};
use crate::support::{json, run, stderr};

const FUNCTIONS: [Function; 11] = [
    Function::Sigmoid,
    Function::Tanh,
    Function::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Function::HardSwish,
    Function::Silu,
    Function::Gelu,
    Function::GeluTanh,
    Function::LeakyRelu { alpha: 0.1 },
    Function::Elu { alpha: 1.0 },
    Function::Softplus,
    Function::Square,
];

/// A convolution behind each function, of random weights; now and then a skip; then an average and
/// ten classes.
fn network() -> Model {
    let mut model = Model {
        name: "functions".into(),
        input: [1, 8, 8],
        nodes: Vec::new(),
        output: ValueId::INPUT,
    };
    let mut state = 1u32;
    let mut random = move |len: usize, size: f32| -> Vec<f32> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..len).map(|_| size * next()).collect()
    };
    let mut push = |name: String, op: Op, inputs: &[ValueId], shape: [usize; 3]| {
        let output = ValueId(model.nodes.len() + 1);
        model.nodes.push(Node { name, op, inputs: inputs.to_vec(), output, shape });
        output
    };
    let mut conv = |geometry: Geometry, size: f32| {
        Op::Conv(Conv {
            geometry,
            weight: random(geometry.weights(), size),
            bias: random(geometry.out_channels, 0.5),
        })
    };
    let mut value = ValueId::INPUT;
    for (index, function) in FUNCTIONS.into_iter().enumerate() {
        let channels = if index == 0 { 1 } else { 4 };
        let around = Geometry {
            pad_top: 1,
            pad_left: 1,
            pad_bottom: 1,
            pad_right: 1,
            ..Geometry::dense(channels, 4)
        };
        let geometry = Geometry { in_h: 8, in_w: 8, kernel_h: 3, kernel_w: 3, ..around };
        let mut sum = push(format!("conv{index}"), conv(geometry, 0.7), &[value], [4, 8, 8]);
        if index % 4 == 2 {
            sum = push(format!("add{index}"), Op::Add, &[sum, value], [4, 8, 8]);
        }
        value = push(format!("act{index}"), Op::Function(function), &[sum], [4, 8, 8]);
    }
    let pooled = push("pool".into(), Op::AvgPool(Window::global([8, 8])), &[value], [4, 1, 1]);
    let logits = push("fc".into(), conv(Geometry::dense(4, 10), 1.0), &[pooled], [10, 1, 1]);
    Model { output: logits, ..model }
}

#[test]
fn a_network_of_all_functions_runs_privately_as_in_the_clear() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let (file, net) = (path("functions.onnx"), path("net"));
    let model = network();
    model.check().unwrap();
    let bytes = onnx::export(&model);
    fs::write(&file, &bytes).unwrap();
    let imported = import(&bytes).unwrap();
    assert_eq!(imported.nodes.len(), model.nodes.len(), "patterns are joined");
    let images = asset("digits-test-images-idx3-ubyte");
    let data = Dataset::open(images.as_ref(), None, model.interface()).unwrap();
    let batch = data.batch(0..4, &Preprocess::Unit).unwrap();
    let expected = float::evaluate(&imported, &batch).unwrap();
    for (widths, most) in [("w8a8", 0.12), ("w4a5", 1.0)] {
        let calib = asset("digits-calib-images-idx3-ubyte");
        json(&run(&search_args(&file, &calib, &["--fixed", widths, "--out", &net])));
        let infer = |more: &[&str]| {
            let words = [
                "infer", "--local", &net, "--input", &images, "--index", "0..4", "--verify",
                "--json",
            ];
            json(&run(&[&words[..], more].concat()))
        };
        let result = infer(&[]);
        assert_eq!(result["verified"], true, "{widths}");
        let lookups = result["steps"].as_array().unwrap().iter();
        let lookups =
            lookups.filter(|step| step["protocol"].as_str().unwrap().starts_with("lookup"));
        assert_eq!(lookups.count(), FUNCTIONS.len());
        let logits: Vec<Vec<f64>> = serde_json::from_value(result["logits"].clone()).unwrap();
        let (found, size) =
            (logits.concat(), expected.data.iter().fold(0f32, |most, v| most.max(v.abs())));
        let error = found
            .iter()
            .zip(&expected.data)
            .map(|(a, b)| (a - f64::from(*b)).abs())
            .fold(0.0, f64::max);
        println!("{widths}: largest error {error:.4} of {size:.4}");
        assert!(error < most * f64::from(size), "{widths}: {error} of {size}");
        let label = infer(&["--reveal", "label"]);
        assert_eq!((&label["verified"], &label["logits"]), (&Value::Bool(true), &Value::Null));
        assert_eq!(label["predictions"], result["predictions"]);
    }
}

#[test]
fn widths_of_a_network_with_functions_are_searched() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let (file, net) = (path("functions.onnx"), path("net"));
    fs::write(&file, onnx::export(&network())).unwrap();
    let calib = asset("digits-calib-images-idx3-ubyte");
    let search =
        |budget: &str| run(&search_args(&file, &calib, &["--budget-bits", budget, "--out", &net]));
    let found = json(&search("9M"));
    assert!(found["predicted_bits"].as_u64().unwrap() <= 9_000_000, "{found}");
    let words = ["infer", "--local", &net, "--input", &calib, "--verify", "--json"];
    assert_eq!(json(&run(&words))["verified"], true);
    let refused = search("10k");
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
}
