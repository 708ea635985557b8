//! What goes from step to step, whatever is trained.

use super::curve::Point;
use super::{TuneError, TuneProgress};

/// What goes from step to step.
pub trait Learner {
    /// Where the training is.
    fn progress(&self) -> TuneProgress;

    /// Whether all steps are done.
    fn is_done(&self) -> bool {
        let TuneProgress { step, of, .. } = self.progress();
        step >= of
    }

    /// How it went so far.
    fn curve(&self) -> &[Point];

    /// How many images are held back.
    fn held_back(&self) -> usize;

    /// Sets the number of steps in all, where no step has been done yet: rates depend on it.
    fn plan(&mut self, steps: u64);

    /// Learns from one batch.
    ///
    /// # Errors
    /// An image cannot be read; or the loss has grown in spite of rates halved three times.
    fn step(&mut self) -> Result<(), TuneError>;

    /// Does all steps that are left, and says after each where the training is.
    ///
    /// # Errors
    /// Those of a step.
    fn learn(&mut self, progress: &mut dyn FnMut(TuneProgress)) -> Result<(), TuneError> {
        while !self.is_done() {
            self.step()?;
            progress(self.progress());
        }
        Ok(())
    }

    /// The state between two steps.
    fn state(&self) -> Vec<u8>;

    /// Goes on where a training with the same arguments was.
    ///
    /// # Errors
    /// The state is of other arguments, which the error names, or is no state.
    fn restore(&mut self, state: &[u8]) -> Result<(), TuneError>;
}
