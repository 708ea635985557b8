//! The parameters of one layer: latent integers, and biases in steps of the output.

use fusion::{Interval, Kernel, Linear};
use protocols::weights::LayerWeights;
use train::{Adam, Parameters};

use super::hold::Channel;
use super::narrow::Reach;
use crate::quantize::{by_position, transform};

/// How far latents go beyond their largest and least integers, so that they can come back.
const SLACK: f32 = 0.49;
/// Rate of biases, in steps of the output.
const BIAS_RATE: f32 = 0.01;

/// The parameters of a layer.
pub(super) struct Layer {
    pub(super) name: String,
    /// The node of the network that is trained.
    pub(super) node: usize,
    /// Weights that share a shift: those of an output channel, in Winograd's domain of a position
    /// and an output channel.
    fan_in: usize,
    bits: u8,
    /// `2^shift` of each `fan_in` weights.
    factors: Vec<f32>,
    /// Steps of the accumulators in one of the output, a power of two.
    step: f32,
    pub(super) latents: Vec<f32>,
    pub(super) biases: Vec<f32>,
    /// Of latents and of biases.
    pub(super) moments: [Adam; 2],
    /// Integers times their shifts.
    products: Vec<f32>,
    /// Whether they are in Winograd's domain.
    in_domain: bool,
    /// Of the accumulators.
    pub(super) reach: Reach,
    /// What they may be, where they are held.
    room: Option<Interval>,
    offsets: Vec<f32>,
}

impl Layer {
    /// Starts from integers; `log_step` is the base-two logarithm of [`Layer::step`].
    pub(super) fn new(
        (name, node): (&str, usize),
        linear: &Linear,
        given: &LayerWeights,
        (log_step, reach): (f64, Reach),
    ) -> Self {
        let (latents, channels) = (given.weights.len(), given.bias.len());
        let factors = vec![0; linear.channels()];
        let factors = if linear.shifts.is_empty() { &factors } else { &linear.shifts };
        let step = log_step.round().max(0.0).exp2() as f32;
        Self {
            name: name.to_owned(),
            node,
            fan_in: latents / factors.len().max(1),
            bits: linear.weight_bits,
            factors: factors.iter().map(|&shift| f32::from(shift).exp2()).collect(),
            step,
            latents: given.weights.iter().map(|&weight| f32::from(weight)).collect(),
            // A division by a power of two: nothing is lost of integers up to 2^24.
            biases: given.bias.iter().map(|&bias| bias as f32 / step).collect(),
            moments: [Adam::new(latents), Adam::new(channels)],
            products: vec![0.0; latents],
            in_domain: linear.kernel == Kernel::Winograd,
            reach,
            room: None,
            offsets: vec![0.0; channels],
        }
    }

    /// Moves latents toward the float weights, `[K, C / groups, kernel rows, kernel columns]`;
    /// `scale` is the real value of one step of what is not shifted.
    pub(super) fn approach(&mut self, floats: &[f32], scale: f64) {
        let inputs = self.fan_in;
        let domain = self.in_domain.then(|| by_position(&transform(floats, inputs), inputs));
        let floats = domain.as_deref().unwrap_or(floats);
        let channels = floats.chunks(self.fan_in).zip(self.latents.chunks_mut(self.fan_in));
        for ((floats, latents), factor) in channels.zip(&self.factors) {
            let steps = (1.0 / (scale * f64::from(*factor))) as f32;
            for (latent, float) in latents.iter_mut().zip(floats) {
                let integer = *latent;
                *latent = (float * steps).max(integer - SLACK).min(integer + SLACK);
            }
        }
    }

    /// Keeps the accumulators within what they may be from now on. In Winograd's domain they are
    /// sums over positions, and not held.
    pub(super) fn hold(&mut self, room: Interval) {
        self.room = (!self.in_domain).then_some(room);
    }

    /// The least and the largest integer of the weights.
    fn limits(&self) -> [f32; 2] {
        // Two's complement: of 3 bits, -4 to 3.
        let half = f32::from(self.bits - 1).exp2();
        [-half, half - 1.0]
    }

    /// The weights and biases that the trainer is given: those of the integers as they are.
    pub(super) fn settle(&mut self) -> [&[f32]; 2] {
        let [low, high] = self.limits();
        let channels = self.latents.chunks(self.fan_in).zip(self.products.chunks_mut(self.fan_in));
        for ((latents, products), factor) in channels.zip(&self.factors) {
            for (product, latent) in products.iter_mut().zip(latents) {
                *product = integer(*latent, low, high) * factor;
            }
        }
        for (offset, bias) in self.offsets.iter_mut().zip(&self.biases) {
            *offset = (bias * self.step).round();
        }
        [&self.products, &self.offsets]
    }

    /// Moves against the gradients of what the trainer was given, as [`super::Parameters::update`].
    /// The rates are that of latents of up to four bits, and the part of the full rate of biases;
    /// `narrow` is what a bit less of all accumulators is worth, as losses of the batch are summed.
    pub(super) fn update(
        &mut self,
        gradient: &Parameters<f32>,
        (rates, narrow): ([f32; 2], f32),
        step: u64,
    ) {
        let [low, high] = self.limits();
        let Parameters { weight, bias } = gradient;
        // The room of `products` holds gradients until the next batch.
        let gradients = self.products.chunks_mut(self.fan_in).zip(weight.chunks(self.fan_in));
        // The gradient of an integer is that of its product times the shift.
        for ((gradients, products), factor) in gradients.zip(&self.factors) {
            let pairs = gradients.iter_mut().zip(products);
            pairs.for_each(|(gradient, product)| *gradient = product * factor);
        }
        if narrow > 0.0 {
            let weights = (self.latents.as_slice(), self.factors.as_slice());
            self.reach.add(weights, narrow, &mut self.products);
        }
        for (offset, gradient) in self.offsets.iter_mut().zip(bias) {
            *offset = gradient * self.step;
        }
        // Integers of a bit more are twice as large.
        let rate = rates[0] * f32::from(self.bits.saturating_sub(4)).exp2();
        let [latents, biases] = &mut self.moments;
        let within = [low - SLACK, high + SLACK];
        latents.update(&mut self.latents, &self.products, rate, step, within);
        let anywhere = [f32::NEG_INFINITY, f32::INFINITY];
        biases.update(&mut self.biases, &self.offsets, rates[1] * BIAS_RATE, step, anywhere);
        self.keep();
    }

    /// Brings what has gone beyond the room back.
    fn keep(&mut self) {
        let (limits, step) = (self.limits(), self.step);
        let Some(room) = self.room else { return };
        let channels = self.latents.chunks_mut(self.fan_in).zip(&self.factors);
        for ((latents, factor), bias) in channels.zip(&self.biases) {
            let bias = f64::from((bias * step).round());
            let factor = f64::from(*factor);
            Channel { latents, factor, bias, limits }.keep(&self.reach, room);
        }
    }

    /// The integers as they are.
    pub(super) fn integers(&self) -> LayerWeights {
        let [low, high] = self.limits();
        LayerWeights {
            weights: self.latents.iter().map(|&v| integer(v, low, high) as i8).collect(),
            bias: self.biases.iter().map(|&b| (b * self.step).round() as i64).collect(),
        }
    }
}

/// What a latent stands for.
pub(super) fn integer(latent: f32, low: f32, high: f32) -> f32 {
    (latent + 0.5).floor().max(low).min(high)
}
