//! What the client brings, and what it does with the result.

use pq::{Answer, Load, Logits, Plan, Report, Reveal};
use protocols::profile::Profile;
use protocols::weights::Weights;
use quant::data::OffScale;

use super::args::ImageOptions;
use super::memory::{Budget, Fit, Memory, Parties};
use super::report::Inference;
use crate::exit::Outcome;
use crate::images;
use crate::ledger::Ledger;

/// The client's images.
pub(super) struct Input {
    /// One inference after the other.
    pub(super) integers: Vec<i64>,
    pub(super) load: Load,
    memory: Memory,
    first: usize,
    labels: Option<Vec<usize>>,
    off_scale: Option<OffScale>,
    class_names: Option<Vec<String>>,
}

impl Input {
    pub(super) fn open(
        plan: &Plan,
        options: &ImageOptions<'_>,
        parties: Parties,
        budget: Budget,
    ) -> Outcome<Self> {
        let data = images::open(plan, options.input, options.labels)?;
        let range = options.indices.0.clone();
        data.check_range(&range)?;
        let fit = Fit::new(plan, parties, budget);
        let load = fit.load(options)?;
        let mut integers = Vec::with_capacity(plan.input_wire().elements() * load.total());
        for start in range.clone().step_by(load.images) {
            let batch = images::batch(plan, &data, start..range.end.min(start + load.images))?;
            integers.extend(plan.encode(&batch.data)?);
        }
        Ok(Self {
            integers,
            load,
            memory: fit.memory(load),
            first: range.start,
            off_scale: images::off_scale(plan, &data, range.clone()),
            labels: data.labels().map(|labels| labels[range].to_vec()),
            class_names: images::class_names(options.class_names)?,
        })
    }

    /// The images of one inference.
    pub(super) fn part(&self, inference: usize) -> &[i64] {
        let image = self.integers.len() / self.load.total().max(1);
        let start = self.load.images * inference * image;
        &self.integers[start..start + self.load.images_of(inference) * image]
    }

    /// The result of a run, in as many sessions as it took; with weights, whether it equals the
    /// plaintext one.
    pub(super) fn inference(
        self,
        plan: &Plan,
        (found, reports): (Vec<i64>, &[&Report]),
        weights: Option<&Weights>,
        profile: &Profile,
    ) -> Outcome<Inference> {
        let verified = weights.map(|weights| self.verify(plan, weights, &found)).transpose()?;
        let parts = self.each(&found);
        let answers: Vec<Answer> =
            parts.flat_map(|(images, found)| plan.decode(found, images)).collect();
        let predictions = answers.iter().map(|answer| answer.label).collect();
        let logits: Option<Vec<Logits>> = answers.into_iter().map(|answer| answer.logits).collect();
        let (floats, integers) =
            logits.into_iter().flatten().map(|logits| (logits.values, logits.integers)).unzip();
        let revealed = plan.reveals() == Reveal::Logits;
        Ok(Inference {
            predictions: Some(predictions),
            logits: revealed.then_some(floats),
            logits_int: revealed.then_some(integers),
            labels: self.labels,
            verified,
            ledger: Ledger::of_sessions(plan, reports, profile),
            sessions: None,
            keep_alive_bytes: reports.iter().map(|report| report.keep_alive_bytes).sum(),
            memory: self.memory.measured(),
            off_scale: self.off_scale,
            first: self.first,
            class_names: self.class_names,
        })
    }

    /// The images and the part of every inference, of what has equally much for every image.
    fn each<'a, T>(&self, all: &'a [T]) -> impl Iterator<Item = (usize, &'a [T])> {
        let (load, image) = (self.load, all.len() / self.load.total().max(1));
        let parts = all.chunks((load.images * image).max(1)).enumerate();
        parts.map(move |(inference, part)| (load.images_of(inference), part))
    }

    /// Whether every inference's logits, or labels, are those of the plaintext network.
    fn verify(&self, plan: &Plan, weights: &Weights, found: &[i64]) -> Outcome<bool> {
        for ((_, input), (_, found)) in self.each(&self.integers).zip(self.each(found)) {
            if fusion::ideal(plan, weights, input)? != found {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
