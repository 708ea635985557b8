//! What steps are where people read of them.

use serde::{Deserialize, Serialize};

/// The step that extends oblivious transfers for one batch.
pub const CORRELATIONS: &str = "correlations";
/// The line of the keys of an inference's secrets: see [`hint`](crate::linear::Hint).
pub const KEYS: &str = "keys";

/// What a step is, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Multiplies by weights.
    Linear,
    /// Requantization, ReLU, residual, lookups, the label.
    Nonlinear,
    /// Pooling.
    Pool,
    /// Extension of oblivious transfers.
    Ot,
    /// Input sharing and output reveal.
    Io,
}
