//! What is trained.

use train::{Network, Trainer, rate};

/// What is trained: numbers that a network's weights and biases are made of.
pub(crate) trait Parameters {
    /// What states begin with: the format's name and version.
    const MAGIC: [u8; 8];

    /// What the trainer evaluates.
    fn network(&self) -> Network;

    /// Gives the trainer the parameters as they are.
    fn set(&mut self, trainer: &mut Trainer<f32>);

    /// Moves all parameters against the gradients of the batch that was done last; `part` is that
    /// of the full rates, and steps count from 1, up to `of`.
    fn update(&mut self, trainer: &Trainer<f32>, part: f32, step: u64, of: u64);

    /// The part of the full rates at a step of so many, both counted from 0.
    fn rate(&self, step: u64, of: u64) -> f32 {
        rate(step, of)
    }

    /// Whether the loss may rise at a step: what it rises to is no divergence.
    fn may_lose(&self, _: u64, _: u64) -> bool {
        false
    }

    /// What is gained beside the loss, in nats: a loss that rises by as much is no divergence.
    fn worth(&self) -> f64 {
        0.0
    }

    /// The real value of one step of the logits.
    fn scale(&self) -> f32;

    /// What preprocessed images are fed in as.
    fn input(&self, images: &[f32], input: &mut Vec<f32>);

    /// All that is trained, each list with both of its moments behind it.
    fn lists(&self) -> Vec<&[f32]>;

    /// The same, to be changed.
    fn lists_mut(&mut self) -> Vec<&mut [f32]>;
}
