//! Reshaping: from a model to one of fewer nonlinear layers or ReLUs, or of polynomials, trained
//! again.

use quant::reshape::{
    BlockReport, IMAGES, LinearizeOptions, Linearizer, PolynomialOptions, PolynomialReport,
    Polynomials, ReluReport, ReshapeError, ReshapeOptions, ReshapePrice, Reshaper,
};
use quant::tune::{Source, TuneError, TuneProgress};
use quant::{Preprocess, Tensor};

use crate::{Error, Images, Model};

/// A network of another shape.
#[derive(Clone, Debug)]
pub struct Reshaped {
    /// The network.
    pub model: Model,
    /// The blocks of the first one, and what stands for them now.
    pub blocks: Vec<BlockReport>,
    /// What one private inference of the first network costs, and of this one.
    pub prices: [ReshapePrice; 2],
}

/// Replaces blocks of a model, each by one convolution or, if `options` say so, by nothing; then
/// trains all weights, with the model as their teacher.
///
/// The first images of the first file choose what is replaced. Labels are learned from too, where
/// files have any. `progress` is told after each step.
///
/// # Errors
/// There are no images, or they do not fit the model; it has fewer blocks than were asked for, or
/// cannot be quantized and planned as the options say; or the training diverges.
pub fn reshape(
    model: &Model,
    images: &[Images],
    options: &ReshapeOptions,
    progress: &mut dyn FnMut(TuneProgress),
) -> Result<Reshaped, Error> {
    let (preprocess, batch, source) = material(images)?;
    let chosen = (preprocess, &batch);
    let mut reshaper = Reshaper::new(&model.0, chosen, source, options, &mut |_| ())?;
    reshaper.learner().learn(progress).map_err(ReshapeError::from)?;
    Ok(Reshaped {
        model: Model(reshaper.model().clone()),
        blocks: reshaper.blocks().to_vec(),
        prices: reshaper.prices(),
    })
}

/// A network with fewer ReLUs.
#[derive(Clone, Debug)]
pub struct Linearized {
    /// The network.
    pub model: Model,
    /// The layers with ReLUs, and how many of theirs are kept.
    pub relus: Vec<ReluReport>,
    /// What one private inference of the first network costs, and of this one.
    pub prices: [ReshapePrice; 2],
}

/// Makes ReLUs of a model linear, those that matter least; then trains all weights, with the model
/// as their teacher.
///
/// Labels are learned from too, where files have any. `progress` is told after each step.
///
/// # Errors
/// There are no images, or they do not fit the model; no ReLU of it can be linearized; it cannot be
/// quantized and planned as the options say; or the training diverges.
pub fn linearize(
    model: &Model,
    images: &[Images],
    options: &LinearizeOptions,
    progress: &mut dyn FnMut(TuneProgress),
) -> Result<Linearized, Error> {
    let (preprocess, batch, source) = material(images)?;
    let mut linearizer = Linearizer::new(&model.0, (preprocess, &batch), source, options)?;
    linearizer.learner().learn(progress).map_err(ReshapeError::from)?;
    Ok(Linearized {
        model: Model(linearizer.model()),
        relus: linearizer.relus(),
        prices: linearizer.prices()?,
    })
}

/// A network with polynomials in the place of ReLUs, or with other poolings.
#[derive(Clone, Debug)]
pub struct WithPolynomials {
    /// The network.
    pub model: Model,
    /// The nodes that were looked at, and which have become something else.
    pub relus: Vec<PolynomialReport>,
    /// What one private inference of the first network costs, and of this one.
    pub prices: [ReshapePrice; 2],
}

/// Makes ReLUs of a model polynomials of degree two, one for each channel, and poolings the other
/// kind; then trains all weights, with the model as their teacher.
///
/// The first images of the first file settle what polynomials are at first, and which ReLUs lose
/// least. Labels are learned from too, where files have any. `progress` is told after each step.
///
/// # Errors
/// There are no images, or they do not fit the model; it has fewer ReLUs than were asked for, or
/// none of a name; it cannot be quantized and planned as the options say; or the training diverges.
pub fn polynomials(
    model: &Model,
    images: &[Images],
    options: &PolynomialOptions,
    progress: &mut dyn FnMut(TuneProgress),
) -> Result<WithPolynomials, Error> {
    let (preprocess, batch, source) = material(images)?;
    let chosen = (preprocess, &batch);
    let mut polynomials = Polynomials::new(&model.0, chosen, source, options, &mut |_| ())?;
    polynomials.learner().learn(progress).map_err(ReshapeError::from)?;
    Ok(WithPolynomials {
        model: Model(polynomials.model().clone()),
        relus: polynomials.relus().to_vec(),
        prices: polynomials.prices(),
    })
}

/// What a reshaping looks at first, and what it learns from: the first images of the first file,
/// and all of them, preprocessed alike.
fn material(images: &[Images]) -> Result<(&Preprocess, Tensor, Source<'_>), Error> {
    let (first, source) = Images::lessons(images).ok_or(ReshapeError::from(TuneError::NoImages))?;
    Ok((first.preprocess(), first.take(IMAGES).tensor()?, source))
}
