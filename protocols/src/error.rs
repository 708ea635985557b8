//! Everything that can go wrong between two parties. Faults of our own are assertions that name the
//! invariant.

use std::{fmt, io};

use crate::Cost;

/// A fault of the peer, of the network, or of the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operator moved something else than it had declared.
    #[error(
        "the ledger of {operator} does not balance: predicted {predicted:?}, measured {measured:?}"
    )]
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
    #[error("the peer was silent for {seconds} s in step {step}")]
    PeerSilent {
        /// The step that was running.
        step: String,
        /// The time-out.
        seconds: f64,
    },
    /// What was waited for did not come in time, although the connection is alive.
    #[error(
        "nothing useful arrived in step {step} within {whose} {seconds:.1} s: a message may have \
         been lost on the way, or the connection or the peer is too slow"
    )]
    Overdue {
        /// The step that was running.
        step: String,
        /// Whose time was over: `a frame's`, `the step's`, `the session's`.
        whose: &'static str,
        /// The time in all.
        seconds: f64,
    },
    /// The parties have seen different conversations.
    #[error(
        "the conversation was altered on the way up to step {step}: {what}; nothing of it is used \
         (either the network changes data, or someone does, or the peer is not what it says)"
    )]
    Altered {
        /// The step that was running.
        step: String,
        /// What differs.
        what: &'static str,
    },
    /// The peer has ended the conversation and said why.
    #[error("the peer ended the conversation, here in step {step}, because {reason}")]
    Dismissed {
        /// The step that was running here.
        step: String,
        /// What the peer says.
        reason: Reason,
    },
    /// The peer sent what the protocol does not allow.
    #[error(
        "protocol violation in step {step}, by the peer or on the way: expected {expected}, found \
         {found}"
    )]
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
    /// The pool of correlated OTs is dry. OTs are used once, so this is an error and
    /// never a reuse.
    #[error(
        "step {step} needs {needed} correlated transfers where {left} are left; prepare more \
         offline"
    )]
    PoolDry {
        /// The step that was running.
        step: String,
        /// OTs asked for.
        needed: usize,
        /// OTs left.
        left: usize,
    },
    /// An operator drew other OTs than it had declared.
    #[error(
        "step {step} draws {drawn} where {declared} was declared, which is a fault of pq; nothing \
         of it is used"
    )]
    Undeclared {
        /// The step that was running.
        step: String,
        /// What was declared, and made ready.
        declared: String,
        /// What was drawn.
        drawn: String,
    },
    /// Everything that was prepared is used. Material is used once, so this is an error and never a
    /// reuse.
    #[error(
        "nothing is prepared for another inference, of {prepared} that were; prepare more offline"
    )]
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

/// Why a party ends a conversation, for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// What it received is not what the protocol allows, or not what was sent.
    Violated = 1,
    /// Nothing useful arrived in time.
    Overdue = 2,
    /// It is about to end, and takes no more requests.
    Leaving = 3,
    /// The client has had all images that it may have for now.
    Quota = 4,
}

impl Reason {
    /// What to tell the peer of an error, if it is the peer's business and the connection still
    /// stands.
    pub(crate) const fn of(error: &Error) -> Option<Self> {
        match error {
            Error::Altered { .. } | Error::Violation { .. } => Some(Self::Violated),
            Error::Overdue { .. } => Some(Self::Overdue),
            Error::Ledger { .. }
            | Error::PeerLost { .. }
            | Error::PeerSilent { .. }
            | Error::Dismissed { .. }
            | Error::Disagreement { .. }
            | Error::PoolDry { .. }
            | Error::Undeclared { .. }
            | Error::Unprepared { .. }
            | Error::Invalid { .. } => None,
        }
    }

    pub(crate) const fn from_byte([byte]: [u8; 1]) -> Option<Self> {
        match byte {
            1 => Some(Self::Violated),
            2 => Some(Self::Overdue),
            3 => Some(Self::Leaving),
            4 => Some(Self::Quota),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Violated => {
                "what it received is not what the protocol allows, or was altered on the way"
            }
            Self::Overdue => "nothing useful arrived there in time",
            Self::Leaving => "it is about to end, and takes no more requests",
            Self::Quota => "this client has had all images that it may have for now",
        })
    }
}

impl Error {
    /// An [`Error::Invalid`].
    #[expect(clippy::needless_pass_by_value)] // callers give literals, numbers and strings alike
    pub fn invalid(what: impl Into<String>, expected: impl ToString, found: impl ToString) -> Self {
        Self::Invalid {
            what: what.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}
