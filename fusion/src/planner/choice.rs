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
            secrets: both(self.secrets, other.secrets),
        }
    }

    /// Whether its layer leaves a carry.
    pub(super) fn carries(&self) -> bool {
        self.ops.iter().any(|op| op.get::<Linear>().is_some_and(|step| step.carry().is_some()))
    }
}

pub(super) fn both(a: Option<SecretsNeeded>, b: Option<SecretsNeeded>) -> Option<SecretsNeeded> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.and(b)),
        (one, other) => one.or(other),
    }
}

/// Choices that no other one beats, in order. Hints take keys, whose price is that of all layers
/// together: they beat hints alone.
pub(super) fn unbeaten(choices: Vec<Choice>) -> Vec<Choice> {
    let beats = |a: &Choice, b: &Choice| {
        a.price.beats(&b.price) && (a.secrets.is_none() || b.secrets.is_some())
    };
    let mut kept: Vec<Choice> = Vec::new();
    for choice in choices {
        if !kept.iter().any(|other| beats(other, &choice)) {
            kept.retain(|other| !beats(&choice, other));
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
    /// The group without some of its choices.
    pub(super) fn without(&self, left_out: impl Fn(&Choice) -> bool) -> Self {
        let choices = self.choices.iter().filter(|choice| !left_out(choice)).cloned().collect();
        Self { names: self.names.clone(), choices }
    }
}
