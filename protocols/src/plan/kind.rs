//! What a step is called where people read of it.

use serde::{Deserialize, Serialize};

use super::Op;
use crate::ops::Form;

/// The step that extends oblivious transfers for one batch.
pub const CORRELATIONS: &str = "correlations";

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

impl Op {
    /// What the step is, for the report; a view is none, it is free.
    pub const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Input { .. } | Self::Output { .. } => Some(Kind::Io),
            Self::Linear { .. } => Some(Kind::Linear),
            Self::Requant { .. } | Self::Lookup { .. } | Self::Argmax { .. } => {
                Some(Kind::Nonlinear)
            }
            Self::SumPool { .. } | Self::MaxPool { .. } => Some(Kind::Pool),
            Self::View { .. } => None,
        }
    }

    /// How the step is done, for the report.
    pub fn protocol(&self) -> String {
        match self {
            Self::Input { .. } => "share".into(),
            Self::Output { .. } => "reveal".into(),
            Self::Linear { algorithm, protocol, .. } => {
                format!("{}{}", algorithm.label(), protocol.label())
            }
            Self::Requant { levels, form: Form::Narrow, .. } => format!("narrow levels={levels}"),
            Self::Requant { levels, form: Form::Wide, .. } => format!("wide levels={levels}"),
            Self::SumPool { .. } => "sum".into(),
            Self::MaxPool { digit, .. } => format!("max digit={digit}"),
            Self::Lookup { table, .. } => format!("lookup of {}", table.len()),
            Self::Argmax { digit, .. } => format!("argmax digit={digit}"),
            Self::View { .. } => "local".into(),
        }
    }
}
