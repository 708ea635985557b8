//! What the client brings, and what it does with the result.

use protocols::execute::{Logits as Shared, Report};
use protocols::plan::{Load, Plan};
use protocols::profile::Profile;
use protocols::weights::Weights;

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
            labels: data.labels().map(|labels| labels[range].to_vec()),
            class_names: images::class_names(options.class_names)?,
        })
    }

    /// The result of a run; with weights, whether it equals the plaintext one.
    pub(super) fn inference(
        self,
        plan: &Plan,
        (logits, report): (Shared, &Report),
        weights: Option<&Weights>,
        profile: &Profile,
    ) -> Outcome<Inference> {
        let logits = logits
            .ok_or_else(|| Failure::internal("invariant: the client learns the logits, and did not"))?;
        let verified = weights.map(|weights| self.verify(plan, weights, &logits)).transpose()?;
        let inference = logits.len() / self.load.inferences.max(1);
        let logits = logits.chunks(inference.max(1));
        let logits: Vec<_> =
            logits.map(|logits| Logits::new(logits, self.load.images, plan.output.scale)).collect();
        Ok(Inference {
            predictions: Some(logits.iter().flat_map(Logits::predictions).collect()),
            logits: Some(logits.iter().flat_map(Logits::floats).collect()),
            logits_int: Some(logits.iter().flat_map(Logits::integers).collect()),
            labels: self.labels,
            verified,
            ledger: Ledger::measured(plan, report, profile),
            keep_alive_bytes: report.keep_alive_bytes,
            first: self.first,
            class_names: self.class_names,
        })
    }

    /// Whether every inference's logits are those of the plaintext network.
    fn verify(&self, plan: &Plan, weights: &Weights, logits: &[i64]) -> Outcome<bool> {
        let inferences = self.load.inferences.max(1);
        let inputs = self.integers.chunks(self.integers.len() / inferences);
        for (input, found) in inputs.zip(logits.chunks(logits.len() / inferences)) {
            if fusion::ideal(plan, weights, input)? != found {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
