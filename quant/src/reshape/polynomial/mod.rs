//! Networks with polynomials of degree two in the place of ReLUs, one for each channel, and with
//! poolings of the other kind.
//! (PolyMPCNet: Peng, Zhou, Luo, Xu, Duan, Ran, Zhao, Huang, Geng, Wen, Ding, 2022.)
//!
//! 1. Each polynomial is the parabola that is nearest to the ReLU on the values that its channel
//!    has (`parabola.rs`). Between layers it is a square and nothing else (`surgery.rs`).
//! 2. Those that are asked for, or those that lose least by themselves, are put in place in the
//!    network's order, each fitted to what those before it make of images (`choose.rs`). Or gates
//!    say which, that are trained with what each saves in the loss (`gates.rs`).
//! 3. All weights learn from the first network and from labels, as of other reshapings: the
//!    polynomials' numbers are in weights and biases.

mod choose;
mod gates;
mod mixture;
mod parabola;
mod place;
mod pooling;
mod prices;
mod surgery;

use std::fmt;
use std::str::FromStr;

use model::{Model, Preprocess, Tensor};

pub use choose::PolynomialReport;
pub use gates::GateOptions;
pub use place::Replacement;
pub use prices::{ActivationPrices, PolynomialPrices};

use super::{ReshapeError, ReshapePrice};
use crate::floats::Floats;
use crate::search::{Progress, SearchOptions, Uniform};
use crate::tune::{Learner, Source, Training, TuneError, TuneOptions};

/// What is asked of a network with polynomials, or with other poolings.
#[derive(Clone, Debug, PartialEq)]
pub struct PolynomialOptions {
    /// The ReLUs that become polynomials, and the poolings that become the other kind.
    pub relus: ReluSelection,
    /// Where polynomials start from.
    pub start: PolynomialStart,
    /// How gates are trained that say which of [`ReluSelection::Saving`] it is to be; without,
    /// those that lose least for what they save.
    pub gates: Option<GateOptions>,
    /// What says how much each saves.
    pub saving: PolynomialPrices,
    /// Fixed widths, link and protocols that networks are priced with.
    pub prices: SearchOptions,
    /// The training behind it.
    pub training: TuneOptions,
    /// How far a weight moves in a step, about, where the rate is highest.
    pub rate: f32,
}

/// Some of a network's nodes of ReLUs and of its poolings.
#[derive(Clone, Debug, PartialEq)]
pub enum ReluSelection {
    /// So many of ReLUs: those that lose least, each by itself and without training.
    Count(usize),
    /// Those of these names.
    Named(Vec<String>),
    /// All that save anything, or those whose gates open; those that lose least for it, or are open
    /// widest, first, but for those with which all together would lose more than so many nats,
    /// without training.
    Saving(f64),
}

/// What polynomials are at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolynomialStart {
    /// The nearest parabolas to the ReLUs on the values that channels have.
    #[default]
    LeastSquares,
    /// `0.005 x^2 + x`: for networks that are not trained yet. (PolyMPCNet's start.)
    NearIdentity,
}

impl Default for PolynomialOptions {
    /// Three nodes, from least squares, priced at W4A4.
    fn default() -> Self {
        let fixed = Some(Uniform { weight_bits: 4, activation_bits: 4 });
        Self {
            relus: ReluSelection::Count(3),
            start: PolynomialStart::default(),
            gates: None,
            saving: PolynomialPrices::default(),
            prices: SearchOptions { fixed, ..SearchOptions::default() },
            training: TuneOptions::default(),
            rate: 4e-4,
        }
    }
}

/// A network whose ReLUs are becoming polynomials.
pub struct Polynomials<'a> {
    training: Training<'a, Floats>,
    relus: Vec<PolynomialReport>,
    prices: [ReshapePrice; 2],
    loss: f64,
}

impl<'a> Polynomials<'a> {
    /// Puts polynomials in the place of ReLUs, and the other kind in that of poolings. The first
    /// half of `images`, up to 256 of them, is what they are fitted to; the others judge them.
    /// `source` is what the training learns from, preprocessed alike.
    ///
    /// # Errors
    /// There are fewer ReLUs than were asked for, or none of a name; all that save are asked for,
    /// and none does, or none loses as little; the images do not fit the network, or there are
    /// none; or it cannot be quantized and planned as the options say.
    pub fn new(
        model: &Model,
        (preprocess, images): (&Preprocess, &Tensor),
        source: Source<'a>,
        options: &PolynomialOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, ReshapeError> {
        if images.images() == 0 {
            return Err(TuneError::NoImages.into());
        }
        let chosen = choose::choose(model, (preprocess, images), &source, options, progress)?;
        let before = ReshapePrice::of(model, preprocess, images, &options.prices)?;
        let after = ReshapePrice::of(&chosen.model, preprocess, images, &options.prices)?;
        let floats = Floats::new(chosen.model, options.rate);
        let training = Training::new(model, floats, source, options.training)?;
        Ok(Self { training, relus: chosen.relus, prices: [before, after], loss: chosen.loss })
    }

    /// The network as it is.
    pub const fn model(&self) -> &Model {
        self.training.parameters().model()
    }

    /// The nodes that were looked at, in the first network's order: all, or those that were named.
    pub fn relus(&self) -> &[PolynomialReport] {
        &self.relus
    }

    /// What the first network and the new one cost, by the plans that a search makes for them.
    pub const fn prices(&self) -> [ReshapePrice; 2] {
        self.prices
    }

    /// The divergence of the new network's answers from the first one's before any training, in
    /// nats.
    pub const fn loss(&self) -> f64 {
        self.loss
    }

    /// What takes it from step to step.
    pub const fn learner(&mut self) -> &mut (dyn Learner + 'a) {
        &mut self.training
    }
}

impl fmt::Display for PolynomialStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeastSquares => "least-squares",
            Self::NearIdentity => "near-identity",
        })
    }
}

impl FromStr for PolynomialStart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "least-squares" => Ok(Self::LeastSquares),
            "near-identity" => Ok(Self::NearIdentity),
            _ => Err("expected least-squares or near-identity".into()),
        }
    }
}

#[cfg(test)]
mod tests;
