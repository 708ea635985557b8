//! Distillation: from a model that knows nothing, or too little, to one that another has taught.

use quant::distill::{DistillOptions, Distiller};
use quant::tune::{TuneError, TuneProgress};

use crate::{Error, Images, Model};

/// Trains all weights of a model, with another one as its teacher.
///
/// Labels are learned from too, where files have any. `progress` is told after each step.
///
/// # Errors
/// There are no images, or they do not fit the model; the teacher takes other images or tells other
/// classes apart; or the training diverges.
pub fn distill(
    model: &Model,
    teacher: &Model,
    images: &[Images],
    options: &DistillOptions,
    progress: &mut dyn FnMut(TuneProgress),
) -> Result<Model, Error> {
    let (_, source) = Images::lessons(images).ok_or(TuneError::NoImages)?;
    let mut distiller = Distiller::new(&model.0, &teacher.0, source, options)?;
    distiller.learner().learn(progress)?;
    Ok(Model(distiller.model().clone()))
}
