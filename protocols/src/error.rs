//! Everything that can go wrong between two parties. Faults of our own are assertions that name the invariant.

use std::io;

use crate::Cost;

/// A fault of the peer, of the network, or of the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operator moved something else than it had declared.
    #[error("the ledger of {operator} does not balance: predicted {predicted:?}, measured {measured:?}")]
    Ledger {
        /// The operator.
        operator: &'static str,
        /// What its cost function says.
        predicted: Cost,
        /// What the channel and the pools counted.
        measured: Cost,
    },
    /// The connection ended before the protocol did.
    #[error("the peer was lost in step {step}: {source}")]
    PeerLost {
        /// The step that was running.
        step: String,
        /// What the network said.
        source: io::Error,
    },
    /// No byte arrived for the whole time-out.
    #[error("the peer was silent for {seconds} s in step {step}; raise --timeout if it needs longer")]
    PeerSilent {
        /// The step that was running.
        step: String,
        /// The time-out.
        seconds: f64,
    },
    /// The peer sent what the protocol does not allow.
    #[error("protocol violation by the peer in step {step}: expected {expected}, found {found}")]
    Violation {
        /// The step that was running.
        step: String,
        /// What the protocol says.
        expected: String,
        /// What the peer sent.
        found: String,
    },
    /// The peers do not agree on what to run.
    #[error("the peers disagree on {field}: ours is {ours}, theirs is {theirs}")]
    Disagreement {
        /// The field of the handshake.
        field: &'static str,
        /// Our value.
        ours: String,
        /// The peer's value.
        theirs: String,
    },
    /// The pool of correlated transfers is dry. Transfers are used once, so this is an error and never a reuse.
    #[error("step {step} needs {needed} correlated transfers where {left} are left; prepare more offline")]
    PoolDry {
        /// The step that was running.
        step: String,
        /// Transfers asked for.
        needed: usize,
        /// Transfers left.
        left: usize,
    },
    /// Everything that was prepared is used. Material is used once, so this is an error and never a reuse.
    #[error("nothing is prepared for another inference, of {prepared} that were; prepare more offline")]
    Unprepared {
        /// Inferences that were prepared.
        prepared: usize,
    },
    /// A plan, a weight file or an input does not fit.
    #[error("{what}: expected {expected}, found {found}")]
    Invalid {
        /// The field, or the step and its field.
        what: String,
        /// What would have been right.
        expected: String,
        /// What was there.
        found: String,
    },
}

impl Error {
    /// An [`Error::Invalid`].
    #[expect(clippy::needless_pass_by_value)] // callers give literals, numbers and strings alike
    pub fn invalid(what: impl Into<String>, expected: impl ToString, found: impl ToString) -> Self {
        Self::Invalid { what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }
}
