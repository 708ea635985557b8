//! What a plan chooses for a linear layer: how it becomes products, and how these are computed.

use serde::{Deserialize, Serialize};

use super::protocol::LinearProtocol;
use super::{Hint, vole, vole_of_activations};
use crate::assumption::Assumption;

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
    /// Trees of `2^k` leaves, punctured at digits of the weights, for all inferences of a session.
    Vole {
        /// Digits of one tree together: 1 to 8 bits.
        k: u8,
    },
    /// Bitwise correlated OTs.
    Cot,
    /// Trees of `2^k` leaves that are punctured at the digits of the client's mask of the
    /// activations, made anew for every inference.
    VoleOfActivations {
        /// Bits of a digit, 1 to 8.
        k: u8,
    },
    /// Ring learning with errors under public polynomials.
    Hint(Hint),
}

/// Which protocols a planner may choose of for linear layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocols {
    /// All there are.
    #[default]
    All,
    /// Those whose security rests on oblivious transfer alone: no lattices.
    Ot,
}

impl Protocols {
    /// Whether a protocol is one of them.
    pub const fn contain(self, protocol: Protocol) -> bool {
        match self {
            Self::All => true,
            Self::Ot => protocol.hint().is_none(),
        }
    }
}

impl std::str::FromStr for Protocols {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "ot" => Ok(Self::Ot),
            _ => Err(format!("protocols are all or ot; found {text:?}")),
        }
    }
}

impl Protocol {
    /// Every protocol of trees, with its parameters.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_weights = (2..=8).map(|k| Self::Vole { k });
        let of_activations = (1..=8).map(|k| Self::VoleOfActivations { k });
        std::iter::once(Self::Cot).chain(of_weights).chain(of_activations)
    }

    /// Its hint's parameters, where it is one.
    pub const fn hint(&self) -> Option<&Hint> {
        match self {
            Self::Hint(hint) => Some(hint),
            Self::Vole { .. } | Self::Cot | Self::VoleOfActivations { .. } => None,
        }
    }

    /// Whether it leaves a carry in the shares of its result.
    pub(crate) fn carries(&self) -> bool {
        self.hint().is_some_and(|hint| hint.carry)
    }

    /// The protocol itself.
    pub(super) fn body(self) -> Box<dyn LinearProtocol> {
        match self {
            Self::Vole { k } => Box::new(vole::Vole::of(k)),
            Self::Cot => Box::new(vole::Vole::cot()),
            Self::Hint(hint) => Box::new(hint),
            Self::VoleOfActivations { k } => Box::new(vole_of_activations::Vole { k }),
        }
    }

    /// Its name, in reports.
    pub(crate) fn label(self) -> String {
        self.body().name()
    }

    /// What its security rests on, beside that of the OTs.
    pub(crate) fn assumptions(self) -> &'static [Assumption] {
        self.body().assumptions()
    }
}
