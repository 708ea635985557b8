//! Networks with fewer nonlinear layers: blocks of a float network, each replaced by one
//! convolution or dropped, and the whole trained again with the first network as its teacher.
//! (CoPriv: Zeng et al., NeurIPS 2023.)
//!
//! 1. A block is a chain of convolutions with functions between (`block.rs`). Without the functions
//!    it is linear, and one convolution can stand for it: that of the least squares on the inputs
//!    that it has (`fit.rs`).
//! 2. Each replacement alone has a loss, measured, and a saving: the difference of whole plans'
//!    prices (`judge.rs`). Those that lose least for what they save are chosen (`choose.rs`).
//! 3. Those that follow each other are fitted again, each to what those before it make of images.
//! 4. All weights learn from the teacher's logits and from labels (`quant/src/floats.rs`).

mod block;
mod choose;
mod error;
mod fit;
mod judge;
mod linearize;
mod polynomial;
mod surgery;

use model::{Model, Preprocess, Tensor};

pub use choose::{Alternative, BlockReport};
pub use error::ReshapeError;
pub use judge::ReshapePrice;
pub use linearize::{Granularity, LinearizeOptions, Linearizer, ReluReport};
pub use polynomial::{
    ActivationPrices, GateOptions, PolynomialOptions, PolynomialPrices, PolynomialReport,
    PolynomialStart, Polynomials, ReluSelection, Replacement,
};

use crate::floats::Floats;
use crate::quantize::first_images;
use crate::search::{Progress, SearchOptions, Uniform};
use crate::tune::{Learner, Source, Training, TuneError, TuneOptions};

/// The largest kernel that may stand for a block.
const MAX_KERNEL: usize = 15;

/// Images that convolutions are fitted to and judged by, all together.
pub const IMAGES: usize = 1280;

/// Images that something is fitted to, at most; the others judge it.
const FITTED: usize = 256;

/// What is asked of a network's new shape.
#[derive(Clone, Debug, PartialEq)]
pub struct ReshapeOptions {
    /// Blocks to replace.
    pub blocks: usize,
    /// Kernels of the convolutions that may stand for them: odd numbers.
    pub kernels: Vec<usize>,
    /// Whether blocks may be dropped, too.
    pub drop: bool,
    /// What is to be saved.
    pub saving: Saving,
    /// Fixed widths, link and protocols that networks are priced with.
    pub prices: SearchOptions,
    /// The training behind it.
    pub training: TuneOptions,
    /// How far a weight moves in a step, about, where the rate is highest.
    pub rate: f32,
}

/// What is to be saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Saving {
    /// Bits of one inference.
    #[default]
    Bits,
    /// Seconds of one inference on the link.
    Seconds,
}

impl Saving {
    /// A price, as it is told: seconds are small numbers.
    pub fn told(self, price: f64) -> String {
        match self {
            Self::Bits => format!("{price:.0}"),
            Self::Seconds => format!("{price:.4}"),
        }
    }
}

impl Default for ReshapeOptions {
    /// Three blocks by 3x3 convolutions, priced in bits at W4A4.
    fn default() -> Self {
        let fixed = Some(Uniform { weight_bits: 4, activation_bits: 4 });
        Self {
            blocks: 3,
            kernels: vec![3],
            drop: false,
            saving: Saving::default(),
            prices: SearchOptions { fixed, ..SearchOptions::default() },
            training: TuneOptions::default(),
            rate: 4e-4,
        }
    }
}

/// A network that is being reshaped: blocks are chosen, and it is trained.
pub struct Reshaper<'a> {
    training: Training<'a, Floats>,
    blocks: Vec<BlockReport>,
    before: ReshapePrice,
    after: ReshapePrice,
    loss: f64,
}

impl<'a> Reshaper<'a> {
    /// Chooses and replaces blocks. The first half of `images`, up to 256 of them, is what
    /// convolutions are fitted to; the others judge them. `source` is what the training learns
    /// from, preprocessed alike.
    ///
    /// # Errors
    /// There are fewer blocks than were asked for, or a kernel is none; the images do not fit the
    /// network, or there are none; or it cannot be quantized and planned as the options say.
    pub fn new(
        model: &Model,
        (preprocess, images): (&Preprocess, &Tensor),
        source: Source<'a>,
        options: &ReshapeOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, ReshapeError> {
        if images.images() == 0 {
            return Err(TuneError::NoImages.into());
        }
        let chosen = choose::choose(model, preprocess, images, options, progress)?;
        let price = |model: &Model| ReshapePrice::of(model, preprocess, images, &options.prices);
        let (before, after) = (price(model)?, price(&chosen.model)?);
        let floats = Floats::new(chosen.model, options.rate);
        let training = Training::new(model, floats, source, options.training)?;
        Ok(Self { training, blocks: chosen.blocks, before, after, loss: chosen.loss })
    }

    /// The network as it is.
    pub const fn model(&self) -> &Model {
        self.training.parameters().model()
    }

    /// The blocks of the first network, in its order.
    pub fn blocks(&self) -> &[BlockReport] {
        &self.blocks
    }

    /// What the first network and the new one cost, by the plans that a search makes for them.
    pub const fn prices(&self) -> [ReshapePrice; 2] {
        [self.before, self.after]
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

/// Images that something is fitted to, and others that judge it, where there are any: what fits
/// chance in few images would look better than it is by the same ones.
fn split(images: &Tensor) -> (Tensor, Tensor) {
    let count = images.images().div_ceil(2).min(FITTED);
    let fitted = first_images(images, count);
    let [all, c, h, w] = images.shape;
    let rest = images.data[count * c * h * w..].to_vec();
    let others = Tensor { shape: [all - count, c, h, w], data: rest };
    let others = if others.images() > 0 { others } else { fitted.clone() };
    (fitted, others)
}

#[cfg(test)]
mod tests;
