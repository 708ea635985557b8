//! A training as bytes: everything that its next step depends on, beside its arguments.
//!
//! Little-endian words: the kind of parameters, a fingerprint of the options, the step, the loss;
//! then all parameters with their moments, and the points of the curve.

use super::Parameters;
use super::TuneError;
use super::curve::Point;
use super::guard::Losses;
use super::training::Training;

/// Words before the parameters.
const WORDS: usize = 12;

/// The steps in all of the training that a state is of; none where it is no state.
pub fn steps_of(state: &[u8]) -> Option<u64> {
    // The second word, behind the kind of parameters.
    state.as_chunks().0.get(1).map(|word| u64::from_le_bytes(*word))
}

impl<P: Parameters> Training<'_, P> {
    /// The state between two steps.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Losses { first, mean, halvings } = self.losses;
        let words: [u64; WORDS] = [
            u64::from_le_bytes(P::MAGIC),
            self.options.steps,
            self.options.batch as u64,
            self.options.seed,
            self.source.len() as u64,
            self.numbers() as u64,
            self.step,
            u64::from(halvings),
            first.to_bits(),
            mean.to_bits(),
            self.held.len() as u64,
            self.points.len() as u64,
        ];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        for list in self.parameters.lists() {
            bytes.extend(list.iter().flat_map(|value| value.to_le_bytes()));
        }
        for point in &self.points {
            bytes.extend(point.words().iter().flat_map(|word| word.to_le_bytes()));
        }
        bytes
    }

    /// Goes on where a training with the same arguments was.
    ///
    /// # Errors
    /// The state is of other arguments, which the error names, or is no state.
    pub(super) fn read_bytes(&mut self, state: &[u8]) -> Result<(), TuneError> {
        let parameters = 4 * self.numbers();
        // The last word of the head says how many points follow the parameters.
        let told = words(state).get(WORDS - 1).copied().unwrap_or(0);
        let length = told.saturating_mul(8 * Point::WORDS as u64);
        let length = length.saturating_add((WORDS * 8 + parameters) as u64);
        expect("bytes", length, state.len() as u64)?;
        let (head, rest) = state.split_at(WORDS * 8);
        let (values, points) = rest.split_at(parameters);
        let (words, points) = (words(head), words(points));
        let fixed = [
            ("format", u64::from_le_bytes(P::MAGIC)),
            ("steps", self.options.steps),
            ("images of a batch", self.options.batch as u64),
            ("seed", self.options.seed),
            ("training images", self.source.len() as u64),
            ("parameters and moments", self.numbers() as u64),
        ];
        for ((what, expected), &found) in fixed.into_iter().zip(&words) {
            expect(what, expected, found)?;
        }
        expect("held-back images", self.held.len() as u64, words[10])?;
        self.points = points.as_chunks().0.iter().map(|words| Point::of(*words)).collect();
        self.step = words[6];
        self.losses = Losses {
            halvings: words[7] as u32,
            first: f64::from_bits(words[8]),
            mean: f64::from_bits(words[9]),
        };
        let mut values = values.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value));
        for list in self.parameters.lists_mut() {
            list.iter_mut().zip(&mut values).for_each(|(value, read)| *value = read);
        }
        Ok(())
    }

    /// Parameters and their moments.
    fn numbers(&self) -> usize {
        self.parameters.lists().iter().map(|list| list.len()).sum()
    }
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

fn expect(what: &'static str, expected: u64, found: u64) -> Result<(), TuneError> {
    if expected == found { Ok(()) } else { Err(TuneError::State { what, expected, found }) }
}
