//! Steps that are chosen together, and their alternatives.

use protocols::Phases;
use protocols::linear::SecretsNeeded;
use protocols::plan::Op;
use protocols::steps::Linear;

use super::price::{Candidate, Price};

/// One way to run some steps that are chosen together.
#[derive(Clone)]
pub(super) struct Choice {
    /// By step of the group, and what each moves for one image.
    pub(super) ops: Vec<Op>,
    pub(super) singles: Vec<Phases>,
    pub(super) price: Price,
    /// What its layers need of secrets.
    pub(super) secrets: Option<SecretsNeeded>,
}

impl Choice {
    pub(super) fn of(candidate: Candidate) -> Self {
        let secrets = candidate.op.layer().and_then(|layer| layer.secrets());
        let Candidate { op, price, .. } = candidate;
        Self { ops: vec![op], singles: vec![price.single], price, secrets }
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            ops: self.ops.iter().chain(&other.ops).cloned().collect(),
            singles: self.singles.iter().chain(&other.singles).copied().collect(),
            price: self.price.and(&other.price),
            secrets: needed([self, other]),
        }
    }

    /// Whether a layer of its has a hint.
    pub(super) const fn has_hint(&self) -> bool {
        self.secrets.is_some()
    }

    /// Whether it is no worse than another one. Hints take keys, whose price is that of all layers
    /// together: they beat hints alone.
    fn beats(&self, other: &Self) -> bool {
        self.price.beats(&other.price) && (!self.has_hint() || other.has_hint())
    }

    /// Whether its layer leaves a carry.
    pub(super) fn carries(&self) -> bool {
        self.ops.iter().any(|op| op.get::<Linear>().is_some_and(|step| step.carry().is_some()))
    }
}

/// What the layers of some choices need of secrets, which serve them all.
pub(super) fn needed<'a>(choices: impl IntoIterator<Item = &'a Choice>) -> Option<SecretsNeeded> {
    choices.into_iter().filter_map(|choice| choice.secrets).reduce(SecretsNeeded::and)
}

/// Every choice of one step with every one of another.
pub(super) fn pairs(first: &[Choice], then: &[Choice]) -> Vec<Choice> {
    first.iter().flat_map(|a| then.iter().map(move |b| a.and(b))).collect()
}

/// Choices that no other one beats, in order.
pub(super) fn unbeaten(choices: Vec<Choice>) -> Vec<Choice> {
    let mut kept: Vec<Choice> = Vec::new();
    for choice in choices {
        if !kept.iter().any(|other| other.beats(&choice)) {
            kept.retain(|other| !choice.beats(other));
            kept.push(choice);
        }
    }
    kept
}

/// Steps that are chosen together: one, or a layer with the requantization that may take its carry.
pub(super) struct Group {
    pub(super) names: Vec<String>,
    pub(super) choices: Vec<Choice>,
}

impl Group {
    /// The group without hints.
    pub(super) fn without_hints(&self) -> Self {
        let choices = self.choices.iter().filter(|choice| !choice.has_hint()).cloned().collect();
        Self { names: self.names.clone(), choices }
    }
}
