use model::{Conv, Geometry, Node, Op, Preprocess, ValueId, Window};

use super::*;
use model::Dataset;

/// A small residual network of random weights, with both kinds of pooling.
fn model() -> Model {
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut nodes: Vec<Node> = Vec::new();
    let mut push = |op: Op, inputs: &[usize], shape: [usize; 3]| {
        let output = ValueId(nodes.len() + 1);
        let inputs = inputs.iter().map(|&value| ValueId(value)).collect();
        nodes.push(Node { name: format!("n{}", nodes.len()), op, inputs, output, shape });
        output.0
    };
    let mut conv = |geometry: Geometry| {
        let size = (2.0 / (geometry.fan_in() as f32)).sqrt();
        let weight = (0..geometry.weights()).map(|_| random() * size).collect();
        let bias = (0..geometry.out_channels).map(|_| 0.1 * random()).collect();
        Op::Conv(Conv { geometry, weight, bias })
    };
    let relu = Op::Relu { max: None };
    let a = push(conv(Geometry::same_size([3, 8], [8, 8], 3)), &[0], [8, 8, 8]);
    let a = push(relu.clone(), &[a], [8, 8, 8]);
    let b = push(conv(Geometry::same_size([8, 8], [8, 8], 3)), &[a], [8, 8, 8]);
    let b = push(relu.clone(), &[b], [8, 8, 8]);
    let b = push(conv(Geometry::same_size([8, 8], [8, 8], 3)), &[b], [8, 8, 8]);
    let sum = push(Op::Add, &[b, a], [8, 8, 8]);
    let sum = push(relu.clone(), &[sum], [8, 8, 8]);
    let halves = Window { kernel: [2; 2], stride: [2; 2], pad: [0; 4] };
    let pooled = push(Op::MaxPool(halves), &[sum], [8, 4, 4]);
    let strided = Geometry { stride_h: 2, stride_w: 2, ..Geometry::same_size([8, 20], [4, 4], 3) };
    let c = push(conv(strided), &[pooled], [20, 2, 2]);
    let c = push(relu, &[c], [20, 2, 2]);
    let mean = push(Op::AvgPool(halves), &[c], [20, 1, 1]);
    let Op::Conv(mut classes) = conv(Geometry::dense(20, 5)) else { unreachable!() };
    // Means of noise are all alike: what little they differ by is made to count.
    classes.weight.iter_mut().for_each(|weight| *weight *= 40.0);
    let output = push(Op::Conv(classes), &[mean], [5, 1, 1]);
    let model = Model { name: "small".into(), input: [3, 8, 8], nodes, output: ValueId(output) };
    model.check().unwrap();
    model
}

/// The network at some widths but for a wide start, and images to train it on.
fn quantized(model: &Model, [weights, activations]: [u8; 2]) -> ((Graph, Weights), Dataset) {
    let data = Dataset::noise(200, model.input, 5);
    let batch = data.batch(0..64, &Preprocess::Unit).unwrap();
    let ranges = crate::quantize::Ranges::default();
    let quantizer =
        crate::quantize::Quantizer::new(model, &Preprocess::Unit, &batch, ranges).unwrap();
    let places = quantizer.activations();
    let mut widths = crate::quantize::BitWidths {
        weight_bits: vec![weights; places.layers.len()],
        activation_bits: vec![activations; places.quantizers.len()],
    };
    (widths.weight_bits[0], widths.activation_bits[0]) = (8, 8);
    (quantizer.finish(&widths, &batch, None, &mut |_, _, _| {}).unwrap(), data)
}

fn source(data: &Dataset) -> Source<'_> {
    Source::new(vec![(data, 40..100), (data, 0..data.len())], &Preprocess::Unit)
}

const OPTIONS: TuneOptions =
    TuneOptions { steps: 24, batch: 16, crop: 1, flip: true, temperature: 4.0, seed: 3 };

/// Whether the trainer's logits are those of the specification, integer for integer.
fn check_forward(tuner: &mut Tuner<'_>, data: &Dataset) {
    let (graph, weights) = tuner.network().unwrap();
    let wire = *graph.wire(graph.input());
    let images = data.batch(100..140, &Preprocess::Unit).unwrap();
    let mut input = Vec::new();
    source::quantize(&wire, &images.data, &mut input);
    let found = tuner.logits(&input);
    for (image, found) in input.chunks(wire.elements()).zip(found.chunks(5)) {
        let integers: Vec<i64> = image.iter().map(|&v| v as i64).collect();
        let expected = fusion::eval(&graph, &weights, &integers).unwrap();
        let found: Vec<i64> = found.iter().map(|&logit| logit as i64).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn the_trainer_computes_the_integers_of_the_specification_before_and_after() {
    let model = model();
    let ((graph, weights), data) = quantized(&model, [3, 3]);
    let source = source(&data);
    let mut tuner = Tuner::new(&model, (&graph, &weights), source, OPTIONS).unwrap();
    let untouched = tuner.network().unwrap();
    assert_eq!(untouched.0, graph);
    assert_eq!(untouched.1.layers, weights.layers);
    check_forward(&mut tuner, &data);
    while !tuner.is_done() {
        tuner.step().unwrap();
    }
    let trained = tuner.network().unwrap();
    assert_ne!(trained.1.layers, weights.layers);
    check_forward(&mut tuner, &data);
}

#[test]
fn interrupted_and_resumed_on_other_cores_it_ends_with_the_same_bytes() {
    let model = model();
    let ((graph, weights), data) = quantized(&model, [3, 3]);
    let source = source(&data);
    let start = || Tuner::new(&model, (&graph, &weights), source.clone(), OPTIONS).unwrap();
    let run = |mut tuner: Tuner<'_>, until: u64, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            while tuner.progress().step < until {
                tuner.step().unwrap();
            }
        });
        tuner.state()
    };
    let whole = run(start(), OPTIONS.steps, 1);
    let half = run(start(), 11, 3);
    let mut resumed = start();
    resumed.restore(&half).unwrap();
    assert_eq!(run(resumed, OPTIONS.steps, 2), whole);
    let others = TuneOptions { seed: 4, ..OPTIONS };
    let mut other = Tuner::new(&model, (&graph, &weights), source, others).unwrap();
    let error = other.restore(&half).unwrap_err().to_string();
    assert!(error.contains("seed: expected 4, found 3"), "{error}");
    assert!(other.restore(&half[1..]).unwrap_err().to_string().contains("bytes"));
}
