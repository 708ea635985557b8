//! The ledger of a run: what every step moved, beside what was predicted.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::host::Instant;
use crate::plan::{Load, Plan};
use crate::price::StepCost;
use crate::{Cost, Error, Phases, Session};

/// What a part moved, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Bytes, rounds and OTs.
    pub cost: Cost,
    /// Wall-clock seconds at this party.
    pub seconds: f64,
}

/// One step's line in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// What was predicted of all that was prepared and run.
    pub predicted: StepCost,
    /// What the offline part moved.
    pub offline: Measured,
    /// What the online part moved.
    pub online: Measured,
}

/// The ledger of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What was prepared and run: at first, what is to be.
    pub load: Load,
    /// Set-up, what the client has requested, and the end.
    pub setup: Measured,
    /// Requests of the client: see [`request_cost`](super::request_cost).
    pub requests: u64,
    /// Every step but views, the extension first.
    pub steps: Vec<StepReport>,
    /// Bytes of keep-alive frames, in both directions: outside the ledger, since they depend on
    /// time alone.
    pub keep_alive_bytes: u64,
}

/// Progress of a run.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// `set-up`, `offline` or `online`.
    pub phase: &'static str,
    /// The step that starts.
    pub step: &'a str,
    /// Its number within the phase.
    pub index: usize,
    /// Steps of the phase.
    pub count: usize,
}

impl Report {
    pub(super) fn new(plan: &Plan, load: Load) -> Self {
        let steps = plan
            .load_costs(load)
            .into_iter()
            .map(|mut predicted| {
                // Nothing is prepared or run yet.
                let Phases { offline, online, .. } = &mut predicted.cost;
                (*offline, *online) = (Cost::ZERO, Cost::ZERO);
                let (offline, online) = Default::default();
                StepReport { predicted, offline, online }
            })
            .collect();
        Self { load, setup: Measured::default(), requests: 0, steps, keep_alive_bytes: 0 }
    }

    /// Adds what a preparation of inferences will move.
    pub(super) fn predict_offline(&mut self, plan: &Plan, load: Load) {
        // Lines are a plan's steps, in the same order whatever the load.
        for (line, step) in self.steps.iter_mut().zip(plan.load_costs(load)) {
            line.predicted.cost.offline += step.cost.offline;
        }
    }

    /// Adds what an inference of so many images will move.
    pub(super) fn predict_online(&mut self, plan: &Plan, images: usize) {
        for (line, step) in self.steps.iter_mut().zip(plan.load_costs(Load::one(images))) {
            line.predicted.cost.online += step.cost.online;
        }
    }

    /// What was predicted of all that was prepared and run, but for set-up.
    pub fn predicted(&self) -> Phases {
        let steps = self.steps.iter().map(|step| step.predicted.cost);
        Phases { setup: Cost::ZERO, ..steps.sum() }
    }

    /// Adds what the offline part of a step has taken.
    pub(super) fn add_offline(&mut self, step: &str, measured: Measured) {
        if let Some(line) = self.line(step, measured) {
            line.offline += measured;
        }
    }

    /// Adds what the online part of a step has taken.
    pub(super) fn add_online(&mut self, step: &str, measured: Measured) {
        if let Some(line) = self.line(step, measured) {
            line.online += measured;
        }
    }

    /// The line of a step. What has none is free, so that nothing is left out of the ledger.
    fn line(&mut self, step: &str, measured: Measured) -> Option<&mut StepReport> {
        let line = self.steps.iter_mut().find(|line| line.predicted.name == step);
        let booked = line.is_some() || measured.cost == Cost::ZERO;
        assert!(booked, "invariant: a step without a line in the ledger moves nothing");
        line
    }

    /// The sum of the offline parts.
    pub fn offline(&self) -> Measured {
        total(self.steps.iter().map(|step| step.offline))
    }

    /// The sum of the online parts.
    pub fn online(&self) -> Measured {
        total(self.steps.iter().map(|step| step.online))
    }
}

fn total(parts: impl Iterator<Item = Measured>) -> Measured {
    parts.fold(Measured::default(), |mut sum, part| {
        sum += part;
        sum
    })
}

impl AddAssign for Measured {
    fn add_assign(&mut self, part: Self) {
        self.cost += part.cost;
        self.seconds += part.seconds;
    }
}

/// Runs a part of a plan under the law, and times it.
pub(super) async fn timed<T>(
    session: &mut Session,
    operator: &'static str,
    predicted: Cost,
    part: impl AsyncFnOnce(&mut Session) -> Result<T, Error>,
) -> Result<(T, Measured), Error> {
    let started = Instant::now();
    let output = session.hold(operator, predicted, part).await?;
    Ok((output, Measured { cost: predicted, seconds: started.elapsed().as_secs_f64() }))
}
