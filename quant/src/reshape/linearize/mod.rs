//! Networks with fewer ReLUs: by pixel, channel or layer, those that matter least become the
//! identity. (SNL: Cho, Joshi, Garg, Reagen, Hegde, ICML 2022.)
//!
//! 1. Each ReLU is mixed with the identity, `a relu(x) + (1 - a) x`, all `a` being 1 at first. Step
//!    by step those with the smallest gradients go down, while the weights learn (`mixes.rs`).
//! 2. As many are kept as there may be. All `a` go on to 0 or 1.
//! 3. The weights go on learning, from the first network and from labels (`parameters.rs`).
//!
//! The result is a network of [`model::Op::PartRelu`] (`masks.rs`): a plain PRelu in ONNX.

mod masks;
mod mixes;
mod parameters;

use std::fmt;
use std::str::FromStr;

use model::{Mask, Model, Op, Preprocess, Tensor};
use serde::{Deserialize, Serialize};

use super::judge::PRICED;
use super::{ReshapeError, ReshapePrice};
use crate::floats::Floats;
use crate::quantize::first_images;
use crate::search::{SearchOptions, Uniform};
use crate::tune::{Learner, Source, Training, TuneError, TuneOptions};
use mixes::{Mixes, Relu};
use parameters::Linearizing;

/// What is asked of a network with fewer ReLUs.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearizeOptions {
    /// The part of the ReLUs that may stay, from 0 to 1.
    pub keep: f64,
    /// What is linear together.
    pub by: Granularity,
    /// Fixed widths, link and protocols that networks are priced with.
    pub prices: SearchOptions,
    /// The training.
    pub training: TuneOptions,
    /// How far a weight moves in a step, about, where the rate is highest.
    pub rate: f32,
}

/// What becomes linear together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// Every element for itself.
    #[default]
    Pixel,
    /// All pixels of a channel.
    Channel,
    /// All of a layer.
    Layer,
}

/// The ReLUs of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReluReport {
    /// The layer's name.
    pub layer: String,
    /// Its elements.
    pub relus: usize,
    /// Those that keep their ReLU.
    pub kept: usize,
}

/// A network whose ReLUs are being linearized.
pub struct Linearizer<'a> {
    training: Training<'a, Linearizing>,
    before: ReshapePrice,
    prices: SearchOptions,
    preprocess: Preprocess,
    /// What prices calibrate with.
    images: Tensor,
}

impl Default for LinearizeOptions {
    /// Half of the pixels, priced at W4A4.
    fn default() -> Self {
        let fixed = Some(Uniform { weight_bits: 4, activation_bits: 4 });
        Self {
            keep: 0.5,
            by: Granularity::default(),
            prices: SearchOptions { fixed, ..SearchOptions::default() },
            training: TuneOptions::default(),
            rate: 4e-4,
        }
    }
}

impl<'a> Linearizer<'a> {
    /// Starts from a network, all of whose ReLUs are there. The first `images` calibrate prices;
    /// `source` is what the training learns from, preprocessed alike.
    ///
    /// # Errors
    /// No ReLU of the network can be linearized, or the part to be kept is none; there are no
    /// images, or they do not fit; or the network cannot be quantized and planned as the options
    /// say.
    pub fn new(
        model: &Model,
        (preprocess, images): (&Preprocess, &Tensor),
        source: Source<'a>,
        options: &LinearizeOptions,
    ) -> Result<Self, ReshapeError> {
        if images.images() == 0 {
            return Err(TuneError::NoImages.into());
        }
        if !(0.0..=1.0).contains(&options.keep) {
            return Err(ReshapeError::Keep { found: options.keep.to_string() });
        }
        let relus = relus(model, options.by);
        if relus.is_empty() {
            return Err(ReshapeError::Relus);
        }
        // Prices do not hang on many images: their scales settle shifts, and little else.
        let images = first_images(images, images.images().min(PRICED));
        // By the plans that move the fewest bits: fast plans also trade bits for time, and that
        // changes more than ReLUs do.
        let prices = SearchOptions { cheapest: true, ..options.prices };
        let before = ReshapePrice::of(model, preprocess, &images, &prices)?;
        let floats = Floats::new(model.clone(), options.rate);
        let parameters = Linearizing::new(floats, Mixes::new(relus, options.keep));
        let training = Training::new(model, parameters, source, options.training)?;
        Ok(Self { training, before, prices, preprocess: preprocess.clone(), images })
    }

    /// The network as it is, each ReLU there or not.
    pub fn model(&self) -> Model {
        let parameters = self.training.parameters();
        masks::masked(parameters.model(), &parameters.masks())
    }

    /// The layers with ReLUs that may be linearized, in the network's order.
    pub fn relus(&self) -> Vec<ReluReport> {
        let parameters = self.training.parameters();
        let masks = parameters.masks();
        let layers = masks.iter().map(|(node, mask)| ReluReport {
            layer: parameters.model().nodes[*node].name.clone(),
            relus: mask.len(),
            kept: mask.count(),
        });
        layers.collect()
    }

    /// What the first network costs and what this one does, by the plans that move the fewest bits.
    ///
    /// # Errors
    /// The network cannot be quantized and planned.
    pub fn prices(&self) -> Result<[ReshapePrice; 2], ReshapeError> {
        let after = ReshapePrice::of(&self.model(), &self.preprocess, &self.images, &self.prices)?;
        Ok([self.before, after])
    }

    /// What takes it from step to step.
    pub const fn learner(&mut self) -> &mut (dyn Learner + 'a) {
        &mut self.training
    }
}

/// The ReLUs that may be linearized: those without an upper end, whose results are not joined with
/// others, which would share their steps.
fn relus(model: &Model, by: Granularity) -> Vec<Relu> {
    let mut groups = 0;
    let mut found = Vec::new();
    for (index, node) in model.nodes.iter().enumerate() {
        let consumers = model.consumers(node.output);
        // Parts of a concatenation are rounded alike, and these have ends of their own.
        let is_joined = consumers.iter().any(|&node| matches!(model.nodes[node].op, Op::Concat));
        if !matches!(node.op, Op::Relu { max: None }) || is_joined {
            continue;
        }
        let [_, rows, columns] = node.shape;
        let size = match by {
            Granularity::Pixel => 1,
            Granularity::Channel => rows * columns,
            Granularity::Layer => node.elements(),
        };
        let first = groups;
        groups += node.elements() / size;
        found.push(Relu { node: index, groups: first..groups, size });
    }
    found
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pixel => "pixel",
            Self::Channel => "channel",
            Self::Layer => "layer",
        })
    }
}

impl FromStr for Granularity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pixel" => Ok(Self::Pixel),
            "channel" => Ok(Self::Channel),
            "layer" => Ok(Self::Layer),
            _ => Err("expected pixel, channel or layer".into()),
        }
    }
}

/// Of each node its mask.
type Masks = Vec<(usize, Mask)>;

#[cfg(test)]
mod tests;
