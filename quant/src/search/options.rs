//! What is asked of a search.

use std::str::FromStr;

use protocols::profile::Profile;

use crate::quantise::Winograd;

/// What is asked of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchOptions {
    /// Bits that one inference may move, offline and online, both directions.
    pub budget_bits: Option<u64>,
    /// One width for all layers, instead of a search.
    pub fixed: Option<Uniform>,
    /// The first and the last layer, where the widths are fixed.
    pub ends: Ends,
    /// Which layers become requantised Winograd.
    pub winograd: Winograd,
    /// The network between the parties.
    pub profile: Profile,
    /// Inferences that one session serves.
    pub inferences: u64,
    /// Images that will run together.
    pub batch: usize,
    /// Everything random.
    pub seed: u64,
}

/// One width of weights and one of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uniform {
    /// Width of the weights, 2 to 8.
    pub weight_bits: u8,
    /// Width of the activations, 2 to 8.
    pub activation_bits: u8,
}

/// The widths of the first and the last layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ends {
    /// W8A8.
    #[default]
    Wide,
    /// Those of all other layers.
    Same,
    /// Others.
    Uniform(Uniform),
}

impl FromStr for Uniform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("widths are written wNaM with N and M within 2..=8, such as w4a4; found {text:?}");
        let lower = text.to_ascii_lowercase();
        let (weight, activation) =
            lower.strip_prefix('w').and_then(|rest| rest.split_once('a')).ok_or_else(wrong)?;
        let width =
            |text: &str| text.parse::<u8>().ok().filter(|bits| (2..=8).contains(bits)).ok_or_else(wrong);
        Ok(Self { weight_bits: width(weight)?, activation_bits: width(activation)? })
    }
}

impl FromStr for Ends {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "same" { Ok(Self::Same) } else { text.parse().map(Self::Uniform) }
    }
}
