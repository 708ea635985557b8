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
        let bytes = |cost: &protocols::Cost| cost.server_bytes + cost.client_bytes;
        let steps = self.report.steps.iter();
        bytes(&self.report.setup.cost)
            + steps.map(|s| bytes(&s.offline.cost) + bytes(&s.online.cost)).sum::<u64>()
    }
}
