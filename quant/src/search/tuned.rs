//! Networks whose integers are trained, at widths that are fixed or found.

use model::{Model, Preprocess};

use super::listed::{LayerWidths, listed};
use super::planned::{planned, smallest};
use super::prepared::Settled;
use super::widths::uniform;
use super::{Found, Images, Prepared, Progress, SearchError, SearchOptions};
use crate::quantize::BitWidths;
use crate::tune::{Learner, Source, TuneOptions, Tuner};

/// A training of the integers of a search.
pub struct Tuning<'s> {
    bit_widths: BitWidths,
    tuner: Tuner<'s>,
}

impl<'s> Tuning<'s> {
    /// What takes it from step to step.
    pub const fn learner(&mut self) -> &mut (dyn Learner + 's) {
        self.tuner.learner()
    }
}

impl<'a> Prepared<'a> {
    /// What a training is made of, for the same options and widths: where these are given, nothing
    /// is measured that they would be chosen by.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn for_training(
        model: &'a Model,
        preprocess: &Preprocess,
        images: &Images<'a>,
        (options, widths): (&SearchOptions, Option<&[LayerWidths]>),
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, SearchError> {
        match widths {
            None => Self::new(model, preprocess, images, options, None, progress),
            Some(_) => Self::calibrated(model, preprocess, images, options, progress),
        }
    }

    /// A training that starts from the integers that a search with the same options finds, or from
    /// those of the widths that are given. Where there are budgets, accumulators are held within
    /// the rings of the start, which is within the budgets. The teacher is the network itself, or
    /// another one with the same input and outputs.
    ///
    /// # Errors
    /// What a search says; the widths are not the network's; the teacher has other inputs or
    /// outputs; or what [`Tuner::new`] says.
    pub fn tuner<'s>(
        &self,
        teacher: Option<&Model>,
        (options, widths): (&SearchOptions, Option<&[LayerWidths]>),
        source: Source<'s>,
        tune: &TuneOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Tuning<'s>, SearchError> {
        let activations = self.quantizer.activations();
        let given = match (widths, options.fixed) {
            (Some(widths), _) => Some(listed(self.model, activations, widths)?),
            (None, Some(fixed)) => Some(uniform(activations, fixed, options.ends)),
            (None, None) => None,
        };
        // The plan of the start is only a proof that there is one: training may ask for another.
        let Settled { bit_widths, network, .. } = match given {
            None => self.settle(options, progress)?,
            Some(given) => self.start(given, options, progress)?,
        };
        let teacher = teacher.unwrap_or(self.model);
        let tune = TuneOptions { hold: tune.hold || options.is_bounded(), ..*tune };
        let tuner = Tuner::new(self.model, (&network.0, &network.1), teacher, source, tune)?;
        Ok(Tuning { bit_widths, tuner })
    }

    /// Plans the network of a training, as a search with the same options would. Where its
    /// accumulators have grown so wide that no plan is within the budgets, it is the one that moves
    /// the fewest bits: a training is not thrown away for that.
    ///
    /// # Errors
    /// Accumulators have become too wide for any plan.
    pub fn tuned(
        &self,
        options: &SearchOptions,
        tuning: &Tuning<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Found, SearchError> {
        let network = tuning.tuner.network()?;
        progress(Progress { phase: "protocols", done: 0, of: 1 });
        // A training takes long: what it has found is kept, and who asked for a budget is told that
        // it is beyond.
        let plan = match planned(&network, options)? {
            Some(plan) => plan,
            None => smallest(&network.0, &network.1, options)?,
        };
        self.found(&tuning.bit_widths, plan, network.1, options, progress)
    }
}
