//! How far a changed network is from the first one, and what it costs.

use model::softmax::{divergence, log_softmax};
use model::{Model, Preprocess, Tensor};
use protocols::plan::Plan;
use protocols::steps::Kind;
use serde::{Deserialize, Serialize};
use train::{Network, Trainer};

use fusion::planner::inference_bits;

use super::Saving;
use crate::quantize::first_images;
use crate::search::{SearchError, SearchOptions, uniform_plan};

/// Images that are evaluated together.
const TOGETHER: usize = 64;
/// Images that prices calibrate with.
pub(super) const PRICED: usize = 16;

/// What one private inference of a network costs, at the widths and on the link of its options.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReshapePrice {
    /// Bits, offline and online, both directions.
    pub bits: u64,
    /// One-way messages on the critical path, offline and online.
    pub rounds: u64,
    /// Seconds, offline and online, by the model of work and of the link.
    pub seconds: f64,
    /// Steps that are neither linear nor pooling: requantizations, tables and products.
    pub nonlinear_steps: usize,
}

impl ReshapePrice {
    /// The price of a network: that of its plan.
    pub(super) fn of(
        model: &Model,
        preprocess: &Preprocess,
        images: &Tensor,
        options: &SearchOptions,
    ) -> Result<Self, SearchError> {
        let images = first_images(images, images.images().min(PRICED));
        let plan = uniform_plan(model, preprocess, &images, options)?;
        Ok(Self::of_plan(&plan, options))
    }

    /// What of a network's price is to be saved: bits of the plan that moves the fewest, or seconds
    /// of the fastest one. Differences of these are the network's; bits of a fast plan also change
    /// by what it trades for time.
    pub(super) fn of_saving(
        model: &Model,
        preprocess: &Preprocess,
        images: &Tensor,
        (options, saving): (&SearchOptions, Saving),
    ) -> Result<f64, SearchError> {
        let options = SearchOptions { cheapest: saving == Saving::Bits, ..*options };
        let price = Self::of(model, preprocess, images, &options)?;
        Ok(match saving {
            Saving::Bits => price.bits as f64,
            Saving::Seconds => price.seconds,
        })
    }

    fn of_plan(plan: &Plan, options: &SearchOptions) -> Self {
        let cost = plan.cost(1);
        let steps = plan.step_costs(1);
        Self {
            bits: inference_bits(plan),
            rounds: cost.offline.rounds + cost.online.rounds,
            seconds: options.seconds(plan),
            nonlinear_steps: steps.iter().filter(|step| step.kind == Kind::Nonlinear).count(),
        }
    }
}

/// The first network's answers.
pub(super) struct Judge<'a> {
    images: &'a Tensor,
    /// The logarithms of the classes' probabilities.
    reference: Vec<Vec<f64>>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(model: &Model, images: &'a Tensor) -> Self {
        let logits = logits(model, images);
        Self { images, reference: logits.iter().map(|logits| log_softmax(logits)).collect() }
    }

    /// The mean divergence of a network's answers from the first one's, in nats.
    pub(super) fn loss(&self, model: &Model) -> f64 {
        let found = logits(model, self.images);
        let losses = self.reference.iter().zip(&found);
        let total: f64 = losses.map(|(p, found)| divergence(p, &log_softmax(found))).sum();
        total / self.reference.len().max(1) as f64
    }
}

/// A network's logits of images, by the engine that trains it.
fn logits(model: &Model, images: &Tensor) -> Vec<Vec<f32>> {
    let mut trainer: Trainer<f32> = Trainer::new(&Network::from(model), TOGETHER);
    for (node, conv) in model.layers() {
        trainer.set(node, &conv.weight, &conv.bias);
    }
    let (one, classes) = (images.image_len(), model.classes());
    let mut logits = vec![0.0; images.images() * classes];
    let parts = images.data.chunks(one * TOGETHER).zip(logits.chunks_mut(classes * TOGETHER));
    parts.for_each(|(images, logits)| trainer.outputs(images, logits));
    logits.chunks(classes).map(<[f32]>::to_vec).collect()
}
