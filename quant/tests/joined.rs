//! Networks whose channels are concatenated, split and shuffled: their integers say what their
//! floats say.

#![allow(clippy::unwrap_used)]

use fusion::{Options, eval, fuse, ideal};
use model::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use prost::Message;
use quant::quantize::{BitWidths, Quantizer, Ranges, Reconstruction};
use quant::search::{Measure, Sensitivity};
use quant::{Model, Preprocess, Tensor, float, import};

/// Numbers within -1 and 1 that look random.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}

fn weights(name: &str, dims: &[i64]) -> TensorProto {
    let len: i64 = dims.iter().product();
    let fan_in: i64 = dims[1..].iter().product();
    let scale = (3.0 / fan_in as f32).sqrt();
    let data: Vec<f32> = noise(len as u64 + name.len() as u64, len as usize);
    TensorProto::floats(name, dims, &data.iter().map(|x| x * scale).collect::<Vec<_>>())
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto::new(op, output, inputs, &[output])
}

/// Pixels, a cut-off ReLU, averages, a maximum and layers side by side; half of them pass by what
/// is joined again and shuffled.
fn network() -> Model {
    let pool = |op: &str, output: &str| {
        node(op, &["a"], output).ints("kernel_shape", &[3, 3]).ints("pads", &[1; 4])
    };
    let conv = |inputs: &[&str], output: &str| node("Conv", inputs, output).ints("pads", &[1; 4]);
    let halves = NodeProto::new("Split", "halves", &["joined"], &["left", "right"]).int("axis", 1);
    let nodes = vec![
        conv(&["input", "w1"], "c1"),
        node("Relu", &["c1"], "a"),
        conv(&["a", "w2"], "c2"),
        node("Clip", &["c2", "zero", "six"], "six_of_it"),
        pool("AveragePool", "mean").int("count_include_pad", 1),
        pool("MaxPool", "most"),
        conv(&["a", "w3"], "plain"),
        node("Concat", &["input", "six_of_it", "mean", "most", "plain"], "joined").int("axis", 1),
        halves,
        conv(&["right", "w4"], "c4"),
        node("Relu", &["c4"], "r4"),
        node("Concat", &["left", "r4"], "again").int("axis", 1),
        node("Reshape", &["again", "groups"], "g"),
        node("Transpose", &["g"], "t").ints("perm", &[0, 2, 1, 3, 4]),
        node("Reshape", &["t", "flat"], "shuffled"),
        conv(&["shuffled", "w5"], "c5"),
        node("Relu", &["c5"], "r5"),
        node("Flatten", &["r5"], "f"),
        node("MatMul", &["f", "fc"], "logits"),
    ];
    let scalar = |name: &str, x: f32| TensorProto::floats(name, &[], &[x]);
    let graph = GraphProto {
        name: "joined".into(),
        node: nodes,
        initializer: vec![
            weights("w1", &[4, 2, 3, 3]),
            weights("w2", &[3, 4, 3, 3]),
            weights("w3", &[3, 4, 3, 3]),
            weights("w4", &[8, 8, 3, 3]),
            weights("w5", &[4, 16, 3, 3]),
            weights("fc", &[144, 5]),
            scalar("zero", 0.0),
            scalar("six", 0.3),
            TensorProto::ints("groups", &[5], &[-1, 2, 8, 6, 6]),
            TensorProto::ints("flat", &[4], &[-1, 16, 6, 6]),
        ],
        input: vec![ValueInfoProto::batch("input", &[2, 6, 6])],
        output: vec![ValueInfoProto::batch("logits", &[5])],
        ..GraphProto::default()
    };
    import(&ModelProto::new(13, graph).encode_to_vec()).unwrap()
}

/// The distance of the integers' logits from the floats', over the length of these.
fn error(model: &Model, batch: &Tensor, graph: &fusion::Graph, weights: &fusion::Weights) -> f64 {
    let options = Options { weights: weights.digest(), ..Options::default() };
    let plan = fuse(graph, &options).unwrap();
    plan.check().unwrap();
    weights.check(&plan).unwrap();
    let input = plan.encode(&batch.data).unwrap();
    let found = ideal(&plan, weights, &input).unwrap();
    assert_eq!(found, eval(graph, weights, &input).unwrap());
    let expected = float::evaluate(model, batch).unwrap();
    let images = batch.images();
    let (mut apart, mut length) = (0.0, 0.0);
    for (image, answer) in plan.decode(&found, images).iter().enumerate() {
        let values = &answer.logits.as_ref().unwrap().values;
        for (found, &expected) in values.iter().zip(expected.image(image)) {
            apart += (found - f64::from(expected)).powi(2);
            length += f64::from(expected).powi(2);
        }
    }
    (apart / length).sqrt()
}

#[test]
fn what_is_joined_is_rounded_to_one_scale_and_says_what_the_floats_say() {
    let model = network();
    let batch = Tensor::new([24, 2, 6, 6], noise(3, 24 * 72)).unwrap();
    let preprocess = Preprocess::Normalize { mean: vec![0.0; 2], std: vec![1.0; 2] };
    let quantizer = Quantizer::new(&model, &preprocess, &batch, Ranges::Mse).unwrap();
    let activations = quantizer.activations();
    let widths = |bits: u8| BitWidths {
        weight_bits: vec![bits; activations.layers.len()],
        activation_bits: vec![bits; activations.quantizers.len()],
    };
    let (graph, weights) = quantizer.quantize(&widths(8)).unwrap();
    let quick = error(&model, &batch, &graph, &weights);
    let reconstruction = Reconstruction { steps: 5, seed: 1 };
    let careful = |options: Option<&Reconstruction>| {
        let (graph, weights) =
            quantizer.finish(&widths(8), &batch, options, &mut |_, _, _| {}).unwrap();
        error(&model, &batch, &graph, &weights)
    };
    let (sequence, learned) = (careful(None), careful(Some(&reconstruction)));
    println!("{quick} at once, {sequence} in sequence, {learned} learned");
    assert!(quick < 0.05 && sequence < 0.05 && learned < 0.05);
    for measure in Measure::ALL {
        let found = Sensitivity::measure(measure, &model, &quantizer, &batch, &mut |_| {}).unwrap();
        assert_eq!(found.activations.len(), activations.quantizers.len());
        let finite = found.activations.concat().iter().all(|loss| loss.is_finite());
        assert!(finite, "{}", measure.name());
    }
    // Slices of what is joined, and what is joined of them, are rounded once: no part is rounded
    // where it only passes by.
    let requants = graph.nodes().iter().filter(|node| node.name.ends_with(".requant")).count();
    assert_eq!(requants, 9, "{graph}");
}
