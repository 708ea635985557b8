//! Networks and a training for tests.

use model::{Conv, Geometry, Model, Node, Op, ValueId, Window};

use crate::tune::TuneOptions;

/// A training of seconds, which holds nothing back.
pub(crate) const TRAINING: TuneOptions = TuneOptions {
    steps: 24,
    batch: 16,
    crop: 1,
    flip: true,
    mix: 0.0,
    temperature: 4.0,
    rate: 0.006,
    narrow: 0.0,
    hold: false,
    held_back: 0,
    seed: 3,
};

/// A small residual network of random weights, with both kinds of pooling.
pub(crate) fn residual_network() -> Model {
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
