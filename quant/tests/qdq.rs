//! Quantised networks in ONNX: what is written means, integer for integer, what the plan means.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use prost::Message;
use protocols::plan::Plan;
use protocols::weights::Weights;
use quant::data::integer;
use quant::onnx::export_quantised;
use quant::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use quant::quantise::{Assignment, Quantiser};
use quant::{Judge, JudgeError, Model, Preprocess, Tensor, import};

/// Numbers between -1 and 1 that look random.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed ^ 0x9e37_79b9;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn node(op: &str, input: &[&str], output: &str) -> NodeProto {
    NodeProto::new(op, output, input, &[output])
}

/// A small network with all that real ones have: residuals of both kinds, views, both poolings, a signed value between linear
/// layers, and a fully connected layer.
fn network(seed: u64) -> Model {
    let weights = |name: &str, dims: &[i64]| {
        let len = dims.iter().product::<i64>() as usize;
        let values = noise(seed.wrapping_add(name.len() as u64 * 77 + len as u64), len);
        TensorProto::floats(name, dims, &values)
    };
    let conv = |input, kernel, output| node("Conv", &[input, kernel, "b"], output);
    let same = |input, kernel, output| conv(input, kernel, output).ints("pads", &[1; 4]);
    let pool =
        |op, input, output| node(op, &[input], output).ints("kernel_shape", &[2; 2]).ints("strides", &[2; 2]);
    let nodes = vec![
        same("x", "stem", "c0"),
        node("Relu", &["c0"], "r0"),
        same("r0", "first", "c1"),
        node("Relu", &["c1"], "r1"),
        same("r1", "second.", "c2"),
        node("Add", &["c2", "r0"], "a2"),
        node("Relu", &["a2"], "r2"),
        pool("MaxPool", "r2", "m2"),
        // A shortcut that takes every second pixel, beside a linear bottleneck.
        node("Slice", &["m2", "starts", "ends", "axes", "steps"], "s3"),
        node("Conv", &["m2", "narrow"], "c3"),
        same("c3", "third..", "c4").ints("strides", &[2; 2]),
        node("Add", &["s3", "c4"], "a4"),
        node("Clip", &["a4", "zero", "six"], "r4"),
        pool("AveragePool", "r4", "p4"),
        node("Flatten", &["p4"], "f"),
        node("Gemm", &["f", "matrix"], "y").int("transB", 1),
    ];
    let ints = |name: &str, data: &[i64]| TensorProto::ints(name, &[data.len() as i64], data);
    let initializer = vec![
        weights("stem", &[4, 3, 3, 3]),
        weights("first", &[4, 4, 3, 3]),
        weights("second.", &[4, 4, 3, 3]),
        weights("narrow", &[4, 4, 1, 1]),
        weights("third..", &[4, 4, 3, 3]),
        weights("matrix", &[5, 4]),
        weights("b", &[4]),
        TensorProto::floats("zero", &[], &[0.0]),
        TensorProto::floats("six", &[], &[2.5]),
        ints("starts", &[0, 0]),
        ints("ends", &[i64::MAX, i64::MAX]),
        ints("axes", &[2, 3]),
        ints("steps", &[2, 2]),
    ];
    let graph = GraphProto {
        name: "small".into(),
        input: vec![ValueInfoProto::batch("x", &[3, 8, 8])],
        output: vec![ValueInfoProto::batch("y", &[5])],
        initializer,
        node: nodes,
    };
    import(&ModelProto::new(13, graph).encode_to_vec()).unwrap()
}

/// A network at some widths, and its float one.
struct Case {
    plan: Plan,
    weights: Weights,
    batch: Tensor,
}

fn case(seed: u64, signed: bool, widths: &[u8]) -> Case {
    let model = network(seed);
    let preprocess = if signed {
        Preprocess::Normalise { mean: vec![0.5; 3], std: vec![0.3; 3] }
    } else {
        Preprocess::Unit
    };
    // Pixels, so that widths below eight bits meet halves.
    let pixel = |x: f32| ((x + 1.0) * 127.9).floor() / 255.0;
    let value = |x: f32| if signed { (pixel(x) - 0.5) / 0.3 } else { pixel(x) };
    let data = noise(seed ^ 1, 12 * 3 * 8 * 8).into_iter().map(value).collect();
    let batch = Tensor::new([12, 3, 8, 8], data).unwrap();
    let quantiser = Quantiser::new(&model, &preprocess, &batch, [3; 32]).unwrap();
    let (layers, sites) = (quantiser.sites().layers.len(), quantiser.sites().sites.len());
    let mut widths = widths.iter().copied().cycle();
    let assignment = Assignment {
        weight_bits: widths.by_ref().take(layers).collect(),
        site_bits: widths.take(sites).collect(),
    };
    let (graph, weights) = quantiser.quantise(&assignment).unwrap();
    let options = fusion::Options { weights: weights.digest(), ..fusion::Options::default() };
    let plan = fusion::fuse(&graph, &options).unwrap();
    weights.check(&plan).unwrap();
    Case { plan, weights, batch }
}

/// The integers of a plan's logits, `[N][classes]`.
fn integers(plan: &Plan, weights: &Weights, batch: &Tensor) -> Vec<i64> {
    let [n, c, h, w] = batch.shape;
    let range = plan.input_wire().range();
    let at = |i: usize| batch.data[(i / (h * w) % n * c + i / (h * w * n)) * h * w + i % (h * w)];
    let input: Vec<i64> = (0..batch.data.len()).map(|i| integer(at(i), plan.input.scale, range)).collect();
    let logits = fusion::ideal(plan, weights, &input).unwrap();
    let classes = logits.len() / n;
    (0..n * classes).map(|i| logits[i % classes * n + i / classes]).collect()
}

/// What onnxruntime makes of a file, in steps of the logits.
fn judged(judge: &Judge, onnx: &[u8], batch: &Tensor, step: f64) -> Vec<i64> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, onnx).unwrap();
    let logits = judge.run(file.path(), batch).unwrap();
    let steps = logits.data.iter().map(|&x| f64::from(x) / step);
    steps
        .map(|steps| {
            assert!((steps - steps.round()).abs() < 1e-3 * steps.abs().max(1.0), "{steps} is no integer");
            steps.round() as i64
        })
        .collect()
}

/// `None` where no onnxruntime is installed, unless `PQ_REQUIRE_ORT` says that there must be one.
fn judge() -> Option<Judge> {
    match Judge::find(None) {
        Ok(judge) => Some(judge),
        Err(error @ JudgeError::NotFound { .. }) if std::env::var_os("PQ_REQUIRE_ORT").is_none() => {
            println!("not judged: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 12 } else { 64 }))]

    #[test]
    fn onnxruntime_computes_the_integers_of_the_plan(
        seed in any::<u64>(), signed in any::<bool>(), widths in prop::collection::vec(2..=8_u8, 5..20)) {
        let Some(judge) = judge() else { return Ok(()) };
        let Case { plan, weights, batch } = case(seed, signed, &widths);
        let exported = export_quantised(&plan, &weights).unwrap();
        prop_assert!(exported.wide.is_empty(), "{:?}", exported.wide);
        let expected = integers(&plan, &weights, &batch);
        prop_assert_eq!(judged(&judge, &exported.bytes, &batch, plan.output.scale), expected);
    }
}
