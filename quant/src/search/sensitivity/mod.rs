//! How much each width of each layer and activation quantizer costs in accuracy, measured.
//!
//! The loss is the Kullback-Leibler divergence of the class probabilities from the float network's,
//! averaged over the calibration images, with one layer's weights or one activation quantizer's
//! values rounded and all else float. It needs no labels. Losses of several roundings are taken to
//! add up. It is measured, or estimated from its curvature.

mod curvature;

use std::str::FromStr;

use model::float::{Edit, FloatError, activations_of, reevaluate};
use model::softmax::{self, log_softmax};
use model::{Model, Tensor, ValueId};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Progress;
use crate::quantize::{ActivationQuantizers, BitWidths, Quantizer, is_relu};

/// How losses are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// The divergence itself, with one rounding at a time.
    #[default]
    Loss,
    /// By the Fisher information: one backward pass an image prices everything.
    Fisher,
    /// By the mean of the Hessian's diagonal and the squared error, as HAWQ does.
    Hessian,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Loss, Self::Fisher, Self::Hessian];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Fisher => "fisher",
            Self::Hessian => "hessian",
        }
    }
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|measure| measure.name() == text);
        named.ok_or_else(|| format!("a measure is loss, fisher or hessian; found {text:?}"))
    }
}

/// Measured losses, in nats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// By layer, then width from 2 on.
    pub weights: Vec<Vec<f64>>,
    /// By activation quantizer, then width from 2 on.
    #[serde(rename = "sites")]
    pub activations: Vec<Vec<f64>>,
}

/// All widths.
pub(super) const WIDTHS: std::ops::RangeInclusive<u8> = 2..=8;
/// Images evaluated together: bounds the activations held.
const CHUNK: usize = 64;

impl Sensitivity {
    /// Finds the loss of every layer and activation quantizer at every width.
    ///
    /// # Errors
    /// The batch's shape is not the model's input.
    pub fn measure(
        measure: Measure,
        model: &Model,
        quantizer: &Quantizer<'_>,
        batch: &Tensor,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, FloatError> {
        let (mut done, images) = (0, batch.images());
        let passes = if measure == Measure::Hessian { 2 * curvature::PROBES + 1 } else { 1 };
        let mut tick = |more: usize| {
            done += more;
            progress(Progress { phase: "sensitivity", done, of: passes * images });
        };
        let mut found = match measure {
            Measure::Loss => Self::measured(model, quantizer, batch, progress)?,
            Measure::Fisher => curvature::fisher(model, quantizer, batch, &mut tick),
            Measure::Hessian => curvature::hessian(model, quantizer, batch, &mut tick),
        };
        found.settle(images);
        Ok(found)
    }

    /// The sums over images of the divergence itself.
    fn measured(
        model: &Model,
        quantizer: &Quantizer<'_>,
        batch: &Tensor,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, FloatError> {
        let activations = quantizer.activations();
        let widths = WIDTHS.count();
        let mut found = Self {
            weights: vec![vec![0.0; widths]; activations.layers.len()],
            activations: vec![vec![0.0; widths]; activations.quantizers.len()],
        };
        // Kept values let an edit run only what lies behind it, once for each layer or activation
        // quantizer and width. The reference runs once a chunk.
        let keep = kept_values(model);
        let images = batch.images();
        let per_chunk = activations.layers.len() + activations.quantizers.len();
        let of = images.div_ceil(CHUNK) * per_chunk;
        for (chunk, start) in (0..images).step_by(CHUNK).enumerate() {
            let part = part(batch, start, CHUNK.min(images - start));
            let mut done = chunk * per_chunk;
            let kept = activations_of(model, &part, &keep)?;
            let reference = reevaluate(model, &kept, &[])?;
            for (layer, losses) in found.weights.iter_mut().enumerate() {
                for (bits, loss) in WIDTHS.zip(losses) {
                    let (weight, bias) = quantizer.rounded_weights(layer, bits);
                    let edit = Edit::Weights {
                        node: activations.layers[layer].node,
                        weight: &weight,
                        bias: &bias,
                    };
                    *loss += divergence(&reference, &reevaluate(model, &kept, &[edit])?);
                }
                done += 1;
                progress(Progress { phase: "sensitivity", done, of });
            }
            for (activation, losses) in found.activations.iter_mut().enumerate() {
                let id = activations.quantizers[activation].value;
                let Some(value) = kept.value(id) else { continue };
                for (bits, loss) in WIDTHS.zip(losses) {
                    let tensor = quantizer.rounded_activation(activation, bits, value);
                    let edit = Edit::Value { id, tensor: &tensor };
                    *loss += divergence(&reference, &reevaluate(model, &kept, &[edit])?);
                }
                done += 1;
                progress(Progress { phase: "sensitivity", done, of });
            }
        }
        Ok(found)
    }

    /// Whether these are of a network with such activation quantizers and layers.
    pub(super) fn fits(&self, activations: &ActivationQuantizers) -> bool {
        let mut lists = self.weights.iter().chain(&self.activations);
        self.weights.len() == activations.layers.len()
            && self.activations.len() == activations.quantizers.len()
            && lists.all(|list| list.len() == WIDTHS.count() && list.iter().all(|v| v.is_finite()))
    }

    /// The expected loss of bit widths.
    pub fn loss(&self, bit_widths: &BitWidths) -> f64 {
        sum(&self.weights, &bit_widths.weight_bits)
            + sum(&self.activations, &bit_widths.activation_bits)
    }

    /// Means over the images; a wider width never costs more than a narrower one, whatever the
    /// noise says.
    fn settle(&mut self, images: usize) {
        for losses in self.weights.iter_mut().chain(&mut self.activations) {
            for loss in losses.iter_mut() {
                *loss /= images as f64;
            }
            // Running minimum: after it, raising a width is never a loss, which the search relies
            // on.
            for wider in 1..losses.len() {
                losses[wider] = losses[wider].min(losses[wider - 1]);
            }
        }
    }
}

/// The values from which the network can be recomputed after any edit: all but those that only a
/// ReLU reads.
fn kept_values(model: &Model) -> Vec<ValueId> {
    let mut kept = Vec::new();
    for id in (0..=model.nodes.len()).map(ValueId) {
        let consumers = model.consumers(id);
        let relus_alone = consumers.iter().all(|&node| is_relu(&model.nodes[node].op));
        if consumers.is_empty() || !relus_alone {
            kept.push(id);
        }
    }
    kept
}

/// The sum of the losses at some widths.
fn sum(losses: &[Vec<f64>], bits: &[u8]) -> f64 {
    losses.iter().zip(bits).map(|(losses, &bits)| losses[usize::from(bits - 2)]).sum()
}

fn part(batch: &Tensor, start: usize, count: usize) -> Tensor {
    let [_, c, h, w] = batch.shape;
    let len = c * h * w;
    Tensor {
        shape: [count, c, h, w],
        data: batch.data[start * len..(start + count) * len].to_vec(),
    }
}

/// The sum over images of the divergence of `found` from `reference`, in nats.
fn divergence(reference: &Tensor, found: &Tensor) -> f64 {
    let images: Vec<f64> = (0..reference.images())
        .into_par_iter()
        .map(|image| {
            softmax::divergence(
                &log_softmax(reference.image(image)),
                &log_softmax(found.image(image)),
            )
        })
        .collect();
    images.iter().sum()
}
