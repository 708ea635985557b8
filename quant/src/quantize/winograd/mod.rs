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

mod options;
mod rebuilt;
mod reference;
mod transformed;

use fusion::{Graph, Kernel, Linear, Op};
use model::{Model, Tensor};
use protocols::linear::winograd::{self, POSITIONS};
use protocols::weights::Weights;

use super::QuantizeError;
use options::Which;
pub use options::Winograd;
use reference::FloatReference;
use transformed::Transformed;
pub(crate) use transformed::{by_position, transform};

/// An integer network with its weights.
type Network = (Graph, Weights);

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

#[cfg(test)]
mod tests {
    use fusion::eval;
    use model::float::evaluate;
    use model::{Conv, Node, Op as ModelOp, Preprocess, ValueId};
    use protocols::linear::Geometry;

    use super::reference::integers;
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
