//! What a plan chooses for a linear layer: how it becomes products, and how these are computed.

use serde::{Deserialize, Serialize};

/// How a convolution becomes products: see [`super::winograd`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// As it is defined.
    #[default]
    Direct,
    /// Winograd's F(2x2, 3x3), equal to direct integer for integer, for weights of at most 4 bits.
    WinogradExact,
    /// Winograd's F(2x2, 3x3) with weights that are given in its domain.
    Winograd,
}

impl Algorithm {
    /// Its name before that of the protocol, in reports.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Direct => "",
            Self::WinogradExact => "exact winograd ",
            Self::Winograd => "winograd ",
        }
    }
}

/// How a linear layer is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Protocol {
    /// Punctured trees of `2^k` leaves.
    Vole {
        /// Digits of one tree together: 1 to 8 bits.
        k: u8,
    },
    /// Bitwise correlated transfers.
    Cot,
    /// Trees of `2^k` leaves that are punctured at the digits of the client's mask, made anew for
    /// every inference.
    VoleOfMask {
        /// Bits of a digit, 1 to 8.
        k: u8,
    },
}

impl Protocol {
    /// Every protocol.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_weights = (2..=8).map(|k| Self::Vole { k });
        let of_mask = (1..=8).map(|k| Self::VoleOfMask { k });
        std::iter::once(Self::Cot).chain(of_weights).chain(of_mask)
    }

    /// Its name, in reports.
    pub(crate) fn label(self) -> String {
        match self {
            Self::Vole { k } => format!("vole k={k}"),
            Self::Cot => "cot".into(),
            Self::VoleOfMask { k } => format!("vole of mask k={k}"),
        }
    }
}
