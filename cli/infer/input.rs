//! What the client brings, and what it does with the result.

use protocols::execute::{Logits as Shared, Report};
use protocols::plan::{Load, Plan, Reveal};
use protocols::profile::Profile;
use protocols::weights::Weights;
use quant::data::OffScale;

use super::args::ImageOptions;
use super::report::Inference;
use crate::exit::{Failure, Outcome};
use crate::images;
use crate::ledger::Ledger;
use crate::logits::Logits;

/// The client's images.
pub(super) struct Input {
    /// One inference after the other.
    pub(super) integers: Vec<i64>,
    pub(super) load: Load,
    first: usize,
    labels: Option<Vec<usize>>,
    off_scale: Option<OffScale>,
    class_names: Option<Vec<String>>,
}

impl Input {
    pub(super) fn open(plan: &Plan, options: &ImageOptions<'_>) -> Outcome<Self> {
        let data = images::open(plan, options.input, options.labels)?;
        let range = options.indices.0.clone();
        let integers = |range| Ok(images::integers(plan, &images::batch(plan, &data, range)?));
        // Prepared inferences are of one image each; others are one batch.
        let (integers, load) = match options.offline {
            None => (integers(range.clone())?, Load::one(range.len())),
            Some(prepared) => {
                let each = range.clone().map(|image| integers(image..image + 1));
                let load = Load { images: 1, prepared, inferences: range.len() };
                (each.collect::<Outcome<Vec<_>>>()?.concat(), load)
            }
        };
        Ok(Self {
            integers,
            load,
            first: range.start,
            off_scale: images::off_scale(plan, &data, range.clone()),
            labels: data.labels().map(|labels| labels[range].to_vec()),
            class_names: images::class_names(options.class_names)?,
        })
    }

    /// The result of a run; with weights, whether it equals the plaintext one.
    pub(super) fn inference(
        self,
        plan: &Plan,
        (found, report): (Shared, &Report),
        weights: Option<&Weights>,
        profile: &Profile,
    ) -> Outcome<Inference> {
        let found =
            found.ok_or_else(|| Failure::internal("invariant: the client learns the result, and did not"))?;
        let verified = weights.map(|weights| self.verify(plan, weights, &found)).transpose()?;
        let inference = found.len() / self.load.inferences.max(1);
        let logits = || {
            let each = found.chunks(inference.max(1));
            each.map(|logits| Logits::new(logits, self.load.images, plan.output.scale))
        };
        let (predictions, floats, integers) = match plan.reveals() {
            Reveal::Label => (found.iter().map(|&label| label as usize).collect(), None, None),
            Reveal::Logits => (
                logits().flat_map(|logits| logits.predictions()).collect(),
                Some(logits().flat_map(|logits| logits.floats()).collect()),
                Some(logits().flat_map(|logits| logits.integers()).collect()),
            ),
        };
        Ok(Inference {
            predictions: Some(predictions),
            logits: floats,
            logits_int: integers,
            labels: self.labels,
            verified,
            ledger: Ledger::measured(plan, report, profile),
            keep_alive_bytes: report.keep_alive_bytes,
            off_scale: self.off_scale,
            first: self.first,
            class_names: self.class_names,
        })
    }

    /// Whether every inference's logits, or labels, are those of the plaintext network.
    fn verify(&self, plan: &Plan, weights: &Weights, found: &[i64]) -> Outcome<bool> {
        let inferences = self.load.inferences.max(1);
        let inputs = self.integers.chunks(self.integers.len() / inferences);
        for (input, found) in inputs.zip(found.chunks(found.len() / inferences)) {
            if fusion::ideal(plan, weights, input)? != found {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
