//! What the client learns.

use protocols::execute::Report;
use protocols::plan::Answer;

/// The answers of a private run, and its ledger.
#[derive(Clone, Debug)]
pub struct Inference {
    /// One for each image.
    pub answers: Vec<Answer>,
    /// What every step moved, beside what was predicted.
    pub report: Report,
}

impl Inference {
    /// Bytes of the whole session, in both directions: set-up, offline and online.
    pub fn bytes(&self) -> u64 {
        let mut cost = self.report.setup.cost;
        for step in &self.report.steps {
            cost += step.offline.cost + step.online.cost;
        }
        cost.server_bytes + cost.client_bytes
    }
}
