//! From convolutions to requantized Winograd: weights rounded after their transform
//! (`protocols::linear::winograd`), layer by layer, in an integer network that is quantized
//! already.
//!
//! The float weights `U = G g G^T` of an output channel weigh the features `V = B^T d B` of a tile,
//! summed as `A^T . A` says: output `o` of a tile weighs position `p` by `a_o[p]` of -1, 0 or 1.
//! Its output moves by `sum a_o[p] d[p, c] V[p, c]` when `U` moves by `d`: the same least squares
//! as for the convolution itself, of sixteen times as many rows as input channels, with `H =
//! E[sum_o a_o a_o^T] .* (V V^T)`. So rounding is that of [`super::round`], with an exponent for
//! each channel and position. Inputs are those that the integer network has, with all layers before
//! rounded. (Bit re-weighting by position: PrivQuant.)

use fusion::{Evaluator, Graph, Kernel, Linear, Op, WireId};
use model::data::integer;
use model::float::evaluate;
use model::softmax::softmax;
use model::{Conv, Model, Op as ModelOp, Tensor, ValueId};
use protocols::linear::Geometry;
use protocols::linear::winograd::{self, POSITIONS};
use protocols::weights::{LayerWeights, Weights};
use rayon::prelude::*;

use super::QuantizeError;
use super::calibrate::{Moments, first_images};
use super::least_squares::{Cross, least_squares};
use super::round::WeightQuantizer;
use crate::gradient::Network as Differentiable;

/// Which layers are requantized, and to what width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Winograd {
    /// Which layers.
    pub which: Which,
    /// Bits of `U` beyond those of the layer's weights; 8 bits are the most.
    pub wider: u8,
}

/// Which layers are requantized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// None: the integers of the network are those of its convolutions, whichever way they are
    /// computed.
    #[default]
    Exact,
    /// Those where the measured loss is no worse.
    Auto,
    /// All that there is something to win for.
    Always,
}

impl std::str::FromStr for Winograd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (which, wider) = text.split_once('+').unwrap_or((text, "0"));
        let which = match which {
            "exact" if wider == "0" => Some(Which::Exact),
            "auto" => Some(Which::Auto),
            "always" => Some(Which::Always),
            _ => None,
        };
        let wider = wider.parse().ok().filter(|wider| *wider <= 6);
        which.zip(wider).map(|(which, wider)| Self { which, wider }).ok_or_else(|| {
            format!("exact, auto or always, the latter two also with +1 to +6; found {text:?}")
        })
    }
}

/// An integer network with its weights.
type Network = (Graph, Weights);

/// Images that moments are taken of.
const MOMENT_IMAGES: usize = 1024;
/// Images that losses are measured on.
const LOSS_IMAGES: usize = 256;
/// Rounds layers anew as `wanted` says; `images` are preprocessed.
///
/// # Errors
/// The images do not fit, or accumulators leave 60 bits.
pub fn requantize(
    model: &Model,
    network: Network,
    images: &Tensor,
    wanted: Winograd,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Network, QuantizeError> {
    if wanted.which == Which::Exact {
        return Ok(network);
    }
    let reference = FloatReference::new(model, images)?;
    let (mut current, mut loss) = (network, f64::INFINITY);
    if wanted.which == Which::Auto {
        loss = reference.loss(&current)?;
    }
    let count = current.0.nodes().len();
    // Node ids stay: a layer is replaced in its place. Each one is fitted to the inputs that those
    // replaced before it give.
    for id in 0..count {
        progress(id, count);
        let name = current.0.node(id).name.clone();
        let conv = model.layers().find(|(index, _)| model.nodes[*index].name == name);
        let Op::Linear(linear) = &current.0.node(id).op else { continue };
        let Some((index, conv)) = conv.filter(|_| pays(linear)) else { continue };
        let moments = reference.moments(&current, id, linear, index)?;
        let linear =
            &Linear { weight_bits: (linear.weight_bits + wanted.wider).min(8), ..linear.clone() };
        let layer = Transformed::of(conv, linear, current.0.wire(linear.input).scale, &moments);
        let next = layer.put(&current, id, linear)?;
        if wanted.which == Which::Auto {
            let found = reference.loss(&next)?;
            if found > loss {
                continue;
            }
            loss = found;
        }
        current = next;
    }
    Ok(current)
}

/// Whether a layer has a Winograd form with fewer products.
fn pays(linear: &Linear) -> bool {
    // Products of a pair of channels are 16 a tile, or 9 an output. Of 4x4 outputs, 4 tiles are 64
    // against 144; of 1x1, 16 against 9.
    let g = &linear.geometry;
    linear.kernel == Kernel::Spatial
        && winograd::applies(g)
        && winograd::products(g).positions() * POSITIONS < g.positions() * 9
}

/// What losses and moments are measured with.
struct FloatReference<'a> {
    images: &'a Tensor,
    float: Differentiable<'a, f32>,
    /// The float network's probabilities, image by image.
    expected: Vec<Vec<f64>>,
}

impl<'a> FloatReference<'a> {
    fn new(model: &'a Model, images: &'a Tensor) -> Result<Self, QuantizeError> {
        if images.images() == 0 {
            return Err(QuantizeError::NoImages);
        }
        let count = images.images().min(LOSS_IMAGES);
        let logits = evaluate(model, &first_images(images, count))?;
        Ok(Self {
            images,
            float: Differentiable::of(model),
            expected: (0..count)
                .map(|n| {
                    let logits: Vec<f64> = logits.image(n).iter().map(|&v| f64::from(v)).collect();
                    softmax(&logits)
                })
                .collect(),
        })
    }

    /// The mean divergence of the integer network's probabilities from the float network's, in
    /// nats.
    fn loss(&self, (graph, weights): &Network) -> Result<f64, QuantizeError> {
        let evaluator = Evaluator::new(graph, weights)?;
        let scale = graph.wire(graph.output()).scale;
        let losses = self.expected.par_iter().enumerate().map(|(n, expected)| {
            let logits = evaluator.run(&integers(graph, self.images.image(n)))?;
            let logits: Vec<f64> = logits.iter().map(|&v| v as f64 * scale).collect();
            let found = softmax(&logits);
            let terms =
                expected.iter().zip(&found).map(|(p, q)| p * (p.max(1e-30) / q.max(1e-30)).ln());
            Ok(terms.sum::<f64>())
        });
        let losses = losses.collect::<Result<Vec<f64>, fusion::Error>>()?;
        Ok(losses.iter().sum::<f64>() / losses.len() as f64)
    }

    /// Moments of a layer's features and of what it shall make of them, by group, in real numbers.
    fn moments(
        &self,
        (graph, weights): &Network,
        id: WireId,
        linear: &Linear,
        index: usize,
    ) -> Result<Vec<Cross>, QuantizeError> {
        let g = &linear.geometry;
        let images = self.images.images().min(MOMENT_IMAGES);
        let evaluator = Evaluator::new(graph, weights)?;
        let values = (0..images).into_par_iter().map(|n| {
            // The evaluator gives `[channels][images]..`, here of one image. Features are linear in
            // the input: the scale can be multiplied in after their transform.
            let wires = evaluator.trace(&integers(graph, self.images.image(n)))?;
            let scale = graph.wire(linear.input).scale as f32;
            let features = winograd::transform_input(g, 1, &wires[linear.input]);
            let features: Vec<f32> = features.iter().map(|&v| v as f32 * scale).collect();
            let exact = self.float.forward(self.images.image(n));
            // What the layer's sum lacks otherwise, the layer makes up for.
            let target: Vec<f32> = match sum_of(self.float.model(), graph, index) {
                None => exact.value(self.float.model().nodes[index].output).to_vec(),
                Some((sum, output)) => {
                    // What the sum has from elsewhere is the sum without the layer's own part, in
                    // integers that are there already.
                    let [sum, own] = [sum, id].map(|id| {
                        wires[id].iter().map(move |&v| v as f32 * graph.wire(id).scale as f32)
                    });
                    let others = sum.zip(own).map(|(sum, own)| sum - own);
                    exact
                        .value(output)
                        .iter()
                        .zip(others)
                        .map(|(exact, others)| exact - others)
                        .collect()
                }
            };
            Ok((features, target))
        });
        let values = values.collect::<Result<Vec<(Vec<f32>, Vec<f32>)>, fusion::Error>>()?;
        let (inputs, outputs, pixels) =
            (g.in_channels / g.groups, g.out_channels / g.groups, g.positions());
        Ok((0..g.groups)
            .map(|group| {
                Cross::of(
                    [POSITIONS * inputs, outputs, pixels, images],
                    |n: usize, columns: &mut Vec<f32>| fill(g, group, &values[n].0, columns),
                    |n: usize| &values[n].1[group * outputs * pixels..][..outputs * pixels],
                )
            })
            .collect())
    }
}

/// The only sum that reads a node's output, if that is all that reads it: its wire, and its value
/// in the model.
fn sum_of(model: &Model, graph: &Graph, index: usize) -> Option<(WireId, ValueId)> {
    let [consumer] = model.consumers(model.nodes[index].output)[..] else { return None };
    let node = &model.nodes[consumer];
    let sum = graph.nodes().iter().position(|other| other.name == node.name)?;
    matches!(node.op, ModelOp::Add).then_some((sum, node.output))
}

/// An image in the integers of the network's input.
fn integers(graph: &Graph, image: &[f32]) -> Vec<i64> {
    let wire = graph.wire(graph.input());
    let range = (wire.range.lo, wire.range.hi);
    image.iter().map(|&value| integer(value, wire.scale, range)).collect()
}

/// By output of a tile and position, how the position counts: `a_o[p]`.
fn place(output: usize, position: usize) -> f32 {
    const A: [[f32; 4]; 2] = [[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, -1.0]];
    // Output `2 y + x` of a tile and position `4 row + column` of its domain: `A^T . A` weighs rows
    // and columns apart.
    A[output / 2][position / 4] * A[output % 2][position % 4]
}

/// What a group's transformed weights multiply, `[position, channel][output]`: `phi[p, c] = a_o[p]
/// V[p, c]` of the output's tile.
fn fill(g: &Geometry, group: usize, features: &[f32], columns: &mut Vec<f32>) {
    let (inputs, tiles, pixels) = (g.in_channels / g.groups, winograd::products(g), g.positions());
    columns.clear();
    columns.resize(POSITIONS * inputs * pixels, 0.0);
    // Features are `[position, channel of all groups][tile]`. Rows of `columns` are
    // `[position, channel of the group]`, the order of the transformed weights.
    for (row, column) in columns.chunks_exact_mut(pixels).enumerate() {
        let (position, channel) = (row / inputs, group * inputs + row % inputs);
        let values = &features[(position * g.in_channels + channel) * tiles.positions()..];
        for (y, line) in column.chunks_exact_mut(g.out_w()).enumerate() {
            for (x, value) in line.iter_mut().enumerate() {
                // Pixel `(y, x)` is output `(y % 2, x % 2)` of tile `(y / 2, x / 2)`.
                *value = place(y % 2 * 2 + x % 2, position) * values[y / 2 * tiles.in_w + x / 2];
            }
        }
    }
}

/// A layer of transformed weights.
struct Transformed {
    /// `[K, 16, C / groups]`.
    weights: Vec<i8>,
    /// `[K, 16]`: the weights of a channel and position have the scale `2^(log_scale - exponent)`.
    exponents: Vec<i32>,
    bias: Vec<f64>,
}

impl Transformed {
    fn of(conv: &Conv, linear: &Linear, input_scale: f64, moments: &[Cross]) -> Self {
        // Exponent zero is the scale that the layer's accumulators have now.
        let (g, log_scale) = (&linear.geometry, (linear.scale / input_scale).log2());
        let inputs = g.in_channels / g.groups;
        let rows = POSITIONS * inputs;
        // To the weight_quantizer the layer is dense: one output channel has `16 * inputs` weights,
        // position by position, so that each part of `inputs` is one position.
        let geometry =
            Geometry { groups: g.groups, ..Geometry::dense(rows * g.groups, g.out_channels) };
        let dense =
            Conv { geometry, weight: transform(&conv.weight, inputs), bias: conv.bias.clone() };
        let features: Vec<Moments> = moments.iter().map(|cross| cross.input.clone()).collect();
        let weight_quantizer = WeightQuantizer::new(features);
        let moved = least_squares(&dense, moments, &weight_quantizer);
        let (exponents, weights, bias) =
            weight_quantizer.round_parts(&moved, inputs, linear.weight_bits, log_scale);
        Self { weights, exponents, bias }
    }

    /// The network with this layer in the place of a node's, which was `old`.
    fn put(
        &self,
        (graph, weights): &Network,
        id: WireId,
        old: &Linear,
    ) -> Result<Network, QuantizeError> {
        // Accumulators are not made coarser than they were, even if all exponents are negative:
        // what reads them counts in their steps, and shifts only grow.
        let finest = self.exponents.iter().copied().max().unwrap_or(0).max(0);
        let scale = old.scale / f64::from(finest).exp2();
        let bias = self.bias.iter().map(|b| (b / scale).round() as i64).collect();
        let g = &old.geometry;
        let inputs = g.in_channels / g.groups;
        let exponents = by_position(&self.exponents, 1);
        let shifts = exponents.into_iter().map(|exponent| (finest - exponent) as u8).collect();
        let layer = LayerWeights { weights: by_position(&self.weights, inputs), bias };
        let linear = Linear { kernel: Kernel::Winograd, shifts, scale, ..old.clone() };
        rebuilt(graph, weights, id, (linear, layer, finest as u8))
    }
}

/// From `[K, 16, inputs]`, as weights are rounded, to `[16, K, inputs]`, as the products of 16
/// groups have their channels.
pub(crate) fn by_position<T: Copy>(values: &[T], inputs: usize) -> Vec<T> {
    let channels = values.len() / (POSITIONS * inputs);
    let order = (0..POSITIONS).flat_map(|p| (0..channels).map(move |k| k * POSITIONS + p));
    order.flat_map(|at| &values[at * inputs..(at + 1) * inputs]).copied().collect()
}

/// `G g G^T` of all kernels, `[out channels][16][in channels]`.
pub(crate) fn transform(weights: &[f32], inputs: usize) -> Vec<f32> {
    const G: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
    let mut transformed = Vec::with_capacity(weights.len() / 9 * POSITIONS);
    for kernels in weights.chunks_exact(9 * inputs) {
        for p in 0..POSITIONS {
            let (row, column) = (G[p / 4], G[p % 4]);
            for kernel in kernels.chunks_exact(9) {
                let taps = (0..9).map(|tap| row[tap / 3] * column[tap % 3] * kernel[tap]);
                transformed.push(taps.sum::<f32>());
            }
        }
    }
    transformed
}

/// The network with another layer at a node, whose accumulators are finer by some bits; what reads
/// them follows.
fn rebuilt(
    graph: &Graph,
    weights: &Weights,
    id: WireId,
    (linear, layer, finer): (Linear, LayerWeights, u8),
) -> Result<Network, QuantizeError> {
    let mut weights = weights.clone();
    weights.layers.insert(graph.node(id).name.clone(), layer);
    // By node: its values are `2^fineness` times as many steps as before, each as much finer. It
    // ends where a requantization shifts it out.
    let mut fineness = vec![0u8; graph.nodes().len()];
    let mut builder = Graph::builder(graph.name(), graph.preprocess().clone());
    for (at, node) in graph.nodes().iter().enumerate() {
        let finest = node.op.inputs().into_iter().map(|wire| fineness[wire]).max().unwrap_or(0);
        let mut op = if at == id { Op::Linear(linear.clone()) } else { node.op.clone() };
        fineness[at] = if at == id { finer + finest } else { finest };
        match &mut op {
            Op::Linear(linear) => {
                linear.scale /= f64::from(finest).exp2();
                let layer = weights.layers.get_mut(&node.name);
                let layer = layer
                    .ok_or_else(|| fusion::Error::MissingWeights { node: node.name.clone() })?;
                // A layer that reads finer values gives finer sums: its bias counts in these.
                layer.bias.iter_mut().for_each(|bias| *bias <<= finest);
                *linear =
                    linear.clone().bounded(&node.name, layer, builder.wire(linear.input).range)?;
            }
            Op::Add { terms } => {
                // Terms that did not become finer are shifted up to the finest.
                terms.iter_mut().for_each(|term| term.shift += finest - fineness[term.wire]);
            }
            Op::Requant { shift, .. } => {
                *shift += finest;
                fineness[at] = 0;
            }
            Op::Lookup(_) => fineness[at] = 0,
            Op::Product { input, gate } => fineness[at] = fineness[*input] + fineness[*gate],
            Op::Input { .. } | Op::Relu { .. } | Op::MaxPool { .. } | Op::SumPool { .. } => {}
            Op::View { .. } | Op::Reorder { .. } | Op::Output { .. } => {}
            // Its parts are requantized, each to one scale.
            Op::Concat { .. } => {}
        }
        builder.push(&node.name, op)?;
    }
    Ok((builder.finish()?, weights))
}

#[cfg(test)]
mod tests {
    use fusion::eval;
    use model::{Node, Preprocess};

    use super::*;
    use crate::quantize::{BitWidths, Quantizer};

    /// Two 3x3 convolutions around which the input's sum with the first skips, and a fully
    /// connected layer.
    fn model(size: usize) -> Model {
        let g = Geometry::same_size([4; 2], [size; 2], 3);
        let last = Geometry {
            in_h: size,
            in_w: size,
            kernel_h: size,
            kernel_w: size,
            ..Geometry::dense(4, 3)
        };
        let mut state = 7u64;
        let mut weights = |geometry: Geometry| {
            let mut next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
            };
            let weight = (0..geometry.weights()).map(|_| next()).collect();
            let bias = (0..geometry.out_channels).map(|_| next()).collect();
            ModelOp::Conv(Conv { geometry, weight, bias })
        };
        let ops = [
            (weights(g), vec![0]),
            (ModelOp::Relu { max: None }, vec![1]),
            (weights(g), vec![2]),
            (ModelOp::Add, vec![3, 2]),
            (ModelOp::Relu { max: None }, vec![4]),
            (weights(last), vec![5]),
        ];
        let node = |(at, (op, inputs)): (usize, (ModelOp, Vec<usize>))| Node {
            name: format!("node{at}"),
            shape: if at == 5 { [3, 1, 1] } else { [4, size, size] },
            op,
            inputs: inputs.into_iter().map(ValueId).collect(),
            output: ValueId(at + 1),
        };
        let nodes = ops.into_iter().enumerate().map(node).collect();
        Model { name: "test".into(), input: [4, size, size], nodes, output: ValueId(6) }
    }

    fn images(size: usize) -> Tensor {
        let count = 12 * 4 * size * size;
        let data =
            (0..count).map(|at| ((at * 7919 + at / 5 * 104_729) % 256) as f32 / 255.0).collect();
        Tensor { shape: [12, 4, size, size], data }
    }

    /// The mean squared error of the logits, over the mean square of the float network's.
    fn error(model: &Model, images: &Tensor, (graph, weights): &Network) -> f64 {
        let expected = evaluate(model, images).unwrap();
        let scale = graph.wire(graph.output()).scale;
        let (mut error, mut energy) = (0.0, 0.0);
        for n in 0..images.images() {
            let found = eval(graph, weights, &integers(graph, images.image(n))).unwrap();
            for (found, expected) in found.iter().zip(expected.image(n)) {
                error += (*found as f64 * scale - f64::from(*expected)).powi(2);
                energy += f64::from(*expected).powi(2);
            }
        }
        error / energy
    }

    #[test]
    fn requantized_networks_say_about_what_the_float_network_says() {
        for size in [4, 5] {
            let (model, images) = (model(size), images(size));
            model.check().unwrap();
            let quantizer =
                Quantizer::new(&model, &Preprocess::Unit, &images, crate::quantize::Ranges::Mse)
                    .unwrap();
            for (bits, most) in [(8, 1e-3), (4, 0.05)] {
                let activations = quantizer.activations();
                let (layers, activations) =
                    (activations.layers.len(), activations.quantizers.len());
                let bit_widths = BitWidths {
                    weight_bits: vec![bits; layers],
                    activation_bits: vec![8; activations],
                };
                let direct = quantizer.quantize(&bit_widths).unwrap();
                let of = |which| Winograd { which, wider: 0 };
                let found =
                    requantize(&model, direct.clone(), &images, of(Which::Always), &mut |_, _| ())
                        .unwrap();
                let count = |network: &Network| {
                    let linear =
                        |op: &Op| matches!(op, Op::Linear(Linear { kernel: Kernel::Winograd, .. }));
                    network.0.nodes().iter().filter(|node| linear(&node.op)).count()
                };
                assert_eq!((count(&direct), count(&found)), (0, 2));
                let (before, after) =
                    (error(&model, &images, &direct), error(&model, &images, &found));
                assert!(after < most, "size {size}, {bits} bits: {after}, direct {before}");
                let auto =
                    requantize(&model, direct.clone(), &images, of(Which::Auto), &mut |_, _| ())
                        .unwrap();
                let reference = FloatReference::new(&model, &images).unwrap();
                assert!(reference.loss(&auto).unwrap() <= reference.loss(&direct).unwrap());
                assert_eq!(
                    requantize(
                        &model,
                        direct.clone(),
                        &images,
                        Winograd::default(),
                        &mut |_, _| ()
                    )
                    .unwrap(),
                    direct
                );
            }
        }
    }
}
