//! Rounding in the order of the network, every layer against what the layers before it have become.
//!
//! A layer is given the quantized input `x'` and shall give the float output `y`: its weights are
//! first moved to the least squares `min E|W' x' + b' - y|^2`, held near `W` by the damping, then
//! rounded under the moments of `x'`. Where the output goes into a sum whose other term is known,
//! `y` also makes up for that term's error. (Hubara et al.: AdaQuant, ICML 2021, sections 3 and 4;
//! Frantar et al.: GPTQ, ICLR 2023; for the asymmetric objective Li et al.: GPTAQ, 2025.)

use model::float::conv::fill_columns;
use model::{Model, Op, Tensor, ValueId};
use rayon::prelude::*;

use super::accumulator_aware::{GROWTH, Room};
use super::activation_quantizers::ActivationQuantizers;
use super::calibrate::Moments;
use super::least_squares::{Cross, least_squares};
use super::round::{QuantizedWeights, WeightQuantizer};
use super::scales::Scales;
use super::{BitWidths, conv};
use crate::gradient::{Change, Network, Parameters, Rounding};

/// What rounding in sequence looks at.
pub(super) struct Sequence<'a> {
    pub model: &'a Model,
    pub activations: &'a ActivationQuantizers,
    pub bit_widths: &'a BitWidths,
    pub scales: &'a Scales,
}

/// Parts of the rounding of a layer, about as long as each other: moments, their factor, least
/// squares, rounding and narrowing.
const STAGES: usize = 5;

/// The values of all images.
type Values = Vec<Vec<f32>>;

impl Sequence<'_> {
    /// All layers, rounded.
    pub(super) fn run(
        &self,
        batch: &Tensor,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Vec<QuantizedWeights> {
        let float: Network<'_, f32> = Network::of(self.model);
        let mut network = self.network();
        let count = self.model.nodes.len() + 1;
        // Both are `[value][image]`: what the float network has, and what the network quantized so
        // far has.
        let (mut exact, mut found): (Vec<Values>, Vec<Values>) =
            (vec![Vec::new(); count], vec![Vec::new(); count]);
        exact[0] = (0..batch.images()).map(|image| batch.image(image).to_vec()).collect();
        found[0].clone_from(&exact[0]);
        change(&network.changes[0], &mut found[0]);
        let mut rounded = vec![None; self.activations.layers.len()];
        for (index, node) in self.model.nodes.iter().enumerate() {
            // Invariant: all layers before this node are rounded in `network`, so `found` holds
            // what the quantized network has up to here, activation quantizers rounded.
            exact[index + 1] = run(&float, index, &exact);
            if let Some(layer) =
                self.activations.layers.iter().position(|layer| layer.node == index)
            {
                let target = self.target(index, &exact, &found);
                let result = self.layer(layer, &found[node.inputs[0].0], &target, &mut |done| {
                    progress(index * STAGES + done, self.model.nodes.len() * STAGES)
                });
                network.layers[index] = Some(result.float());
                rounded[layer] = Some(result);
            }
            found[index + 1] = run(&network, index, &found);
            change(&network.changes[index + 1], &mut found[index + 1]);
            for input in &node.inputs {
                // Values that no later node reads go: memory is that of the widest cut, twice,
                // times images.
                let over = *input != self.model.output
                    && self.model.consumers(*input).last().is_none_or(|&last| last <= index);
                if over {
                    (exact[input.0], found[input.0]) = (Vec::new(), Vec::new());
                }
            }
        }
        rounded.into_iter().map(|layer| layer.expect("invariant: every layer is a node")).collect()
    }

    /// The float network with the activation quantizers rounded.
    fn network(&self) -> Network<'_, f32> {
        let mut network = Network::of(self.model);
        for id in 0..self.activations.quantizers.len() {
            let rounding = rounding(self.scales, self.bit_widths, id);
            for value in self.activations.members(id) {
                network.changes[value.0] = Change::Round(rounding);
            }
        }
        network
    }

    /// What a layer's output should be: the float output, and what the other term of the sum that
    /// it goes into lacks.
    fn target(&self, index: usize, exact: &[Values], found: &[Values]) -> Values {
        let output = ValueId(index + 1);
        let mut target = exact[output.0].clone();
        let consumers = self.model.consumers(output);
        // A second reader would be given the correction, too.
        let [consumer] = consumers[..] else { return target };
        let node = &self.model.nodes[consumer];
        if !matches!(node.op, Op::Add) {
            return target;
        }
        // Only a term that has been computed has an error to make up for; of two layers in one sum
        // that is the later one. For `y = a + b` with `a'` found, `b` is aimed at `b + a - a'`.
        for &other in node.inputs.iter().filter(|&&other| other.0 <= index) {
            let pairs = exact[other.0].par_iter().zip(&found[other.0]);
            target.par_iter_mut().zip(pairs).for_each(|(target, (exact, found))| {
                for (target, (exact, found)) in target.iter_mut().zip(exact.iter().zip(found)) {
                    *target += exact - found;
                }
            });
        }
        target
    }

    /// A layer, rounded; `stage` is told how many of its [`STAGES`] are done.
    fn layer(
        &self,
        layer: usize,
        input: &Values,
        target: &Values,
        stage: &mut dyn FnMut(usize),
    ) -> QuantizedWeights {
        stage(0);
        let conv = conv(self.model, self.activations.layers[layer].node);
        let (g, images) = (&conv.geometry, input.len());
        let (channels, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
        // Group by group: inputs `[channels, H, W]` and outputs `[outputs, pixels]` of a group are
        // consecutive in an image.
        let (plane, pixels) = (channels * g.in_h * g.in_w, g.positions());
        let moments = (0..g.groups).map(|group| {
            Cross::of(
                [g.fan_in(), outputs, pixels, images],
                |image: usize, columns: &mut Vec<f32>| {
                    fill_columns(g, channels, &input[image][group * plane..][..plane], columns);
                },
                |image: usize| &target[image][group * outputs * pixels..][..outputs * pixels],
            )
        });
        let moments: Vec<Cross> = moments.collect();
        stage(1);
        let inputs: Vec<Moments> = moments.iter().map(|cross| cross.input.clone()).collect();
        let weight_quantizer = WeightQuantizer::new(inputs);
        stage(2);
        let moved = least_squares(conv, &moments, &weight_quantizer);
        stage(3);
        let rounded = weight_quantizer.round(
            &moved,
            self.bit_widths.weight_bits[layer],
            self.scales.layers[layer],
        );
        stage(4);
        match Room::of(self.model, self.activations, self.scales, self.bit_widths, layer, &rounded)
        {
            Some(room) => weight_quantizer.narrowed(&moved, rounded, &room, GROWTH),
            None => rounded,
        }
    }
}

/// The rounding of an activation quantizer.
pub(super) fn rounding(
    scales: &Scales,
    bit_widths: &BitWidths,
    activation: usize,
) -> Rounding<f32> {
    let (low, high) = scales.limits(bit_widths, activation);
    Rounding {
        scale: scales.activations[activation].exp2() as f32,
        low: low as f32,
        high: high as f32,
    }
}

fn change(change: &Change<f32>, values: &mut Values) {
    values.par_iter_mut().for_each(|value| change.apply(value));
}

fn run(network: &Network<'_, f32>, index: usize, values: &[Values]) -> Values {
    let images = values[network.model().nodes[index].inputs[0].0].len();
    (0..images)
        .into_par_iter()
        .map(|image| network.node(index, |id| &values[id.0][image], &mut Vec::new()))
        .collect()
}

impl QuantizedWeights {
    /// As real numbers.
    pub(super) fn float(&self) -> Parameters<f32> {
        let fan_in = self.weights.len() / self.exponents.len().max(1);
        let channels = self.weights.chunks_exact(fan_in).zip(&self.exponents);
        let weight = channels.flat_map(|(row, &exponent)| {
            let scale = (self.log_scale - f64::from(exponent)).exp2() as f32;
            row.iter().map(move |&q| f32::from(q) * scale)
        });
        Parameters { weight: weight.collect(), bias: self.bias.iter().map(|&b| b as f32).collect() }
    }
}
