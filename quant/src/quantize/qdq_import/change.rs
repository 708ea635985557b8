//! What is not as the file has it.

use serde::Serialize;

/// Something that is not as the file has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QdqChange {
    /// The node that computes the value, or that has the weights.
    pub node: String,
    /// What was changed.
    pub what: QdqChangeKind,
    /// What the file has: a scale, or the least or the largest value.
    pub found: f64,
    /// What is taken instead.
    pub used: f64,
    /// By how much it changed: of all but weights, `used / found - 1`; of weights, the
    /// norm of their change over their own.
    pub by: f64,
}

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QdqChangeKind {
    /// The scale of a value, to the nearest power of two of what its accumulators have.
    ScaleOfValues,
    /// The least value, below which it is cut off.
    LeastValue,
    /// The largest value, beyond which it is cut off.
    LargestValue,
    /// Integers and scales of weights.
    Weights,
}

impl QdqChange {
    pub(super) fn new(node: &str, what: QdqChangeKind, found: f64, used: f64) -> Self {
        Self { node: node.to_owned(), what, found, used, by: used / found - 1.0 }
    }
}
