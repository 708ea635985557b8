//! Gradients against differences, layers against their transposes and against `model`'s evaluation.

#![allow(clippy::unwrap_used)]

use model::float::conv::convolve;
use model::{Axis, Function, Geometry, Order, View, Window};
use proptest::prelude::*;
use train::{Network, Node, Number, Op, Parameters, Rounding, Table, Trainer};

/// Numbers within -1 and 1 that look random, from a seed.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 23) as f64 - 1.0
    }

    fn list(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.next()).collect()
    }

    /// Integers of `-most..=most`.
    fn integers(&mut self, len: usize, most: f64) -> Vec<f64> {
        (0..len).map(|_| (self.next() * (most + 0.5)).round().clamp(-most, most)).collect()
    }
}

fn push(network: &mut Network, op: Op, inputs: &[usize], shape: [usize; 3]) -> usize {
    network.nodes.push(Node { op, inputs: inputs.to_vec(), shape });
    network.nodes.len()
}

fn linear(network: &mut Network, input: usize, geometry: Geometry) -> usize {
    push(network, Op::Linear(geometry), &[input], geometry.out_shape())
}

/// Every operation but those that round: strides, groups, dilation, uneven padding, more channels
/// than a block, a residual, values that several nodes read.
fn everything() -> Network {
    let mut net = Network { input: [3, 7, 7], nodes: Vec::new(), output: 0 };
    let a = linear(&mut net, 0, Geometry::same_size([3, 20], [7, 7], 3));
    let a = push(&mut net, Op::Relu { max: None }, &[a], [20, 7, 7]);
    let same = Geometry::same_size([20, 20], [7, 7], 3);
    let grouped = Geometry { groups: 5, dilation_h: 2, pad_top: 2, pad_bottom: 2, ..same };
    let b = linear(&mut net, a, grouped);
    let slopes: Vec<f32> = (0..20 * 49).map(|at| [0.0, 1.0, 0.5][at % 3]).collect();
    let b = push(&mut net, Op::PRelu { slopes: slopes.clone(), learned: true }, &[b], [20, 7, 7]);
    let sum = push(&mut net, Op::Add { factors: vec![1.0, 0.5] }, &[b, a], [20, 7, 7]);
    let sum = push(&mut net, Op::PRelu { slopes, learned: false }, &[sum], [20, 7, 7]);
    let c = push(&mut net, Op::Relu { max: Some(1.5) }, &[sum], [20, 7, 7]);
    let depthwise = linear(&mut net, c, Geometry { groups: 20, ..same });
    let odd = Geometry { stride_h: 2, stride_w: 2, pad_top: 0, pad_left: 0, ..same };
    let d = linear(&mut net, depthwise, Geometry { out_channels: 6, ..odd });
    let axes = [
        Axis { before: 1, after: 1, stride: 5, length: 4, ..Axis::all(20) },
        Axis { stride: 2, length: 3, ..Axis::all(7) },
        Axis { stride: 2, length: 3, ..Axis::all(7) },
    ];
    let view = push(&mut net, Op::View(View { axes }), &[c], [6, 3, 3]);
    let e = push(&mut net, Op::Add { factors: vec![2.0, 1.0] }, &[view, d], [6, 3, 3]);
    let e = push(&mut net, Op::Function(Function::Sigmoid), &[e], [6, 3, 3]);
    let all = Window { kernel: [3; 2], stride: [1; 2], pad: [0; 4] };
    let gate = push(&mut net, Op::SumPool { window: all, factor: 0.1 }, &[e], [6, 1, 1]);
    let gated = push(&mut net, Op::Product, &[e, gate], [6, 3, 3]);
    let e = push(&mut net, Op::Product, &[gated, d], [6, 3, 3]);
    let squared = push(&mut net, Op::Function(Function::Square), &[d], [6, 3, 3]);
    let e = push(&mut net, Op::Add { factors: vec![1.0, 0.1] }, &[e, squared], [6, 3, 3]);
    let window = |pad: usize| Window { kernel: [2; 2], stride: [1; 2], pad: [pad, 0, 0, 0] };
    let f = push(&mut net, Op::MaxPool(window(1)), &[e], [6, 3, 2]);
    let pool = Op::SumPool { window: window(1), factor: 0.25 };
    let g = push(&mut net, pool, &[f], [6, 3, 1]);
    let twice = push(&mut net, Op::Concat, &[g, g], [12, 3, 1]);
    let order = Order { rows: 12, columns: 3, inner: 1, shape: [3, 12, 1] };
    let turned = push(&mut net, Op::Reorder(order), &[twice], order.shape);
    let tiles = Geometry::same_size([3, 2], [12, 1], 3);
    let turned = push(&mut net, Op::Winograd(tiles), &[turned], [2, 12, 1]);
    let full = Geometry { in_h: 12, kernel_h: 12, ..Geometry::dense(2, 5) };
    let full = linear(&mut net, turned, full);
    net.output = linear(&mut net, full, Geometry::dense(5, 3));
    net
}

/// Random parameters of every layer.
fn parameters(network: &Network, stream: &mut Stream) -> Vec<Option<Parameters<f64>>> {
    let mut found = vec![None; network.nodes.len()];
    for (node, geometry) in network.layers() {
        let in_domain = matches!(network.nodes[node].op, Op::Winograd(_));
        let weights = if in_domain { geometry.weights() / 9 * 16 } else { geometry.weights() };
        let weight = stream.list(weights);
        found[node] = Some(Parameters { weight, bias: stream.list(geometry.out_channels) });
    }
    for (node, Node { op, .. }) in network.nodes.iter().enumerate() {
        if let Op::PRelu { slopes, learned: true } = op {
            found[node] = Some(Parameters { weight: stream.list(slopes.len()), bias: Vec::new() });
        }
    }
    found
}

fn set<T: Number>(trainer: &mut Trainer<T>, parameters: &[Option<Parameters<f64>>]) {
    for (node, parameters) in parameters.iter().enumerate() {
        if let Some(Parameters { weight, bias }) = parameters {
            trainer.set(node, &cast::<T>(weight), &cast::<T>(bias));
        }
    }
}

fn cast<T: Number>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::of(value)).collect()
}

/// `sum output_i^2 (i + 1)`, smooth.
fn loss<T: Number>(_: usize, output: &[T], gradient: &mut [T]) -> f64 {
    let mut total = 0.0;
    for (at, (gradient, value)) in gradient.iter_mut().zip(output).enumerate() {
        let (value, weight) = (value.wide(), at as f64 + 1.0);
        total += weight * value * value;
        *gradient = T::of(2.0 * weight * value);
    }
    total
}

/// Whether a derivative is the difference of what a value becomes as it moves. Within a step there
/// may be a kink, of a ReLU or a maximum: it lies on one side, and the other is without.
fn is_derivative(found: f64, mut moved: impl FnMut(f64) -> f64) -> Result<(), String> {
    let step = 1e-6;
    let [before, here, after] = [-step, 0.0, step].map(&mut moved);
    let sides = [(after - before) / (2.0 * step), (after - here) / step, (here - before) / step];
    let near = |side: &f64| (side - found).abs() < 1e-3 * (1.0 + side.abs());
    if sides.iter().any(near) { Ok(()) } else { Err(format!("{found} against {sides:?}")) }
}

fn check_gradients(seed: u64) -> Result<(), String> {
    let network = everything();
    let mut stream = Stream(seed);
    let mut given = parameters(&network, &mut stream);
    let batch = stream.list(3 * 147);
    let mut trainer: Trainer<f64> = Trainer::new(&network, 3);
    set(&mut trainer, &given);
    trainer.step(&batch, loss);
    let layers: Vec<usize> = (0..given.len()).filter(|&node| given[node].is_some()).collect();
    let found: Vec<Parameters<f64>> =
        layers.iter().map(|&node| trainer.gradient(node).unwrap().clone()).collect();
    for (&node, found) in layers.iter().zip(&found) {
        let picked = (stream.next().abs() * found.weight.len() as f64) as usize;
        for at in [0, picked, found.weight.len() - 1] {
            is_derivative(found.weight[at], |by| {
                given[node].as_mut().unwrap().weight[at] += by;
                set(&mut trainer, &given);
                given[node].as_mut().unwrap().weight[at] -= by;
                trainer.step(&batch, loss)
            })
            .map_err(|error| format!("node {node} weight {at}: {error}"))?;
        }
        let Some(last) = found.bias.len().checked_sub(1) else { continue };
        is_derivative(found.bias[last], |by| {
            given[node].as_mut().unwrap().bias[last] += by;
            set(&mut trainer, &given);
            given[node].as_mut().unwrap().bias[last] -= by;
            trainer.step(&batch, loss)
        })
        .map_err(|error| format!("node {node} bias: {error}"))?;
        set(&mut trainer, &given);
    }
    Ok(())
}

prop_compose! {
    fn geometry()(
        (groups, inputs, outputs) in (1usize..4, 1usize..20, 1usize..20),
        [in_h, in_w, kernel_h, kernel_w] in [3usize..9, 3usize..9, 1usize..4, 1usize..4],
        [stride_h, stride_w, dilation_h, dilation_w] in prop::array::uniform4(1usize..3),
        [pad_top, pad_left, pad_bottom, pad_right] in prop::array::uniform4(0usize..3),
    ) -> Geometry {
        Geometry {
            in_channels: inputs * groups, in_h, in_w, out_channels: outputs * groups,
            kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w,
            pad_top, pad_left, pad_bottom, pad_right, groups,
        }
    }
}

prop_compose! {
    /// A layer of one channel a group: up to three blocks of channels, and images of one pixel too.
    fn depthwise()(
        channels in 1usize..40,
        [in_h, in_w, kernel_h, kernel_w] in [1usize..10, 1usize..10, 1usize..6, 1usize..6],
        [stride_h, stride_w, dilation_h, dilation_w] in prop::array::uniform4(1usize..4),
        [pad_top, pad_left, pad_bottom, pad_right] in prop::array::uniform4(0usize..4),
    ) -> Geometry {
        Geometry {
            in_channels: channels, in_h, in_w, out_channels: channels, kernel_h, kernel_w,
            stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, pad_bottom, pad_right,
            groups: channels,
        }
    }
}

/// A network whose input goes through a layer of one weight a channel first, so that the layer
/// under test has a cotangent to give.
fn alone(op: Op, geometry: Geometry) -> Network {
    let [channels, rows, columns] = [geometry.in_channels, geometry.in_h, geometry.in_w];
    let same = Geometry::same_size([channels; 2], [rows, columns], 1);
    let mut network = Network { input: [channels, rows, columns], nodes: Vec::new(), output: 0 };
    let scaled = linear(&mut network, 0, Geometry { groups: channels, ..same });
    network.output = push(&mut network, op, &[scaled], geometry.out_shape());
    network
}

/// A convolution of tiles of 2x2 outputs, each of them one output.
fn tiles(geometry: &Geometry) -> Geometry {
    let [rows, columns] = [geometry.out_h(), geometry.out_w()];
    Geometry {
        kernel_h: 4,
        kernel_w: 4,
        stride_h: 2,
        stride_w: 2,
        pad_bottom: rows.next_multiple_of(2) + 2 - geometry.in_h - geometry.pad_top,
        pad_right: columns.next_multiple_of(2) + 2 - geometry.in_w - geometry.pad_left,
        ..*geometry
    }
}

/// What a layer says of an input, and how many weights it has.
type Outputs = (usize, Box<dyn Fn(&[f64], &[f64], &[f64]) -> Vec<f64>>);

fn of_linear(geometry: Geometry) -> Outputs {
    let weights = geometry.weights();
    (
        weights,
        Box::new(move |weight, bias, input| {
            convolve(&geometry, weight, bias, input, &mut Vec::new())
        }),
    )
}

/// Of four convolutions, each the outputs at one place of all tiles: with the kernels that weights
/// in Winograd's domain amount to there.
fn of_winograd(geometry: Geometry) -> Outputs {
    let within = tiles(&geometry);
    let run = Box::new(move |weight: &[f64], bias: &[f64], input: &[f64]| {
        let [channels, rows, columns] = geometry.out_shape();
        let mut outputs = vec![0.0; channels * rows * columns];
        for place in 0..4 {
            let weight = kernels(weight, place);
            let found = convolve(&within, &weight, bias, input, &mut Vec::new());
            for (at, output) in outputs.iter_mut().enumerate() {
                let (k, y, x) = (at / (rows * columns), at / columns % rows, at % columns);
                if (y % 2, x % 2) == (place / 2, place % 2) {
                    *output = found[(k * within.out_h() + y / 2) * within.out_w() + x / 2];
                }
            }
        }
        outputs
    });
    (within.weights(), run)
}

/// Kernels of 4x4 inputs, of the output at a place of a tile: `sum_p a[p] u[p] b[p, tap]`.
fn kernels(domain: &[f64], place: usize) -> Vec<f64> {
    const B: [[f64; 4]; 4] =
        [[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, -1.0, 1.0, 0.0], [0.0, 1.0, 0.0, -1.0]];
    const A: [[f64; 4]; 2] = [[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, -1.0]];
    let pairs = domain.len() / 16;
    let of_pair = |pair: usize| {
        (0..16).map(move |tap| {
            let parts = (0..16).map(|p| {
                let out = A[place / 2][p / 4] * A[place % 2][p % 4];
                out * domain[p * pairs + pair] * B[p / 4][tap / 4] * B[p % 4][tap % 4]
            });
            parts.sum::<f64>()
        })
    };
    (0..pairs).flat_map(of_pair).collect()
}

/// `<A x, y> == <x, A^T y>`, of a layer and of the gradient of its weights, in integers: exact.
fn check_transposes<T: Number>(
    op: Op,
    geometry: Geometry,
    (weights, run): &Outputs,
    seed: u64,
) -> Result<(), TestCaseError> {
    let network = alone(op, geometry);
    let mut stream = Stream(seed);
    let input = stream.integers(network.input.iter().product(), 5.0);
    let weight = stream.integers(*weights, 3.0);
    let bias = stream.integers(geometry.out_channels, 9.0);
    let cotangent = stream.integers(geometry.out_shape().iter().product(), 4.0);
    let channels = geometry.in_channels;
    let mut trainer: Trainer<T> = Trainer::new(&network, 1);
    trainer.set(0, &vec![T::one(); channels], &vec![T::zero(); channels]);
    trainer.set(1, &cast::<T>(&weight), &cast::<T>(&bias));
    let expected = run(&weight, &bias, &input);
    let total = trainer.step(&cast::<T>(&input), |_, output, gradient| {
        gradient.copy_from_slice(&cast::<T>(&cotangent));
        f64::from(u8::from(output == cast::<T>(&expected)))
    });
    prop_assert_eq!(total, 1.0, "the outputs are those of model::float");
    let without = run(&weight, &vec![0.0; bias.len()], &input);
    let product: f64 = without.iter().zip(&cotangent).map(|(a, b)| a * b).sum();
    // The gradient of the first layer's weights is the sum of `x` times its cotangent.
    let first = trainer.gradient(0).unwrap().weight.iter().map(|value| value.wide());
    prop_assert_eq!(first.sum::<f64>(), product);
    let second = trainer.gradient(1).unwrap();
    let sums = second.weight.iter().zip(&weight).map(|(sum, weight)| sum.wide() * weight);
    prop_assert_eq!(sums.sum::<f64>(), product);
    let biases = second.bias.iter().map(|value| value.wide());
    prop_assert_eq!(biases.sum::<f64>(), cotangent.iter().sum::<f64>());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn gradients_are_the_differences(seed in any::<u64>()) {
        prop_assert_eq!(check_gradients(seed), Ok(()));
    }

    #[test]
    fn layers_and_their_gradients_are_transposes(geometry in geometry(), seed in any::<u64>()) {
        prop_assume!(geometry.check().is_ok());
        let outputs = of_linear(geometry);
        check_transposes::<f32>(Op::Linear(geometry), geometry, &outputs, seed)?;
        check_transposes::<f64>(Op::Linear(geometry), geometry, &outputs, seed)?;
    }

    #[test]
    fn winograds_domain_and_its_gradients_are_transposes(
        geometry in geometry(),
        seed in any::<u64>(),
    ) {
        let steps = Geometry { stride_h: 1, stride_w: 1, dilation_h: 1, dilation_w: 1, ..geometry };
        let geometry = Geometry { kernel_h: 3, kernel_w: 3, ..steps };
        prop_assume!(geometry.check().is_ok());
        let outputs = of_winograd(geometry);
        check_transposes::<f32>(Op::Winograd(geometry), geometry, &outputs, seed)?;
        check_transposes::<f64>(Op::Winograd(geometry), geometry, &outputs, seed)?;
    }

    #[test]
    fn depthwise_layers_and_their_gradients_are_transposes(
        geometry in depthwise(),
        seed in any::<u64>(),
    ) {
        prop_assume!(geometry.check().is_ok());
        let outputs = of_linear(geometry);
        check_transposes::<f32>(Op::Linear(geometry), geometry, &outputs, seed)?;
        check_transposes::<f64>(Op::Linear(geometry), geometry, &outputs, seed)?;
    }

    // The gradient is that of the same network without rounding, cut off half a step beyond the
    // ends.
    #[test]
    fn roundings_pass_gradients_straight_through(
        values in prop::collection::vec(-40.0f64..40.0, 6),
        cotangent in prop::collection::vec(-1.0f64..1.0, 6),
    ) {
        let rounding = Rounding { factor: 0.25, low: -4.0, high: 3.0 };
        let mut net = Network { input: [6, 1, 1], nodes: Vec::new(), output: 0 };
        let a = linear(&mut net, 0, Geometry { groups: 6, ..Geometry::dense(6, 6) });
        net.output = push(&mut net, Op::Round(rounding), &[a], [6, 1, 1]);
        let mut trainer: Trainer<f64> = Trainer::new(&net, 1);
        trainer.set(0, &[1.0; 6], &[0.0; 6]);
        trainer.step(&values, |_, output, gradient| {
            let right = values.iter().map(|value| (value / 4.0 + 0.5).floor().clamp(-4.0, 3.0));
            assert!(right.eq(output.iter().copied()));
            gradient.copy_from_slice(&cotangent);
            0.0
        });
        for ((value, cotangent), found) in
            values.iter().zip(&cotangent).zip(&trainer.gradient(0).unwrap().bias)
        {
            let inside = (-4.5..3.5).contains(&(value / 4.0));
            prop_assert_eq!(*found, if inside { cotangent / 4.0 } else { 0.0 });
        }
    }
}

/// As above, each element with its own ends.
#[test]
fn roundings_of_each_element_have_its_own_ends() {
    let rounding = Rounding { factor: 0.25, low: 0.0, high: 3.0 };
    let mut net = Network { input: [6, 1, 1], nodes: Vec::new(), output: 0 };
    let a = linear(&mut net, 0, Geometry { groups: 6, ..Geometry::dense(6, 6) });
    let floors = vec![0.0, -2.0, 0.0, -2.0, 0.0, -2.0];
    net.output = push(&mut net, Op::RoundEach { rounding, floors }, &[a], [6, 1, 1]);
    let mut trainer: Trainer<f64> = Trainer::new(&net, 1);
    trainer.set(0, &[1.0; 6], &[0.0; 6]);
    trainer.step(&[-5.0, -5.0, 9.0, 9.0, 20.0, -20.0], |_, output, gradient| {
        assert_eq!(output, [0.0, -1.0, 2.0, 1.0, 3.0, -2.0]);
        gradient.fill(1.0);
        0.0
    });
    // Half a step beyond either end still rounds to it: 9 / 4 is above 1.5, the end of what is
    // from -2 on.
    assert_eq!(trainer.gradient(0).unwrap().bias, [0.0, 0.25, 0.25, 0.0, 0.0, 0.0]);
}

#[test]
fn tables_are_looked_up_and_have_the_slopes_of_their_neighbors() {
    let table = Table { first: -1, values: vec![0.0, 1.0, 4.0, 9.0] };
    let mut net = Network { input: [4, 1, 1], nodes: Vec::new(), output: 0 };
    let a = linear(&mut net, 0, Geometry { groups: 4, ..Geometry::dense(4, 4) });
    net.output = push(&mut net, Op::Table(table), &[a], [4, 1, 1]);
    let mut trainer: Trainer<f64> = Trainer::new(&net, 1);
    trainer.set(0, &[1.0; 4], &[0.0; 4]);
    trainer.step(&[-1.0, 0.0, 1.0, 2.0], |_, output, gradient| {
        assert_eq!(output, [0.0, 1.0, 4.0, 9.0]);
        gradient.fill(1.0);
        0.0
    });
    assert_eq!(trainer.gradient(0).unwrap().bias, [1.0, 2.0, 4.0, 5.0]);
}

#[test]
fn single_precision_agrees_and_cores_do_not_matter() {
    let network = everything();
    let mut stream = Stream(3);
    let given = parameters(&network, &mut stream);
    let batch = stream.list(21 * 147);
    let mut wide: Trainer<f64> = Trainer::new(&network, 21);
    set(&mut wide, &given);
    wide.step(&batch, loss);
    let narrow = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut trainer: Trainer<f32> = Trainer::new(&network, 24);
            set(&mut trainer, &given);
            // What an earlier batch leaves behind has no part in the next.
            trainer.step(&cast::<f32>(&batch[147..147 * 20]), loss);
            let total = trainer.step(&cast::<f32>(&batch), loss);
            let gradients = network.layers().map(|(node, _)| trainer.gradient(node).cloned());
            (total, gradients.collect::<Vec<_>>())
        })
    };
    let (one, three) = (narrow(1), narrow(3));
    assert_eq!(one, three);
    for ((node, _), found) in network.layers().zip(one.1) {
        let (expected, found) = (wide.gradient(node).unwrap(), found.unwrap());
        let size = expected.weight.iter().fold(0.0f64, |most, value| value.abs().max(most));
        for (found, expected) in found.weight.iter().zip(&expected.weight) {
            assert!((f64::from(*found) - expected).abs() < 1e-4 * size, "node {node}");
        }
    }
}
