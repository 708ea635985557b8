//! Reconstruction: weights, biases and scales that were rounded layer by layer are adjusted so that
//! the quantized network as a whole says what the float network says. It needs images, no labels.
//!
//! What is learned are the integers of the weights (as real numbers, rounded in every step; the
//! estimator passes gradients straight through: Hubara et al., AdaQuant, ICML 2021), the biases,
//! and one mantissa for every group of scales, which is where activations are cut off (Esser et
//! al., LSQ, ICLR 2020). Powers of two stay as they are, so that every rescaling stays a shift.

use model::float::FloatError;
use model::softmax::softmax;
use model::{Model, Tensor};
use rayon::prelude::*;

use super::activation_quantizers::{ActivationQuantizers, Target};
use super::adam::{Adam, Schedule};
use super::round::{QuantizedWeights, limits as weight_limits};
use super::scales::Scales;
use super::sequential::rounding;
use super::{BitWidths, conv};
use crate::gradient::{Change, Gradients, Network, Parameters, Rounding};

/// How much is learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reconstruction {
    /// Steps of the descent.
    pub steps: usize,
    /// What the order of images is drawn from.
    pub seed: u64,
}

/// What reconstruction starts from.
pub(super) struct Start<'a> {
    pub model: &'a Model,
    pub activations: &'a ActivationQuantizers,
    pub bit_widths: &'a BitWidths,
    pub scales: Scales,
    pub rounded: Vec<QuantizedWeights>,
    /// Groups of scales that must stay: those of pixels and of ReLUs that are cut off.
    pub fixed: Vec<bool>,
}

/// Images of a step.
const BATCH: usize = 32;

/// What is learned.
struct Learned {
    /// By layer: the integers, before they are rounded.
    weights: Vec<Vec<f32>>,
    /// By layer.
    biases: Vec<Vec<f32>>,
    /// By group: the base-two logarithm of what its scales have been multiplied by.
    mantissas: Vec<f32>,
}

impl Start<'_> {
    /// Learns for some steps.
    pub(super) fn run(
        self,
        batch: &Tensor,
        options: &Reconstruction,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(Scales, Vec<QuantizedWeights>), FloatError> {
        let mut learned = self.learned();
        let reference = model::float::evaluate(self.model, batch)?;
        let reference: Vec<Vec<f32>> =
            (0..batch.images()).map(|image| softmax(reference.image(image))).collect();
        let mut order = Order::new(batch.images(), options.seed);
        let mut optimizers = Optimizers::new(&learned);
        for step in 0..options.steps {
            progress(step, options.steps);
            let images = order.next(BATCH.min(batch.images()));
            let network = self.network(&learned);
            let part = gather(batch, &images);
            // `image` counts within the step; `images[image]` is the index in the batch.
            let (_, gradients) = network
                .gradients(&part, |image, output| divergence(&reference[images[image]], output));
            let schedule = Schedule { step, of: options.steps };
            self.update(&mut learned, &network, &gradients, &mut optimizers, &schedule);
        }
        Ok(self.finish(&learned))
    }

    fn learned(&self) -> Learned {
        Learned {
            weights: self
                .rounded
                .iter()
                .enumerate()
                .map(|(layer, rounded)| {
                    let weight = &conv(self.model, self.activations.layers[layer].node).weight;
                    let fan_in = weight.len() / rounded.exponents.len();
                    let mut latent = Vec::with_capacity(weight.len());
                    for (at, (&w, &q)) in weight.iter().zip(&rounded.weights).enumerate() {
                        let exponent = f64::from(rounded.exponents[at / fan_in]);
                        let scale = (rounded.log_scale - exponent).exp2() as f32;
                        // Near its integer: the rounding found before is where the descent starts.
                        latent.push(f32::from(q) + (w / scale - f32::from(q)).clamp(-NEAR, NEAR));
                    }
                    latent
                })
                .collect(),
            biases: self
                .rounded
                .iter()
                .map(|r| r.bias.iter().map(|&b| b as f32).collect())
                .collect(),
            mantissas: vec![0.0; self.activations.groups],
        }
    }

    /// The base-two logarithm of a layer's scale.
    fn layer_scale(&self, learned: &Learned, layer: usize) -> f64 {
        let activation = &self.activations.layers[layer];
        // `s_w = s_y / s_x` up to powers of two: a layer's scale moves with its target's group and
        // against its input's. Where both are one group it stays.
        let moved = learned.mantissas[activation.target_group]
            - learned.mantissas[self.activations.quantizers[activation.input].group];
        self.rounded[layer].log_scale + f64::from(moved)
    }

    fn activation_scale(&self, learned: &Learned, activation: usize) -> f64 {
        self.scales.activations[activation]
            + f64::from(learned.mantissas[self.activations.quantizers[activation].group])
    }

    /// The quantized network.
    fn network(&self, learned: &Learned) -> Network<'_, f32> {
        let mut network = Network::of(self.model);
        let layers: Vec<Parameters<f32>> = (0..self.rounded.len())
            .into_par_iter()
            .map(|layer| {
                let rounded = self.integers(learned, layer);
                let log_scale = self.layer_scale(learned, layer);
                let exponents = &self.rounded[layer].exponents;
                let fan_in = rounded.len() / exponents.len();
                let channels = rounded.chunks_exact(fan_in).zip(exponents);
                let weight = channels.flat_map(|(row, &exponent)| {
                    let scale = (log_scale - f64::from(exponent)).exp2() as f32;
                    row.iter().map(move |q| q * scale)
                });
                Parameters { weight: weight.collect(), bias: learned.biases[layer].clone() }
            })
            .collect();
        for (layer, parameters) in self.activations.layers.iter().zip(layers) {
            network.layers[layer.node] = Some(parameters);
        }
        for id in 0..self.activations.quantizers.len() {
            let rounding = rounding(&self.scales, self.bit_widths, id);
            let scale = self.activation_scale(learned, id).exp2() as f32;
            for value in self.activations.members(id) {
                network.changes[value.0] = Change::Round(Rounding { scale, ..rounding });
            }
        }
        network
    }

    fn integers(&self, learned: &Learned, layer: usize) -> Vec<f32> {
        let (low, high) = weight_limits(self.bit_widths.weight_bits[layer]);
        let (low, high) = (low as f32, high as f32);
        learned.weights[layer].iter().map(|v| v.round().clamp(low, high)).collect()
    }

    fn update(
        &self,
        learned: &mut Learned,
        network: &Network<'_, f32>,
        gradients: &Gradients<f32>,
        optimizers: &mut Optimizers,
        schedule: &Schedule,
    ) {
        let mut mantissas = vec![0.0f32; learned.mantissas.len()];
        for (layer, activation) in self.activations.layers.iter().enumerate() {
            let (Some(gradient), Some(parameters)) =
                (&gradients.layers[activation.node], &network.layers[activation.node])
            else {
                continue;
            };
            // The derivative by the base-two logarithm of the layer's scale: `w = q s` with `q`
            // fixed, so `sum g dw/dlog2(s) = ln 2 sum g w`.
            let along: f32 =
                gradient.weight.iter().zip(&parameters.weight).map(|(g, w)| g * w).sum();
            let along = along * std::f32::consts::LN_2;
            mantissas[activation.target_group] += along;
            mantissas[self.activations.quantizers[activation.input].group] -= along;
            let (low, high) = weight_limits(self.bit_widths.weight_bits[layer]);
            // Latent weights stay within what rounds to the ends: further out, gradients that point
            // back would take many steps to show.
            let (low, high) = (low as f32 - 0.49, high as f32 + 0.49);
            let scales = &self.rounded[layer].exponents;
            let fan_in = gradient.weight.len() / scales.len();
            // A step of a channel's integers is a step of its scale.
            optimizers.weights[layer].step(
                &mut learned.weights[layer],
                |at: usize| gradient.weight[at] * (-scales[at / fan_in] as f32).exp2(),
                schedule.rate(WEIGHT_RATE),
            );
            learned.weights[layer].iter_mut().for_each(|v| *v = v.clamp(low, high));
            // Biases are real numbers; a useful step is a part of a step of the activation
            // quantizer that they are rounded to.
            let unit = match activation.target {
                Target::Quantizer(activation) => self.scales.activations[activation].exp2() as f32,
                Target::Logits => 1.0,
            };
            let rate = schedule.rate(BIAS_RATE) * unit;
            optimizers.biases[layer].step(&mut learned.biases[layer], |at| gradient.bias[at], rate);
        }
        for (id, activation) in self.activations.quantizers.iter().enumerate() {
            // The activation quantizers' own part: the derivative by where values are rounded and
            // cut off.
            let parts = self.activations.members(id).map(|value| gradients.scales[value.0]);
            mantissas[activation.group] += parts.sum::<f32>();
        }
        for (gradient, &fixed) in mantissas.iter_mut().zip(&self.fixed) {
            // Adam does not move what never had a gradient.
            if fixed {
                *gradient = 0.0;
            }
        }
        let rate = schedule.rate(MANTISSA_RATE);
        optimizers.mantissas.step(&mut learned.mantissas, |at| mantissas[at], rate);
    }

    fn finish(&self, learned: &Learned) -> (Scales, Vec<QuantizedWeights>) {
        let layers = 0..self.rounded.len();
        let scales = Scales {
            activations: (0..self.activations.quantizers.len())
                .map(|activation| self.activation_scale(learned, activation))
                .collect(),
            lows: self.scales.lows.clone(),
            layers: layers.clone().map(|layer| self.layer_scale(learned, layer)).collect(),
            below: self.scales.below.clone(),
        };
        let rounded = layers
            .map(|layer| QuantizedWeights {
                weights: self.integers(learned, layer).iter().map(|&q| q as i8).collect(),
                exponents: self.rounded[layer].exponents.clone(),
                log_scale: self.layer_scale(learned, layer),
                bias: learned.biases[layer].iter().map(|&b| f64::from(b)).collect(),
            })
            .collect();
        (scales, rounded)
    }
}

/// How far from its integer a weight may start.
const NEAR: f32 = 0.45;
/// Steps' sizes: of weights in integers, of biases in steps of what they are rounded to, of
/// mantissas in octaves.
const WEIGHT_RATE: f32 = 0.003;
const BIAS_RATE: f32 = 0.005;
const MANTISSA_RATE: f32 = 0.002;

/// One optimizer for each thing that is learned.
struct Optimizers {
    weights: Vec<Adam>,
    biases: Vec<Adam>,
    mantissas: Adam,
}

impl Optimizers {
    fn new(learned: &Learned) -> Self {
        Self {
            weights: learned.weights.iter().map(|list| Adam::new(list.len())).collect(),
            biases: learned.biases.iter().map(|list| Adam::new(list.len())).collect(),
            mantissas: Adam::new(learned.mantissas.len()),
        }
    }
}

/// Passes over all images, each in another order.
struct Order {
    images: Vec<usize>,
    at: usize,
    state: u64,
}

impl Order {
    fn new(images: usize, seed: u64) -> Self {
        Self { images: (0..images).collect(), at: images, state: seed ^ 0x9e37_79b9_7f4a_7c15 }
    }

    fn next(&mut self, count: usize) -> Vec<usize> {
        // Of 100 images in steps of 32, the last 4 of a pass are left out, others each time.
        if self.at + count > self.images.len() {
            for last in (1..self.images.len()).rev() {
                let other = (self.draw() % (last as u64 + 1)) as usize;
                self.images.swap(last, other);
            }
            self.at = 0;
        }
        self.at += count;
        self.images[self.at - count..self.at].to_vec()
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn gather(batch: &Tensor, images: &[usize]) -> Tensor {
    let [_, c, h, w] = batch.shape;
    let data = images.iter().flat_map(|&image| batch.image(image).iter().copied()).collect();
    Tensor { shape: [images.len(), c, h, w], data }
}

/// The divergence of the classes' probabilities from those of reference, in nats, and its gradient
/// by the logits.
fn divergence(reference: &[f32], logits: &[f32]) -> (f64, Vec<f32>) {
    let found = softmax(logits);
    let nats = reference.iter().zip(&found).map(|(&p, &q)| {
        if p > 0.0 { f64::from(p) * (f64::from(p) / f64::from(q).max(1e-30)).ln() } else { 0.0 }
    });
    (nats.sum(), found.iter().zip(reference).map(|(q, p)| q - p).collect())
}
