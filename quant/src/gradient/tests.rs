use model::{Axis, Node, Order, View, Window};
use proptest::prelude::*;

use super::*;
use protocols::linear::Geometry;

/// Numbers within -1 and 1 that look random, from a seed.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn list(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

struct Nodes {
    stream: Stream,
    nodes: Vec<Node>,
}

impl Nodes {
    fn push(&mut self, op: Op, inputs: &[ValueId], shape: [usize; 3]) -> ValueId {
        let output = ValueId(self.nodes.len() + 1);
        let name = format!("n{}", self.nodes.len());
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), output, shape });
        output
    }

    fn conv(&mut self, geometry: Geometry, input: ValueId) -> ValueId {
        let weight = self.stream.list(geometry.weights());
        let bias = self.stream.list(geometry.out_channels);
        self.push(Op::Conv(Conv { geometry, weight, bias }), &[input], geometry.out_shape())
    }
}

/// A network with every operation: strides, groups, dilation, uneven padding, a residual, pooling
/// with padding, a view, a gate and a product.
fn everything(seed: u64) -> Model {
    let mut net = Nodes { stream: Stream(seed), nodes: Vec::new() };
    let square = |channels: usize, side: usize, to: usize, kernel: usize, pad: usize| Geometry {
        in_channels: channels,
        in_h: side,
        in_w: side,
        kernel_h: kernel,
        kernel_w: kernel,
        pad_top: pad,
        pad_left: pad,
        pad_bottom: pad,
        pad_right: pad,
        ..Geometry::dense(channels, to)
    };
    let a = net.conv(square(2, 7, 4, 3, 1), ValueId::INPUT);
    let a = net.push(Op::Relu { max: None }, &[a], [4, 7, 7]);
    let grouped =
        Geometry { groups: 2, dilation_h: 2, pad_top: 2, pad_bottom: 2, ..square(4, 7, 4, 3, 1) };
    let b = net.conv(grouped, a);
    let sum = net.push(Op::Add, &[b, a], [4, 7, 7]);
    let c = net.push(Op::Relu { max: Some(1.5) }, &[sum], [4, 7, 7]);
    let pooled = net.push(Op::AvgPool(Window::global([7, 7])), &[c], [4, 1, 1]);
    let gate = net.conv(Geometry::dense(4, 4), pooled);
    let c = net.push(Op::Mul, &[c, gate], [4, 7, 7]);
    let strided =
        Geometry { stride_h: 2, stride_w: 2, pad_top: 0, pad_left: 0, ..square(4, 7, 6, 3, 1) };
    let d = net.conv(strided, c);
    let axes = [
        Axis { before: 1, after: 1, ..Axis::all(4) },
        Axis { stride: 2, length: 3, ..Axis::all(7) },
        Axis { stride: 2, length: 3, ..Axis::all(7) },
    ];
    let view = net.push(Op::View(View { axes }), &[c], [6, 3, 3]);
    let e = net.push(Op::Add, &[d, view], [6, 3, 3]);
    let window = |pad: usize| Window { kernel: [2; 2], stride: [1; 2], pad: [pad, 0, 0, 0] };
    let e = net.push(Op::Mul, &[e, d], [6, 3, 3]);
    let f = net.push(Op::MaxPool(window(1)), &[e], [6, 3, 2]);
    let g = net.push(Op::AvgPool(window(1)), &[f], [6, 3, 1]);
    // Twice the same beside each other, and pixels and channels exchanged.
    let twice = net.push(Op::Concat, &[g, g], [12, 3, 1]);
    let order = Order { rows: 12, columns: 3, inner: 1, shape: [3, 12, 1] };
    let turned = net.push(Op::Reorder(order), &[twice], order.shape);
    let full = Geometry { kernel_h: 12, in_h: 12, ..square(3, 1, 3, 1, 0) };
    let output = net.conv(full, turned);
    let model = Model { name: "everything".into(), input: [2, 7, 7], nodes: net.nodes, output };
    model.check().unwrap();
    model
}

/// `sum output_i^2 (i + 1)`, smooth.
fn loss(output: &[f64]) -> (f64, Vec<f64>) {
    let weighted = |(i, &v): (usize, &f64)| (i as f64 + 1.0) * v;
    let total = output.iter().enumerate().map(|(i, &v)| weighted((i, &v)) * v).sum();
    (total, output.iter().enumerate().map(|at| 2.0 * weighted(at)).collect())
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

/// Holds the gradients of a network of every kind of node against differences.
fn check_gradients(seed: u64) -> Result<(), String> {
    let model = everything(seed);
    let mut stream = Stream(seed ^ 99);
    let batch = Tensor { shape: [5, 2, 7, 7], data: stream.list(5 * 98) };
    let mut network: Network<'_, f64> = Network::of(&model);
    let (_, gradients) = network.gradients(&batch, |_, output| loss(output));
    let total = |network: &Network<'_, f64>| -> f64 {
        network.outputs(&batch).iter().map(|output| loss(output).0).sum()
    };
    for node in 0..model.nodes.len() {
        let Some(expected) = &gradients.layers[node] else { continue };
        for at in [0, expected.weight.len() / 2, expected.weight.len() - 1] {
            is_derivative(expected.weight[at], |by| {
                network.layers[node].as_mut().unwrap().weight[at] += by;
                let found = total(&network);
                network.layers[node].as_mut().unwrap().weight[at] -= by;
                found
            })
            .map_err(|error| format!("node {node} weight {at}: {error}"))?;
        }
        is_derivative(expected.bias[0], |by| {
            network.layers[node].as_mut().unwrap().bias[0] += by;
            let found = total(&network);
            network.layers[node].as_mut().unwrap().bias[0] -= by;
            found
        })
        .map_err(|error| format!("node {node} bias: {error}"))?;
    }
    Ok(())
}

/// A kink within a step, on one side.
#[test]
fn a_kink_beside_a_weight_is_no_wrong_gradient() {
    assert_eq!(check_gradients(17_692_165_319_488_361_762), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 8 } else { 64 }))]

    #[test]
    fn gradients_are_the_differences(seed in any::<u64>()) {
        prop_assert_eq!(check_gradients(seed), Ok(()));
    }

    #[test]
    fn cotangents_of_values_are_the_differences(seed in any::<u64>()) {
        let model = everything(seed);
        let mut stream = Stream(seed ^ 7);
        let image: Vec<f64> = stream.list(98).into_iter().map(f64::from).collect();
        let mut network: Network<'_, f64> = Network::of(&model);
        let tape = network.forward(&image);
        let (_, output) = loss(tape.value(model.output));
        let mut seen = vec![Vec::new(); model.nodes.len() + 1];
        network.backward(&tape, output, &mut network.zeros(), |id, cotangent| {
            seen[id.0] = cotangent.to_vec()
        });
        for (value, cotangent) in seen.iter().enumerate() {
            let at = (seed % cotangent.len() as u64) as usize;
            let agrees = is_derivative(cotangent[at], |by| {
                let mut added = vec![0.0; cotangent.len()];
                added[at] = by;
                network.changes[value] = Change::Add(added);
                loss(network.forward(&image).value(model.output)).0
            });
            network.changes[value] = Change::None;
            prop_assert!(agrees.is_ok(), "value {value}: {agrees:?}");
        }
    }

    // Between roundings the rounded value is `q s` with `q` fixed, so its derivative by `s` is `q`;
    // the estimator adds `-v/s`, the pass-through part: together they are the derivative of `q s -
    // v` by `s`, plus `v` moved along.
    #[test]
    fn the_gradient_of_a_step_is_that_of_learned_step_sizes(
        values in prop::collection::vec(-9.0f64..9.0, 1..20),
        scale in 0.1f64..2.0,
    ) {
        let rounding = Rounding { scale, low: -4.0, high: 3.0 };
        let mut cotangent = vec![1.0; values.len()];
        let found = rounding.backward(&values, &mut cotangent);
        let mut expected = 0.0;
        for (value, cotangent) in values.iter().zip(cotangent) {
            let integer = rounding.apply(*value) / scale;
            let inside = (-4.5..3.5).contains(&(value / scale));
            prop_assert_eq!(cotangent, f64::from(u8::from(inside)));
            expected += if inside { integer - value / scale } else { integer };
        }
        prop_assert!((found - expected * scale * std::f64::consts::LN_2).abs() < 1e-9);
    }
}

#[test]
fn single_precision_agrees_and_cores_do_not_matter() {
    let model = everything(3);
    let batch = Tensor { shape: [9, 2, 7, 7], data: Stream(4).list(9 * 98) };
    let (_, wide) = Network::<f64>::of(&model).gradients(&batch, |_, output| loss(output));
    let narrow = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let single = |_: usize, output: &[f32]| {
                let output: Vec<f64> = output.iter().map(|&v| f64::from(v)).collect();
                let (total, gradient) = loss(&output);
                (total, gradient.into_iter().map(|v| v as f32).collect())
            };
            Network::<f32>::of(&model).gradients(&batch, single).1
        })
    };
    let (one, three) = (narrow(1), narrow(3));
    for ((a, b), c) in one.layers.iter().zip(&three.layers).zip(&wide.layers) {
        assert_eq!(a, b);
        let (Some(a), Some(c)) = (a, c) else { continue };
        let size = c.weight.iter().fold(0.0f64, |most, v| v.abs().max(most));
        for (a, c) in a.weight.iter().zip(&c.weight) {
            assert!((f64::from(*a) - c).abs() < 1e-4 * size);
        }
    }
}
