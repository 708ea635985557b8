//! Why a network cannot be tuned.

use model::{DataError, Interface};

/// Why a network cannot be tuned.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The integer network cannot be represented.
    #[error(transparent)]
    Graph(#[from] fusion::Error),
    /// An image cannot be read as the network's input.
    #[error(transparent)]
    Data(#[from] DataError),
    /// There is nothing to learn from.
    #[error("no training image: at least one is needed")]
    NoImages,
    /// A teacher of something else.
    #[error(
        "the teacher takes {:?} and tells {} classes apart, expected {:?} and {}: it must be a \
         network of the same images and classes",
        found.input, found.classes, expected.input, expected.classes
    )]
    Teacher {
        /// What the network takes and tells apart.
        expected: Interface,
        /// What the teacher does.
        found: Interface,
    },
    /// Integers that single precision does not hold.
    #[error(
        "node {node}: its integers may reach {found}, and training is exact up to {limit}; use \
         fewer bits for its weights or for what it reads"
    )]
    TooLarge {
        /// The node.
        node: String,
        /// The largest magnitude.
        found: i64,
        /// The largest that is exact.
        limit: i64,
    },
    /// The loss is no number, however small the steps.
    #[error(
        "step {step}: the loss is {loss} after {halvings} halvings of the rates; training diverges \
         from this start with these images: look at their preprocessing and labels, or ask for \
         more bits, or for fewer replaced blocks and ReLUs"
    )]
    Diverged {
        /// The step, counted from 0.
        step: u64,
        /// The loss of the batch, a mean.
        loss: f64,
        /// How often the rates were halved.
        halvings: u32,
    },
    /// A state of other arguments.
    #[error("the state is of another training: {what}: expected {expected}, found {found}")]
    State {
        /// What differs.
        what: &'static str,
        /// What this training has.
        expected: u64,
        /// What the state says.
        found: u64,
    },
}
