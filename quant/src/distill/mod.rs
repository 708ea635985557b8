//! Training of a float network with another one as its teacher, from the weights that it has or
//! from random ones. (Distillation: Hinton, Vinyals, Dean, 2015.)
//!
//! What a step does, and what it depends on, is told in [`crate::tune`]: this is the same training,
//! of floats in the place of integers.

use std::fmt;
use std::str::FromStr;

use model::Model;
use train::{Network, random_start};

use crate::floats::Floats;
use crate::tune::{Learner, Source, Training, TuneError, TuneOptions, check_teacher};

/// What is asked of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DistillOptions {
    /// What weights are at first.
    pub start: Start,
    /// The training.
    pub training: TuneOptions,
    /// How far a weight moves in a step, about, where the rate is highest.
    pub rate: f32,
}

impl Default for DistillOptions {
    /// A thousand batches from the network's own weights, at a rate that ReLU6 survive.
    fn default() -> Self {
        Self { start: Start::default(), training: TuneOptions::default(), rate: 1e-3 }
    }
}

/// What weights are before the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Those of the network.
    #[default]
    AsIs,
    /// Drawn anew, from the training's seed: see [`train::random_start`].
    Random,
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsIs => "as-is",
            Self::Random => "random",
        })
    }
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "as-is" => Ok(Self::AsIs),
            "random" => Ok(Self::Random),
            _ => Err("expected as-is or random".into()),
        }
    }
}

/// A float network that is being trained.
pub struct Distiller<'a> {
    training: Training<'a, Floats>,
}

impl<'a> Distiller<'a> {
    /// Starts as the options say. Labels are learned from too, where the source has any.
    ///
    /// # Errors
    /// There are no images; or the teacher has another input or other outputs.
    pub fn new(
        model: &Model,
        teacher: &Model,
        source: Source<'a>,
        options: &DistillOptions,
    ) -> Result<Self, TuneError> {
        check_teacher(model, teacher)?;
        let start = match options.start {
            Start::AsIs => model.clone(),
            Start::Random => drawn(model, options.training.seed),
        };
        let floats = Floats::new(start, options.rate);
        Ok(Self { training: Training::new(teacher, floats, source, options.training)? })
    }

    /// The network as it is.
    pub const fn model(&self) -> &Model {
        self.training.parameters().model()
    }

    /// What takes it from step to step.
    pub const fn learner(&mut self) -> &mut (dyn Learner + 'a) {
        &mut self.training
    }
}

/// The network with weights that know nothing.
fn drawn(model: &Model, seed: u64) -> Model {
    let mut drawn = model.clone();
    for (node, start) in random_start(&Network::from(model), seed) {
        if let Some(conv) = drawn.nodes[node].op.conv_mut() {
            (conv.weight, conv.bias) = (start.weight, start.bias);
        }
    }
    drawn
}

#[cfg(test)]
mod tests;
