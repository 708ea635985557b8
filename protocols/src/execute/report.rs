//! The ledger of a run: what every step moved, beside what was predicted.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::plan::{Plan, StepCost};
use crate::{Cost, Error, Session};

/// What a part moved, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Bytes, rounds and transfers.
    pub cost: Cost,
    /// Wall-clock seconds at this party.
    pub seconds: f64,
}

/// One step's line in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// What was predicted.
    pub predicted: StepCost,
    /// What the offline part moved.
    pub offline: Measured,
    /// What the online part moved.
    pub online: Measured,
}

/// The ledger of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Images of the batch.
    pub images: usize,
    /// Set-up.
    pub setup: Measured,
    /// Every step but views, the extension first.
    pub steps: Vec<StepReport>,
    /// Bytes of keep-alive frames that this party sent: outside the ledger.
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
    pub(super) fn new(plan: &Plan, images: usize) -> Self {
        let line =
            |predicted| StepReport { predicted, offline: Measured::default(), online: Measured::default() };
        let steps = plan.step_costs(images).into_iter().map(line).collect();
        Self { images, setup: Measured::default(), steps, keep_alive_bytes: 0 }
    }

    /// The line of a step.
    pub(super) fn line(&mut self, name: &str) -> Option<&mut StepReport> {
        self.steps.iter_mut().find(|line| line.predicted.name == name)
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
    parts.fold(Measured::default(), |sum, part| Measured {
        cost: sum.cost + part.cost,
        seconds: sum.seconds + part.seconds,
    })
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
