//! What the float network says: losses against it, and moments of a layer's features with it.

use fusion::{Evaluator, Graph, Linear, WireId};
use model::data::integer;
use model::float::evaluate;
use model::softmax::softmax;
use model::{Model, Op, Tensor, ValueId};
use protocols::linear::Geometry;
use protocols::linear::winograd::{self, POSITIONS};
use rayon::prelude::*;

use super::super::QuantizeError;
use super::super::calibrate::first_images;
use super::super::least_squares::Cross;
use super::Network;
use crate::gradient::Network as Differentiable;

/// Images that moments are taken of.
const MOMENT_IMAGES: usize = 1024;
/// Images that losses are measured on.
const LOSS_IMAGES: usize = 256;

/// What losses and moments are measured with.
pub(super) struct FloatReference<'a> {
    images: &'a Tensor,
    float: Differentiable<'a, f32>,
    /// The float network's probabilities, image by image.
    expected: Vec<Vec<f64>>,
}

impl<'a> FloatReference<'a> {
    pub(super) fn new(model: &'a Model, images: &'a Tensor) -> Result<Self, QuantizeError> {
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
    pub(super) fn loss(&self, (graph, weights): &Network) -> Result<f64, QuantizeError> {
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
    pub(super) fn moments(
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
    matches!(node.op, Op::Add).then_some((sum, node.output))
}

/// An image in the integers of the network's input.
pub(super) fn integers(graph: &Graph, image: &[f32]) -> Vec<i64> {
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
