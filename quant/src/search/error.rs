//! Why a search ends without a plan.

use model::float::FloatError;

use super::WidthsError;
use crate::quantize::QuantizeError;
use crate::tune::TuneError;

/// Why a search ends without a plan.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// No choice of widths and protocols meets the budget.
    #[error(
        "the budget of {budget} bits is impossible: the smallest possible one is {smallest} bits"
    )]
    Impossible {
        /// The budget.
        budget: u64,
        /// The bits of the cheapest plan.
        smallest: u64,
    },
    /// No choice meets the budget of online bits.
    #[error("the budget of {budget} online bits is impossible: the cheapest plan has {smallest}")]
    ImpossibleOnline {
        /// The budget.
        budget: u64,
        /// The online bits of the cheapest plan.
        smallest: u64,
    },
    /// No choice is fast enough.
    #[error(
        "the budget of {budget} s is impossible on this connection: the narrowest network takes \
         {smallest:.3} s"
    )]
    ImpossibleSeconds {
        /// The budget.
        budget: f64,
        /// The predicted seconds of the narrowest network.
        smallest: f64,
    },
    /// No choice within the budgets is as accurate as was asked for.
    #[error(
        "an accuracy of {wanted} is out of reach: {reached} of the calibration images are right at \
         most"
    )]
    Inaccurate {
        /// What was asked for.
        wanted: f64,
        /// That of the widest network within the budgets.
        reached: f64,
    },
    /// The network cannot be quantized.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// The integer network cannot be lowered.
    #[error(transparent)]
    Lower(#[from] fusion::Error),
    /// The calibration images do not fit.
    #[error(transparent)]
    Float(#[from] FloatError),
    /// The network cannot be tuned.
    #[error(transparent)]
    Tune(Box<TuneError>),
    /// The calibration images cannot be encoded for the plan.
    #[error(transparent)]
    Protocol(#[from] protocols::Error),
    /// The widths that were given are not the network's.
    #[error(transparent)]
    Widths(#[from] WidthsError),
    /// Neither a budget nor widths.
    #[error("nothing to search for: give a budget or fixed widths")]
    Nothing,
    /// The network has no layer.
    #[error("the network has no linear layer: there is nothing to quantize")]
    NoLayers,
}

impl From<TuneError> for SearchError {
    fn from(error: TuneError) -> Self {
        Self::Tune(Box::new(error))
    }
}

impl SearchError {
    /// Whether the calibration images are to blame, not the network.
    #[must_use]
    pub const fn is_of_images(&self) -> bool {
        matches!(self, Self::Quantize(QuantizeError::Blank { .. } | QuantizeError::NoImages))
    }

    /// Whether budgets are to blame.
    pub(super) fn is_impossible(&self) -> bool {
        match self {
            Self::Impossible { .. }
            | Self::ImpossibleOnline { .. }
            | Self::ImpossibleSeconds { .. } => true,
            Self::Inaccurate { .. }
            | Self::Quantize(_)
            | Self::Lower(_)
            | Self::Float(_)
            | Self::Protocol(_)
            | Self::Tune(_)
            | Self::Widths(_)
            | Self::Nothing
            | Self::NoLayers => false,
        }
    }
}
