//! Training: from a model to a network of low widths whose integers were learned.

use quant::search::{self, LayerWidths, SearchOptions};
use quant::tune::{TuneError, TuneOptions, TuneProgress};

use crate::{Error, Found, Images, Model};

/// Images that calibrate, from the first of those to learn from.
pub const CALIBRATION: usize = 256;

/// Trains the integers of a network at the widths that are given, or that the options of `goal` fix
/// or bound by budgets: what [`search`](crate::search) finds is the start. With budgets,
/// accumulators are held within the rings of the start, but for those of weights in Winograd's
/// domain: should these grow, the network found may be over its budget. The teacher is the model
/// itself where none is given: one that was reshaped learns from what it was.
///
/// The first images of the first file calibrate. Labels are learned from too, where files have
/// any. Layers that the options requantize for Winograd learn their weights in its domain.
/// `progress` is told after each step.
///
/// # Errors
/// There are no images, or they do not fit the model; neither widths nor a budget are given; widths
/// are given of other layers; the teacher takes other images or tells other classes apart; the
/// network's integers are too large to be trained; or the training diverges.
pub fn tune(
    model: &Model,
    teacher: Option<&Model>,
    images: &[Images],
    goal: (&SearchOptions, Option<&[LayerWidths]>),
    tune: &TuneOptions,
    progress: &mut dyn FnMut(TuneProgress),
) -> Result<Found, Error> {
    let (first, source) =
        Images::lessons(images).ok_or(search::SearchError::from(TuneError::NoImages))?;
    let batch = first.take(CALIBRATION).tensor()?;
    let calibration = search::Images { batch: &batch, labels: None, held_back: None };
    let model = search::equalized(&model.0, &batch).map_err(search::SearchError::from)?;
    let (preprocess, told) = (first.preprocess(), &mut |_| ());
    let prepared = search::Prepared::for_training(&model, preprocess, &calibration, goal, told)?;
    let teacher = teacher.map(|model| &model.0);
    let mut tuner = prepared.tuner(teacher, goal, source, tune, told)?;
    tuner.learner().learn(progress).map_err(search::SearchError::from)?;
    Found::of(prepared.tuned(goal.0, &tuner, &mut |_| ())?)
}
