//! Second-order measures: what an error `d` of weights or values costs is `1/2 d^T H d`, with `H`
//! the Hessian of the divergence. At the float network the divergence and its gradient are zero,
//! and `H` is the Fisher information.

use model::softmax::softmax;
use model::{Model, Tensor, ValueId};
use rayon::prelude::*;

use super::{Sensitivity, WIDTHS};
use crate::gradient::{Change, Gradients, Network, Rounding, Tape};
use crate::quantize::{ActivationQuantizers, Quantizer};

/// Images that one core sums in order.
const TOGETHER: usize = 4;
/// Images between two reports of progress.
const TOLD: usize = 32;
/// Random directions in which the Hessian is probed.
pub(super) const PROBES: usize = 4;
/// How far the network is moved along a direction, of the root mean square of what is moved.
const STEP: f32 = 0.01;

/// What one backward pass of one image leaves.
struct Pass<'a> {
    tape: &'a Tape<f32>,
    gradients: &'a Gradients<f32>,
    /// By activation quantizer.
    cotangents: &'a [Vec<f32>],
}

/// One backward pass prices every layer and width: with `u` random and `E[u u^T] = diag(p) - p
/// p^T`, the Fisher information of the logits, `(d^T J^T u)^2 / 2` is an unbiased estimate of `1/2
/// d^T H d` for every error `d` at once.
pub(super) fn fisher(
    model: &Model,
    quantizer: &Quantizer<'_>,
    batch: &Tensor,
    tick: &mut dyn FnMut(usize),
) -> Sensitivity {
    let activations = quantizer.activations();
    let network = Network::of(model);
    let errors = weight_errors(model, quantizer);
    let roundings = activation_roundings(quantizer);
    let total = each_image(
        &network,
        activations,
        batch,
        &|image, logits| random_cotangent(image as u64, logits),
        &|pass| fisher_prices(activations, pass, &errors, &roundings),
        tick,
    );
    split(activations, &total)
}

/// A random `u` with `E[u u^T] = diag(p) - p p^T`.
fn random_cotangent(seed: u64, logits: &[f32]) -> Vec<f32> {
    let p = softmax(logits);
    // With `r = sqrt(p) s` for random signs `s`, `E[r r^T] = diag(p)`. Then `u = r - p (1^T r)`
    // has `E[u u^T] = diag(p) - p p^T`, for `1^T p = 1`. For two classes of 1/2, `u` is zero half
    // of the time, else `(1, -1) / sqrt(2)` up to sign.
    let mut signs = Signs::new(seed);
    let roots: Vec<f32> = p.iter().map(|p| p.sqrt() * signs.next()).collect();
    let along: f32 = roots.iter().sum();
    p.iter().zip(roots).map(|(p, r)| r - p * along).collect()
}

/// What one image's pass says of every error, in the order of `split`: layers, then activation
/// quantizers, the widths of each from 2 on.
fn fisher_prices(
    activations: &ActivationQuantizers,
    pass: &Pass<'_>,
    errors: &[Vec<(Vec<f32>, Vec<f32>)>],
    roundings: &[Vec<Rounding<f32>>],
) -> Vec<f64> {
    let mut prices = Vec::new();
    for (layer, errors) in activations.layers.iter().zip(errors) {
        let Some(gradient) = &pass.gradients.layers[layer.node] else { continue };
        for (weight, bias) in errors {
            prices.push((dot(&gradient.weight, weight) + dot(&gradient.bias, bias)).powi(2) / 2.0);
        }
    }
    for (id, activation) in activations.quantizers.iter().enumerate() {
        let value = pass.tape.value(activation.value);
        for rounding in &roundings[id] {
            let moved = value.iter().zip(&pass.cotangents[id]);
            let moved: f64 =
                moved.map(|(&v, &g)| f64::from(g) * f64::from(rounding.apply(v) - v)).sum();
            prices.push(moved.powi(2) / 2.0);
        }
    }
    prices
}

/// The mean of the Hessian's diagonal, by Hutchinson's estimate `E[v^T H v] / n` for random signs
/// `v`, times the squared error of rounding (Dong et al.: HAWQ-V2, NeurIPS 2020). `H v` is a
/// difference of gradients.
pub(super) fn hessian(
    model: &Model,
    quantizer: &Quantizer<'_>,
    batch: &Tensor,
    tick: &mut dyn FnMut(usize),
) -> Sensitivity {
    let activations = quantizer.activations();
    let float: Network<'_, f32> = Network::of(model);
    let reference: Vec<Vec<f32>> =
        float.outputs(batch).iter().map(|logits| softmax(logits)).collect();
    let sizes = Sizes::of(&float, quantizer, batch);
    let mut traces = vec![0.0; activations.layers.len() + activations.quantizers.len()];
    for probe in 0..PROBES as u64 {
        // Everything moves at once along one random direction. `v_a^T H_ab v_b` of different layers
        // and activation quantizers has mean zero, for their signs are independent: each one's part
        // `g_a . v_a` is its own trace on average. The difference is central, so that third
        // derivatives cancel.
        for side in [1.0f32, -1.0] {
            let direction = Direction::new(&float, activations, &sizes, probe);
            let moved = direction.moved(&float, activations, side * STEP);
            let sums = each_image(
                &moved,
                activations,
                batch,
                &|image, logits| difference(&softmax(logits), &reference[image]),
                &|pass| direction.along(activations, pass),
                tick,
            );
            for (trace, sum) in traces.iter_mut().zip(sums) {
                *trace += f64::from(side) * sum / f64::from(2.0 * STEP) / PROBES as f64;
            }
        }
    }
    // Per element and unit of square: the direction's elements have the root mean square of what
    // they move.
    let errors = weight_errors(model, quantizer);
    let mut prices = Vec::new();
    for (layer, errors) in errors.iter().enumerate() {
        let curvature = sizes.mean_curvature(layer, traces[layer]);
        let squares = errors.iter().map(|(weight, _)| dot(weight, weight));
        prices.extend(squares.map(|square| curvature * square / 2.0));
    }
    let activation_errors = activation_errors(&float, quantizer, batch, tick);
    for activation in 0..activations.quantizers.len() {
        let at = activations.layers.len() + activation;
        // The trace was summed over the images, and so were the errors: their product counts the
        // images twice.
        let curvature = sizes.mean_curvature(at, traces[at]) / batch.images() as f64;
        let widths = WIDTHS.count();
        prices.extend(
            activation_errors[activation * widths..][..widths]
                .iter()
                .map(|square| curvature * square / 2.0),
        );
    }
    split(activations, &prices)
}

/// By layer, then width: the errors of weights and biases.
fn weight_errors(model: &Model, quantizer: &Quantizer<'_>) -> Vec<Vec<(Vec<f32>, Vec<f32>)>> {
    let network: Network<'_, f32> = Network::of(model);
    let mut errors = Vec::new();
    for (at, layer) in quantizer.activations().layers.iter().enumerate() {
        let exact = network.layers[layer.node].as_ref().expect("invariant: a layer has parameters");
        let by_width = WIDTHS.map(|bits| {
            let (weight, bias) = quantizer.rounded_weights(at, bits);
            (difference(&weight, &exact.weight), difference(&bias, &exact.bias))
        });
        errors.push(by_width.collect());
    }
    errors
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// By activation quantizer, then width.
fn activation_roundings(quantizer: &Quantizer<'_>) -> Vec<Vec<Rounding<f32>>> {
    (0..quantizer.activations().quantizers.len())
        .into_par_iter()
        .map(|activation| {
            WIDTHS.map(|bits| quantizer.activation_rounding(activation, bits)).collect()
        })
        .collect()
}

/// By activation quantizer, then width: the sum over images of the squared error.
fn activation_errors(
    network: &Network<'_, f32>,
    quantizer: &Quantizer<'_>,
    batch: &Tensor,
    tick: &mut dyn FnMut(usize),
) -> Vec<f64> {
    let activations = quantizer.activations();
    let roundings = activation_roundings(quantizer);
    sum_over_images(
        batch,
        &|image| {
            let tape = network.forward(batch.image(image));
            let mut sums = Vec::new();
            for (id, activation) in activations.quantizers.iter().enumerate() {
                for rounding in &roundings[id] {
                    let values = tape.value(activation.value).iter();
                    let squares = values.map(|&v| f64::from(rounding.apply(v) - v).powi(2));
                    sums.push(squares.sum::<f64>());
                }
            }
            sums
        },
        tick,
    )
}

/// Sums what `read` makes of every image's backward pass from the cotangents `output`.
fn each_image(
    network: &Network<'_, f32>,
    activations: &ActivationQuantizers,
    batch: &Tensor,
    output: &(impl Fn(usize, &[f32]) -> Vec<f32> + Sync),
    read: &(impl Fn(&Pass<'_>) -> Vec<f64> + Sync),
    tick: &mut dyn FnMut(usize),
) -> Vec<f64> {
    sum_over_images(
        batch,
        &|image| {
            let tape = network.forward(batch.image(image));
            let cotangent = output(image, tape.value(network.model().output));
            let mut gradients = network.zeros();
            let mut cotangents = vec![Vec::new(); activations.quantizers.len()];
            network.backward(&tape, cotangent, &mut gradients, |id: ValueId, cotangent| {
                if let Some(activation) = activations.activation(id) {
                    cotangents[activation] = cotangent.to_vec();
                }
            });
            read(&Pass { tape: &tape, gradients: &gradients, cotangents: &cotangents })
        },
        tick,
    )
}

fn sum_over_images(
    batch: &Tensor,
    one: &(impl Fn(usize) -> Vec<f64> + Sync),
    tick: &mut dyn FnMut(usize),
) -> Vec<f64> {
    // Parts have a fixed length and are added in their order: the sum does not depend on the number
    // of cores.
    let images: Vec<usize> = (0..batch.images()).collect();
    images.chunks(TOLD).fold(Vec::new(), |sum, some| {
        let parts: Vec<Vec<f64>> = some
            .par_chunks(TOGETHER)
            .map(|images| images.iter().map(|&image| one(image)).fold(Vec::new(), add))
            .collect();
        tick(some.len());
        parts.into_iter().fold(sum, add)
    })
}

/// The sum of two lists, the first one of which may be empty still.
fn add(mut sum: Vec<f64>, more: Vec<f64>) -> Vec<f64> {
    if sum.is_empty() {
        return more;
    }
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    sum
}

/// Prices in the order layers, activation quantizers, and widths within.
fn split(activations: &ActivationQuantizers, prices: &[f64]) -> Sensitivity {
    let mut lists = prices.chunks_exact(WIDTHS.count()).map(<[f64]>::to_vec);
    Sensitivity {
        weights: lists.by_ref().take(activations.layers.len()).collect(),
        activations: lists.collect(),
    }
}

/// Root mean squares and numbers of elements: of layers, then of activation quantizers.
struct Sizes(Vec<(f32, usize)>);

impl Sizes {
    fn of(network: &Network<'_, f32>, quantizer: &Quantizer<'_>, batch: &Tensor) -> Self {
        let activations = quantizer.activations();
        let layers = activations.layers.iter().map(|layer| {
            network.layers[layer.node].as_ref().map_or((1.0, 1), |layer| size(&layer.weight))
        });
        // One image is enough: the size only says how far a difference steps, and is divided out
        // again by `mean_curvature`.
        let tape = network.forward(batch.image(0));
        let values =
            activations.quantizers.iter().map(|activation| size(tape.value(activation.value)));
        Self(layers.chain(values).collect())
    }

    /// The mean of the diagonal, from the trace in units of the root mean square.
    fn mean_curvature(&self, at: usize, trace: f64) -> f64 {
        // The direction is `size` times signs, so the sum found is `size^2` times the trace. `H` is
        // positive semidefinite at the float network: a negative mean is noise.
        let (size, count) = self.0[at];
        (trace / f64::from(size).powi(2) / count as f64).max(0.0)
    }
}

/// The root mean square of some elements, and their number.
fn size(values: &[f32]) -> (f32, usize) {
    let square = dot(values, values) / values.len().max(1) as f64;
    (square.sqrt().max(1e-12) as f32, values.len())
}

/// Random signs for everything, times the size of what they move.
struct Direction {
    layers: Vec<Vec<f32>>,
    activations: Vec<Vec<f32>>,
}

impl Direction {
    fn new(
        network: &Network<'_, f32>,
        activations: &ActivationQuantizers,
        sizes: &Sizes,
        probe: u64,
    ) -> Self {
        // Both sides of a difference draw the same signs: the seed is the probe's.
        let mut signs = Signs::new(probe ^ 0x5851_f42d_4c95_7f2d);
        let mut lists =
            sizes.0.iter().map(|&(size, count)| (0..count).map(|_| size * signs.next()).collect());
        let layers = lists.by_ref().take(activations.layers.len()).collect();
        debug_assert_eq!(network.layers.iter().flatten().count(), activations.layers.len());
        Self { layers, activations: lists.collect() }
    }

    fn moved<'a>(
        &self,
        network: &Network<'a, f32>,
        activations: &ActivationQuantizers,
        by: f32,
    ) -> Network<'a, f32> {
        let mut moved = network.clone();
        for (layer, direction) in activations.layers.iter().zip(&self.layers) {
            if let Some(parameters) = &mut moved.layers[layer.node] {
                parameters.weight.iter_mut().zip(direction).for_each(|(w, d)| *w += by * d);
            }
        }
        for (activation, direction) in activations.quantizers.iter().zip(&self.activations) {
            moved.changes[activation.value.0] =
                Change::Add(direction.iter().map(|d| by * d).collect());
        }
        moved
    }

    /// The gradient along the direction: by layer, then by activation quantizer.
    fn along(&self, activations: &ActivationQuantizers, pass: &Pass<'_>) -> Vec<f64> {
        let layers = activations.layers.iter().zip(&self.layers).map(|(layer, direction)| {
            pass.gradients.layers[layer.node].as_ref().map_or(0.0, |g| dot(&g.weight, direction))
        });
        layers
            .chain(pass.cotangents.iter().zip(&self.activations).map(|(g, d)| dot(g, d)))
            .collect()
    }
}

/// A stream of random signs (SplitMix64).
struct Signs(u64);

impl Signs {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        if (z >> 63) == 0 { 1.0 } else { -1.0 }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
