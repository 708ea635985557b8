//! Why a network cannot be reshaped.

use model::ModelError;
use model::float::FloatError;

use crate::search::SearchError;
use crate::tune::TuneError;

/// Why a network cannot be reshaped.
#[derive(Debug, thiserror::Error)]
pub enum ReshapeError {
    /// There are fewer blocks than were asked for.
    #[error(
        "blocks to replace: expected at most {found}, found {wanted}; a block is a chain of \
         convolutions with functions between, inside of which nothing else reads anything, and \
         none behind the last one; and replacing it has to save something"
    )]
    Blocks {
        /// How many were to be changed.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// A kernel without a middle, or none at all.
    #[error("kernel of {kernel}: expected odd numbers from 1 to {most}, at least one of them")]
    Kernel {
        /// The kernel; 0 where there is none.
        kernel: usize,
        /// The largest.
        most: usize,
    },
    /// No ReLU can be linearized.
    #[error(
        "ReLUs to linearize: expected one or more without an upper end, whose results are not \
         concatenated, found none; the network is as it was"
    )]
    Relus,
    /// A part that is none.
    #[error("part of the ReLUs to keep: expected a number from 0 to 1, found {found}")]
    Keep {
        /// What was given.
        found: String,
    },
    /// There are fewer ReLUs than were asked for.
    #[error("ReLUs to make polynomials: expected at most {found}, found {wanted}")]
    Polynomials {
        /// How many were to be changed.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// No ReLU or pooling has a name.
    #[error("no ReLU or pooling is named {name}: expected some of {known}")]
    NoSuchRelu {
        /// What was given.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A table of prices that is none.
    #[error(
        "prices: expected JSON such as {{\"relu\": [0.4, 13.6], \"square\": [0.2, 0.03]}}, of a \
         node and of each element, max_pool and avg_pool too where poolings are to become the \
         other kind, numbers from 0 on; found {found}"
    )]
    Prices {
        /// What was found.
        found: String,
    },
    /// No polynomial, and no other pooling, is worth its place.
    #[error(
        "no polynomial saves anything by the prices of {prices}: the nearest, of {name}, takes \
         {more} more; {reason}. The network is as it was"
    )]
    NothingSaved {
        /// Whose prices.
        prices: String,
        /// The node that comes nearest.
        name: String,
        /// How much more what could stand there takes, as it is told.
        more: String,
        /// Why.
        reason: &'static str,
    },
    /// Every polynomial that saves loses more than may be lost.
    #[error(
        "no polynomial loses as little as {most} nats: the first, of {name}, loses {loss:.4}; \
         allow for more. The network is as it was"
    )]
    AllLost {
        /// What may be lost.
        most: f64,
        /// The node where least is lost for what is saved.
        name: String,
        /// What is lost there.
        loss: f64,
    },
    /// No gate opens.
    #[error(
        "no gate opens where all that could be saved is worth {worth} nats: the widest, of {name}, \
         is open by {open:.3} of 1; let it be worth more. The network is as it was"
    )]
    AllClosed {
        /// What all of it is worth.
        worth: f64,
        /// The node whose gate is open widest.
        name: String,
        /// How far.
        open: f64,
    },
    /// The images do not fit the network.
    #[error(transparent)]
    Float(#[from] FloatError),
    /// A changed network is none: its values are not finite.
    #[error("{0}; look at the images' preprocessing")]
    Model(#[from] ModelError),
    /// The network has no price: it cannot be quantized or planned.
    #[error(transparent)]
    Price(Box<SearchError>),
    /// The network cannot be trained.
    #[error(transparent)]
    Training(Box<TuneError>),
}

impl From<SearchError> for ReshapeError {
    fn from(error: SearchError) -> Self {
        Self::Price(Box::new(error))
    }
}

impl From<TuneError> for ReshapeError {
    fn from(error: TuneError) -> Self {
        Self::Training(Box::new(error))
    }
}
