//! How a training went: its loss, and what it says of images that it has not learned from.

use serde::Serialize;

/// Looks at the images that are held back, beside that before the first step.
const LOOKS: u64 = 20;

/// A training after some steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Steps done.
    pub step: u64,
    /// The mean loss of the last batches, in nats; before the first step, of the first batch.
    pub loss: f64,
    /// The part of the images held back of which it says what the teacher does; none where none are
    /// held back.
    pub agreement: Option<f64>,
    /// The part of which it says what their labels do; none where there are none.
    pub accuracy: Option<f64>,
}

impl Point {
    /// Words of a state.
    pub(super) const WORDS: usize = 4;

    pub(super) fn words(&self) -> [u64; Self::WORDS] {
        // No part of a whole is no number.
        let [agreement, accuracy] =
            [self.agreement, self.accuracy].map(|part| part.unwrap_or(f64::NAN).to_bits());
        [self.step, self.loss.to_bits(), agreement, accuracy]
    }

    pub(super) fn of([step, loss, agreement, accuracy]: [u64; Self::WORDS]) -> Self {
        let [agreement, accuracy] = [agreement, accuracy].map(f64::from_bits);
        let [agreement, accuracy] =
            [agreement, accuracy].map(|part| (!part.is_nan()).then_some(part));
        Self { step, loss: f64::from_bits(loss), agreement, accuracy }
    }
}

/// Whether images that are held back are looked at after a step of so many.
pub(super) const fn is_look(step: u64, of: u64) -> bool {
    step == of || step.is_multiple_of(of.div_ceil(LOOKS))
}
