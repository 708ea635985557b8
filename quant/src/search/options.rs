//! What is asked of a search.

use std::str::FromStr;

use fusion::planner::PlannerOptions;
use protocols::ot::OtExtensions;
use protocols::plan::{Plan, Protocols};
use protocols::profile::Profile;

use super::Measure;
use crate::quantize::{Memory, Ranges, Winograd};

/// What is asked of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchOptions {
    /// Bits that one inference may move, offline and online, both directions.
    pub budget_bits: Option<u64>,
    /// Bits that one inference may move online, both directions.
    pub budget_online_bits: Option<u64>,
    /// Seconds that one inference may take, offline and online.
    pub budget_seconds: Option<f64>,
    /// The fraction of calibration images that must be classified rightly; the cheapest network is
    /// then searched for.
    pub min_accuracy: Option<f64>,
    /// Pairs of widths that are swapped on trial.
    pub swaps: usize,
    /// One width for all layers, instead of a search.
    pub fixed: Option<Uniform>,
    /// The first and the last layer, where the widths are fixed.
    // Fingerprints hold the name of this field: another one would forget what searches have kept.
    pub ends: FirstAndLast,
    /// How the ranges of values are chosen.
    pub ranges: Ranges,
    /// Which layers become requantized Winograd.
    pub winograd: Winograd,
    /// The network between the parties.
    pub profile: Profile,
    /// Inferences that one session serves.
    pub inferences: u64,
    /// Where correlated OTs may come from.
    pub extensions: OtExtensions,
    /// The protocols to choose from for linear layers.
    pub protocols: Protocols,
    /// Images that will run together.
    pub batch: usize,
    /// How the losses of widths are found.
    pub measure: Measure,
    /// Steps of reconstruction; none without.
    pub reconstruct: Option<usize>,
    /// The protocols that move the fewest bits, instead of the fastest ones.
    pub cheapest: bool,
    /// Bytes that the search may take, by estimate: with fewer, fewer images calibrate.
    pub max_memory: u64,
    /// Everything random.
    pub seed: u64,
}

impl Default for SearchOptions {
    /// No goal yet: a budget, an accuracy or fixed widths make one. Protocols for a LAN, and for a
    /// thousand inferences a session.
    fn default() -> Self {
        Self {
            budget_bits: None,
            budget_online_bits: None,
            budget_seconds: None,
            min_accuracy: None,
            swaps: 24,
            fixed: None,
            ends: FirstAndLast::default(),
            ranges: Ranges::default(),
            winograd: Winograd::default(),
            profile: Profile::LAN,
            inferences: 1000,
            extensions: OtExtensions::default(),
            protocols: Protocols::default(),
            batch: 1,
            measure: Measure::default(),
            reconstruct: None,
            cheapest: false,
            max_memory: Memory::DEFAULT,
            seed: 0,
        }
    }
}

impl SearchOptions {
    /// Whether there is anything to search for.
    pub(super) const fn is_bounded(&self) -> bool {
        self.budget_bits.is_some()
            || self.budget_online_bits.is_some()
            || self.budget_seconds.is_some()
            || self.min_accuracy.is_some()
    }

    /// What plans are made for.
    pub(super) const fn purpose(&self) -> PlannerOptions {
        PlannerOptions {
            profile: self.profile,
            inferences: self.inferences,
            batch: self.batch,
            budget_bits: self.budget_bits,
            extensions: self.extensions,
            protocols: self.protocols,
            lean: self.budget_seconds.is_none(),
        }
    }

    /// Seconds of one inference, offline and online, by the model of work and of the connection.
    pub(crate) fn seconds(&self, plan: &Plan) -> f64 {
        let images = self.batch.max(1);
        let steps = plan.step_seconds(&self.profile, images);
        steps.iter().map(|step| step.offline + step.online).sum::<f64>() / images as f64
    }
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
pub enum FirstAndLast {
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
        Self::parse(&text.to_ascii_lowercase()).ok_or_else(|| {
            format!(
                "widths are written wNaM with N and M within 2..=8, such as w4a4; found {text:?}"
            )
        })
    }
}

impl Uniform {
    fn parse(text: &str) -> Option<Self> {
        let (weight, activation) = text.strip_prefix('w')?.split_once('a')?;
        Some(Self { weight_bits: width(weight)?, activation_bits: width(activation)? })
    }
}

fn width(text: &str) -> Option<u8> {
    text.parse().ok().filter(|bits| (2..=8).contains(bits))
}

impl FromStr for FirstAndLast {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "same" { Ok(Self::Same) } else { text.parse().map(Self::Uniform) }
    }
}
