//! One step of gradients, batch 64: of ResNet-20's shape, of the same with weights in Winograd's
//! domain, and of a MobileNetV2 for 32x32 pixels.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use model::Geometry;
use train::{Network, Node, Op, Trainer};

/// Images of a batch.
const BATCH: usize = 64;

/// ResNet-20 for 32x32 pixels, batch normalization folded (He et al., CVPR 2016).
fn resnet20() -> Network {
    let mut network = Network { input: [3, 32, 32], nodes: Vec::new(), output: 0 };
    let mut value = conv(&mut network, 0, 16, 3, 1);
    value = relu(&mut network, value);
    for stage in [16, 32, 64] {
        for block in 0..3 {
            let stride = if block == 0 && stage > 16 { 2 } else { 1 };
            let inner = conv(&mut network, value, stage, 3, stride);
            let inner = relu(&mut network, inner);
            let branch = conv(&mut network, inner, stage, 3, 1);
            let skip = if stride == 2 { conv(&mut network, value, stage, 1, 2) } else { value };
            let shape = network.shape(branch);
            let sum = push(&mut network, Op::Add { factors: vec![1.0; 2] }, &[branch, skip], shape);
            value = relu(&mut network, sum);
        }
    }
    let classes =
        Geometry { in_h: 8, in_w: 8, kernel_h: 8, kernel_w: 8, ..Geometry::dense(64, 10) };
    network.output = push(&mut network, Op::Linear(classes), &[value], [10, 1, 1]);
    network
}

/// The same, its 3x3 convolutions of stride 1 by weights in Winograd's domain.
fn in_domain(mut network: Network) -> Network {
    for node in &mut network.nodes {
        if let Op::Linear(g) = node.op
            && [g.kernel_h, g.stride_h] == [3, 1]
        {
            node.op = Op::Winograd(g);
        }
    }
    network
}

/// The network of `tools/mobilenet_v2.py` (after Sandler et al., CVPR 2018).
fn mobilenet_v2() -> Network {
    let mut network = Network { input: [3, 32, 32], nodes: Vec::new(), output: 0 };
    let mut value = conv(&mut network, 0, 16, 3, 1);
    value = relu6(&mut network, value);
    for (wider, outputs, blocks, stride) in
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 1), (6, 64, 3, 2), (6, 96, 1, 1)]
    {
        for block in 0..blocks {
            let stride = if block == 0 { stride } else { 1 };
            value = inverted_residual(&mut network, value, [wider, outputs], stride);
        }
    }
    value = conv(&mut network, value, 256, 1, 1);
    value = relu6(&mut network, value);
    let classes =
        Geometry { in_h: 8, in_w: 8, kernel_h: 8, kernel_w: 8, ..Geometry::dense(256, 10) };
    network.output = push(&mut network, Op::Linear(classes), &[value], [10, 1, 1]);
    network
}

fn inverted_residual(
    network: &mut Network,
    input: usize,
    [wider, outputs]: [usize; 2],
    stride: usize,
) -> usize {
    let inputs = network.shape(input)[0];
    let mut value = input;
    if wider > 1 {
        value = conv(network, input, inputs * wider, 1, 1);
        value = relu6(network, value);
    }
    let [inner, rows, columns] = network.shape(value);
    let same = Geometry::same_size([inner; 2], [rows, columns], 3);
    let alone = Geometry { groups: inner, stride_h: stride, stride_w: stride, ..same };
    value = push(network, Op::Linear(alone), &[value], alone.out_shape());
    value = relu6(network, value);
    value = conv(network, value, outputs, 1, 1);
    if stride > 1 || inputs != outputs {
        return value;
    }
    let shape = network.shape(value);
    push(network, Op::Add { factors: vec![1.0; 2] }, &[value, input], shape)
}

fn push(network: &mut Network, op: Op, inputs: &[usize], shape: [usize; 3]) -> usize {
    network.nodes.push(Node { op, inputs: inputs.to_vec(), shape });
    network.nodes.len()
}

fn conv(network: &mut Network, input: usize, to: usize, kernel: usize, stride: usize) -> usize {
    let [channels, rows, columns] = network.shape(input);
    let same = Geometry::same_size([channels, to], [rows, columns], kernel);
    let geometry = Geometry { stride_h: stride, stride_w: stride, ..same };
    push(network, Op::Linear(geometry), &[input], geometry.out_shape())
}

fn relu(network: &mut Network, input: usize) -> usize {
    let shape = network.shape(input);
    push(network, Op::Relu { max: None }, &[input], shape)
}

fn relu6(network: &mut Network, input: usize) -> usize {
    let shape = network.shape(input);
    push(network, Op::Relu { max: Some(6.0) }, &[input], shape)
}

/// Small numbers that look random.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919) % 1013) as f32 / 10_130.0 - 0.05).collect()
}

fn steps(criterion: &mut Criterion) {
    step(criterion, "resnet20 step of 64", &resnet20());
    step(criterion, "resnet20 in Winograd's domain, step of 64", &in_domain(resnet20()));
    step(criterion, "mobilenet_v2 step of 64", &mobilenet_v2());
}

fn step(criterion: &mut Criterion, name: &str, network: &Network) {
    let mut trainer: Trainer<f32> = Trainer::new(network, BATCH);
    for (node, geometry) in network.layers() {
        let weights = trainer.gradient(node).map_or(0, |gradient| gradient.weight.len());
        trainer.set(node, &numbers(weights), &numbers(geometry.out_channels));
    }
    let images = numbers(BATCH * 3 * 32 * 32);
    criterion.bench_function(name, |bencher| {
        bencher.iter_batched(
            || (),
            |()| {
                trainer.step(&images, |image, logits, gradient| {
                    gradient.fill(0.0);
                    train::loss::cross_entropy(logits, image % 10, 1.0, gradient)
                })
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = steps
}
criterion_main!(benches);
