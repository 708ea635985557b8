//! What the security of a protocol rests on.

use serde::{Deserialize, Serialize};

/// A problem that is taken to be hard, or a primitive that is taken to be ideal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assumption {
    /// Of the base OTs, which every session starts with.
    DiffieHellman,
    /// Of the same.
    RandomOracle,
    /// Of the extension by SoftSpoken, from which Ferret starts, too.
    Prg,
    /// Of the OTs that operators consume, and of the trees of the extension.
    CorrelationRobustness,
    /// Of correlated half-trees: those of linear layers, and Ferret's.
    CircularCorrelationRobustness,
    /// Of Ferret.
    RegularLpn,
    /// Of hints.
    RingLearningWithErrors,
}

impl Assumption {
    /// What is assumed, of what, and what for.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::DiffieHellman => {
                "computational Diffie-Hellman is hard in ristretto255 (base OTs)"
            }
            Self::RandomOracle => "BLAKE3 is a random oracle (keys of the base OTs)",
            Self::Prg => "AES-128 in counter mode is pseudorandom (extension of OTs)",
            Self::CorrelationRobustness => {
                "the hash from AES-128 is correlation robust, in the ideal cipher model (OTs)"
            }
            Self::CircularCorrelationRobustness => {
                "the hash from AES-128 is circular correlation robust, in the ideal cipher model \
                 (half-trees)"
            }
            Self::RingLearningWithErrors => {
                "ring learning with errors is hard in degree 2048, modulo up to 2^46, for secrets \
                 and errors of variance 1 (linear layers by hints)"
            }
            Self::RegularLpn => {
                "learning parity with regular noise under a public sparse code is hard (OTs \
                 by Ferret)"
            }
        }
    }
}
