//! Networks of fixed widths whose integers are trained.

use super::planned::{impossible, planned};
use super::widths::uniform;
use super::{Found, Prepared, Progress, SearchError, SearchOptions};
use crate::quantize::Winograd;
use crate::tune::{Source, TuneOptions, Tuner};

impl Prepared<'_> {
    /// A training that starts from the integers that a search with the same options finds, without
    /// requantized Winograd.
    ///
    /// # Errors
    /// [`SearchError::Nothing`] where no widths are fixed; or what [`Tuner::new`] says.
    pub fn tuner<'s>(
        &self,
        options: &SearchOptions,
        source: Source<'s>,
        tune: &TuneOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Tuner<'s>, SearchError> {
        let fixed = options.fixed.ok_or(SearchError::Nothing)?;
        let bit_widths = uniform(self.quantizer.activations(), fixed, options.ends);
        let exact = SearchOptions { winograd: Winograd::default(), ..*options };
        let (graph, weights) = self.finish(&bit_widths, &exact, progress)?;
        Ok(Tuner::new(self.model, (&graph, &weights), source, *tune)?)
    }

    /// Plans the network of a training, as a search with the same options would.
    ///
    /// # Errors
    /// Accumulators have become too wide; or no plan is within the budgets.
    pub fn tuned(
        &self,
        options: &SearchOptions,
        tuner: &Tuner<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Found, SearchError> {
        let fixed = options.fixed.ok_or(SearchError::Nothing)?;
        let bit_widths = uniform(self.quantizer.activations(), fixed, options.ends);
        let network = tuner.network()?;
        progress(Progress { phase: "protocols", done: 0, of: 1 });
        let Some(plan) = planned(&network, options)? else {
            return Err(impossible(&network, options)?);
        };
        self.found(&bit_widths, plan, network.1, options, progress)
    }
}
