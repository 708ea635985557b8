//! Training of the integer network itself, with the float network as its teacher.
//!
//! A step takes a batch of augmented images. The teacher's logits and the labels, where there are
//! any, make the loss; gradients pass straight through roundings; the integers of all layers and
//! their biases move by Adam. What is trained is what two parties run: forward, the trainer
//! computes the integers of [`fusion::eval`].
//!
//! Everything random comes from the seed and the step, sums have a fixed order, and no decision
//! depends on time: the result is the same on any number of cores, and after an interruption.

mod curve;
mod error;
mod guard;
mod integers;
mod labels;
mod learner;
mod parameters;
mod source;
mod state;
mod training;

use fusion::Graph;
use model::Model;
use protocols::weights::Weights;

pub use curve::Point;
pub use error::TuneError;
pub use learner::Learner;
pub(crate) use parameters::Parameters;
pub use source::Source;
pub use state::steps_of;
pub(crate) use training::Training;

use integers::Integers;

/// What is asked of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TuneOptions {
    /// Batches to learn from.
    pub steps: u64,
    /// Images of a batch.
    pub batch: usize,
    /// The most rows and columns that images are moved.
    pub crop: usize,
    /// Whether half of the images are mirrored.
    pub flip: bool,
    /// The most of another image that is mixed into each one, from 0 to 1.
    pub mix: f32,
    /// The temperature of the teacher's and of the network's logits, where these are compared.
    pub temperature: f64,
    /// How far an integer of up to four bits moves in a step, about, where the rate is highest;
    /// each bit more doubles it. Floats have a rate of their own.
    pub rate: f32,
    /// What a bit less of all accumulators is worth, in nats of the mean loss, from half of the
    /// steps on: narrower ones move fewer bits.
    pub narrow: f32,
    /// Whether accumulators stay within the rings that they start with, so that an inference moves
    /// no more bits for being trained. Weights in Winograd's domain are not held.
    pub hold: bool,
    /// Images, at most a tenth of all, that nothing is learned from: what the network says of them
    /// on the way is told by its [`Point`]s.
    pub held_back: usize,
    /// Everything random.
    pub seed: u64,
}

impl Default for TuneOptions {
    /// A thousand batches of 64, images moved by up to four pixels and mirrored, all learned from.
    fn default() -> Self {
        Self {
            steps: 1000,
            batch: 64,
            crop: 4,
            flip: true,
            mix: 0.0,
            temperature: 4.0,
            rate: 0.012,
            narrow: 0.0,
            hold: false,
            held_back: 0,
            seed: 0,
        }
    }
}

/// How far a training has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TuneProgress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub of: u64,
    /// The mean loss of the last batches, in nats.
    pub loss: f64,
}

/// A training of integers under way.
pub struct Tuner<'a> {
    training: Training<'a, Integers>,
}

impl<'a> Tuner<'a> {
    /// Starts from the integers of a network, which `model` is the float network of. The teacher
    /// is that, too, or another one with the same input and outputs. Images are read as the graph's
    /// input.
    ///
    /// # Errors
    /// There are no images; the teacher has another input or other outputs; or integers are too
    /// large to be trained.
    pub fn new(
        model: &Model,
        (graph, weights): (&Graph, &Weights),
        teacher: &Model,
        source: Source<'a>,
        options: TuneOptions,
    ) -> Result<Self, TuneError> {
        check_teacher(model, teacher)?;
        let integers = Integers::new(model, (graph, weights), &options)?;
        Ok(Self { training: Training::new(teacher, integers, source, options)? })
    }

    /// What takes it from step to step.
    pub const fn learner(&mut self) -> &mut (dyn Learner + 'a) {
        &mut self.training
    }

    /// The network as it is, its accumulators' intervals those of its integers.
    ///
    /// # Errors
    /// Accumulators have become too wide.
    pub fn network(&self) -> Result<(Graph, Weights), TuneError> {
        self.training.parameters().emit()
    }

    /// The logits of the integers as they are, `[N, classes]` in steps of their scale, of the input
    /// `[N, C, H, W]`: those of [`fusion::eval`].
    pub fn logits(&mut self, input: &[f32]) -> Vec<f32> {
        self.training.outputs(input)
    }
}

/// Whether a network can teach another one. It is shown that one's images, and its logits are
/// compared with those one by one: both have to be of the same kind, or it would teach nonsense.
pub(crate) fn check_teacher(model: &Model, teacher: &Model) -> Result<(), TuneError> {
    let [expected, found] = [model, teacher].map(Model::interface);
    if expected == found { Ok(()) } else { Err(TuneError::Teacher { expected, found }) }
}

#[cfg(test)]
mod tests;
