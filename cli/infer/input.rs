//! What the client brings, and what it does with the result.

use protocols::execute::{Logits as Shared, Report};
use protocols::plan::Plan;
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
    pub(super) integers: Vec<i64>,
    pub(super) images: usize,
    first: usize,
    labels: Option<Vec<usize>>,
    class_names: Option<Vec<String>>,
}

impl Input {
    pub(super) fn open(plan: &Plan, options: &ImageOptions<'_>) -> Outcome<Self> {
        let data = images::open(plan, options.input, options.labels)?;
        let range = options.indices.0.clone();
        let batch = images::batch(plan, &data, range.clone())?;
        Ok(Self {
            integers: images::integers(plan, &batch),
            images: range.len(),
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
        let verified = match weights {
            Some(weights) => Some(fusion::ideal(plan, weights, &self.integers)? == logits),
            None => None,
        };
        let logits = Logits::new(&logits, self.images, plan.output.scale);
        Ok(Inference {
            predictions: Some(logits.predictions()),
            logits: Some(logits.floats()),
            logits_int: Some(logits.integers()),
            labels: self.labels,
            verified,
            ledger: Ledger::measured(plan, report, profile),
            first: self.first,
            class_names: self.class_names,
        })
    }
}
