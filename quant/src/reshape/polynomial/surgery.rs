//! Networks in which a square stands for a ReLU.
//!
//! `square (x - vertex)^2 + least` is one square between two layers: the layer before makes
//! `u = f (x - vertex)`, each channel with its own f, and those behind read `u^2`, their weights
//! times `square / f^2` and `least` in their biases. So a parabola a channel takes no layer of its
//! own, and its numbers are as private as weights are. Behind a padding of zeros a channel of
//! `u^2` is zero where the parabola would be `least`; that is what is trained.
//!
//! Elsewhere, behind a sum for example, it is what it says: a square, a layer of one weight a
//! channel for it, one for x, and their sum.

use model::{Conv, Function, Geometry, Model, Node, Op, ValueId};

use super::parabola::{Parabola, Vertex};

/// What stands for a ReLU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A square between layers.
    Between {
        /// The layer whose result the ReLU alone reads.
        writer: usize,
        /// The layers that read it, themselves or pooled, where nothing else does.
        readers: Option<Vec<usize>>,
    },
    /// A square, x, and their sum.
    Sum,
}

impl Form {
    /// That of the fewest layers for a ReLU of a network.
    pub(super) fn of(model: &Model, relu: usize) -> Self {
        let input = model.nodes[relu].inputs[0];
        let writer = input.producer().filter(|&node| {
            matches!(model.nodes[node].op, Op::Conv(_)) && model.consumers(input) == [relu]
        });
        writer.map_or(Self::Sum, |writer| Self::Between { writer, readers: readers(model, relu) })
    }

    /// Layers of one weight a channel that it takes.
    pub(super) const fn layers(&self) -> usize {
        match self {
            Self::Between { readers: Some(_), .. } => 0,
            Self::Between { readers: None, .. } => 1,
            Self::Sum => 2,
        }
    }
}

/// The layers that read what a node gives, itself or pooled, where nothing else does.
pub(super) fn readers(model: &Model, node: usize) -> Option<Vec<usize>> {
    let mut readers = Vec::new();
    find_readers(model, model.nodes[node].output, &mut readers).then_some(readers)
}

/// Has layers read a line of each channel, `slope x + constant`, where they read x.
pub(super) fn through(model: &mut Model, readers: &[usize], lines: &[[f64; 2]]) {
    let slopes: Vec<f64> = lines.iter().map(|line| line[0]).collect();
    let constants: Vec<f64> = lines.iter().map(|line| line[1]).collect();
    for &reader in readers {
        let conv = layer(model, reader);
        // By the weights as they were: they are scaled behind it.
        shift(conv, &constants);
        scale(conv, Side::Inputs, &slopes);
    }
}

/// Finds the layers that read a value, itself or pooled; whether nothing else does.
fn find_readers(model: &Model, value: ValueId, found: &mut Vec<usize>) -> bool {
    let consumers = model.consumers(value);
    value != model.output
        && consumers.into_iter().all(|node| match &model.nodes[node].op {
            Op::Conv(_) => {
                found.push(node);
                true
            }
            // A maximum of squares is the square that becomes the maximum: no parabola opens
            // downwards.
            Op::MaxPool(_) | Op::AvgPool(_) => find_readers(model, model.nodes[node].output, found),
            Op::Relu { .. } | Op::PartRelu(_) | Op::Function(_) | Op::Add | Op::Mul => false,
            Op::View(_) | Op::Reorder(_) | Op::Concat => false,
        })
}

/// The network with a square between layers in the place of a ReLU, of a parabola a channel.
pub(super) fn between(
    model: &Model,
    relu: usize,
    (writer, readers): (usize, Option<&[usize]>),
    vertices: &[Vertex],
) -> Model {
    let mut changed = model.clone();
    let unit: Vec<f64> = vertices.iter().map(|vertex| 1.0 / vertex.reach).collect();
    let behind: Vec<f64> =
        vertices.iter().zip(&unit).map(|(vertex, unit)| vertex.square / (unit * unit)).collect();
    // All channels of u reach as far. How far is free: such that the weights before and behind
    // change their sizes alike, since training moves all weights alike.
    let before = ratio(layer(&mut changed, writer), Side::Outputs, &unit);
    let after = readers.map_or(1.0, |readers| {
        let ratios =
            readers.iter().map(|&node| ratio(layer(&mut changed, node), Side::Inputs, &behind));
        ratios.sum::<f64>() / readers.len().max(1) as f64
    });
    let size = if before * after > 0.0 { (after / before).cbrt() } else { 1.0 };
    let factors: Vec<f64> = unit.iter().map(|unit| size * unit).collect();
    let behind: Vec<f64> = behind.iter().map(|factor| factor / (size * size)).collect();
    let least: Vec<f64> = vertices.iter().map(|vertex| vertex.least).collect();
    let conv = layer(&mut changed, writer);
    for (bias, vertex) in conv.bias.iter_mut().zip(vertices) {
        *bias = (f64::from(*bias) - vertex.vertex) as f32;
    }
    scale(conv, Side::Outputs, &factors);
    for (bias, factor) in conv.bias.iter_mut().zip(&factors) {
        *bias = (f64::from(*bias) * factor) as f32;
    }
    let lines: Vec<[f64; 2]> =
        behind.iter().zip(&least).map(|(&slope, &constant)| [slope, constant]).collect();
    through(&mut changed, readers.unwrap_or_default(), &lines);
    let square = Node { op: Op::Function(Function::Square), ..model.nodes[relu].clone() };
    let mut nodes = vec![square];
    if readers.is_none() {
        let name = free(model, &format!("{}.scale", model.nodes[relu].name));
        nodes.push(channels(name, &nodes[0], nodes[0].output, [behind, least]));
    }
    replace(&mut changed, relu, nodes);
    changed
}

/// The network with a square, x and their sum in the place of a ReLU, of a parabola a channel.
pub(super) fn spelled_out(model: &Model, relu: usize, parabolas: &[Parabola]) -> Model {
    let mut nodes = spelled(model, relu, model.nodes[relu].output, parabolas);
    if let Some(sum) = nodes.last_mut() {
        sum.name.clone_from(&model.nodes[relu].name);
    }
    let mut changed = model.clone();
    replace(&mut changed, relu, nodes);
    changed
}

/// A square of what a ReLU reads, a layer for it, one for what is read, and their sum. The square
/// is to have the value `first`, and the others those behind it.
pub(super) fn spelled(
    model: &Model,
    relu: usize,
    first: ValueId,
    parabolas: &[Parabola],
) -> Vec<Node> {
    let node = &model.nodes[relu];
    let [square, quadratic, linear, sum] = ["square", "quadratic", "linear", "polynomial"]
        .map(|part| free(model, &format!("{}.{part}", node.name)));
    let all = parabolas.iter();
    let [squares, linears, constants] = [
        all.clone().map(|parabola| parabola.square).collect(),
        all.clone().map(|parabola| parabola.linear).collect(),
        all.map(|parabola| parabola.constant).collect(),
    ];
    let zeros = vec![0.0; parabolas.len()];
    let inputs = [1, 2].map(|behind| ValueId(first.0 + behind));
    vec![
        Node { name: square, op: Op::Function(Function::Square), ..node.clone() },
        channels(quadratic, node, first, [squares, constants]),
        channels(linear, node, node.inputs[0], [linears, zeros]),
        Node { name: sum, op: Op::Add, inputs: inputs.into(), ..node.clone() },
    ]
}

/// A layer of one weight a channel, and a bias, that reads a value of a node's shape.
pub(super) fn channels(name: String, like: &Node, input: ValueId, numbers: [Vec<f64>; 2]) -> Node {
    let [channels, in_h, in_w] = like.shape;
    let [weight, bias] =
        numbers.map(|numbers| numbers.into_iter().map(|number| number as f32).collect());
    let geometry = Geometry {
        in_channels: channels,
        out_channels: channels,
        groups: channels,
        in_h,
        in_w,
        ..Geometry::dense(1, 1)
    };
    let op = Op::Conv(Conv { geometry, weight, bias });
    Node { name, op, inputs: vec![input], output: like.output, shape: like.shape }
}

/// Puts nodes in the place of one; the last of them gives what that gave. The first has its number,
/// and the others follow.
pub(super) fn replace(model: &mut Model, at: usize, nodes: Vec<Node>) {
    let more = nodes.len() - 1;
    let values = model.nodes[at + 1..].iter_mut();
    let values = values.flat_map(|node| node.inputs.iter_mut().chain([&mut node.output]));
    // Values behind the node, and its own.
    for value in values.chain([&mut model.output]).filter(|value| value.0 > at) {
        value.0 += more;
    }
    let numbered = nodes
        .into_iter()
        .enumerate()
        .map(|(behind, node)| Node { output: ValueId(at + 1 + behind), ..node });
    model.nodes.splice(at..=at, numbered);
}

/// A name that no node has.
pub(super) fn free(model: &Model, wanted: &str) -> String {
    let mut name = wanted.to_owned();
    while model.nodes.iter().any(|node| node.name == name) {
        name.push('_');
    }
    name
}

/// The channels that something is one number of.
#[derive(Clone, Copy)]
enum Side {
    Inputs,
    Outputs,
}

/// Multiplies the weights of each channel by its factor.
fn scale(conv: &mut Conv, side: Side, factors: &[f64]) {
    let channels = Channels::of(conv, side);
    for (at, weight) in conv.weight.iter_mut().enumerate() {
        *weight = (f64::from(*weight) * factors[channels.at(at)]) as f32;
    }
}

/// Adds what a number more in every element of each input channel comes to.
fn shift(conv: &mut Conv, numbers: &[f64]) {
    let (channels, fan_in) = (Channels::of(conv, Side::Inputs), conv.fan_in());
    for (output, bias) in conv.bias.iter_mut().enumerate() {
        let weights = (output * fan_in..).zip(&conv.weight[output * fan_in..][..fan_in]);
        let more: f64 = weights.map(|(at, w)| f64::from(*w) * numbers[channels.at(at)]).sum();
        *bias = (f64::from(*bias) + more) as f32;
    }
}

/// How much larger the weights of a layer are with a factor for each channel.
fn ratio(conv: &Conv, side: Side, factors: &[f64]) -> f64 {
    let channels = Channels::of(conv, side);
    let squares = |factor: &dyn Fn(usize) -> f64| -> f64 {
        let weights = conv.weight.iter().enumerate();
        weights.map(|(at, &weight)| (f64::from(weight) * factor(at)).powi(2)).sum()
    };
    let (with, without) = (squares(&|at| factors[channels.at(at)]), squares(&|_| 1.0));
    if without > 0.0 { (with / without).sqrt() } else { 0.0 }
}

/// Whose a weight is, by its index.
struct Channels {
    side: Side,
    fan_in: usize,
    /// Weights of one input channel and output.
    kernel: usize,
    /// Input and output channels of a group.
    group: [usize; 2],
}

impl Channels {
    const fn of(conv: &Conv, side: Side) -> Self {
        let g = &conv.geometry;
        let group = [g.in_channels / g.groups, g.out_channels / g.groups];
        let kernel = g.kernel_h * g.kernel_w;
        Self { side, fan_in: group[0] * kernel, kernel, group }
    }

    /// Weights are `[outputs, inputs of the group, kernel]`.
    const fn at(&self, weight: usize) -> usize {
        let output = weight / self.fan_in;
        match self.side {
            Side::Outputs => output,
            Side::Inputs => {
                let [inputs, outputs] = self.group;
                output / outputs * inputs + weight % self.fan_in / self.kernel
            }
        }
    }
}

fn layer(model: &mut Model, node: usize) -> &mut Conv {
    let Op::Conv(conv) = &mut model.nodes[node].op else {
        unreachable!("invariant: writers and readers are layers")
    };
    conv
}
