//! A training as bytes: everything that its next step depends on, beside its arguments.
//!
//! Little-endian words: a fingerprint of the network and of the options, the step, the curve; then
//! latents, biases and moments of every layer.

use train::Adam;

use super::{Curve, TuneError, Tuner};

/// The format's name and version.
const MAGIC: u64 = u64::from_le_bytes(*b"pqtune01");

impl Tuner<'_> {
    /// The state between two steps.
    pub fn state(&self) -> Vec<u8> {
        let Curve { first, mean, halvings } = self.curve;
        let words = [
            MAGIC,
            self.options.steps,
            self.options.batch as u64,
            self.options.seed,
            self.source.len() as u64,
            self.parameters() as u64,
            self.step,
            u64::from(halvings),
            first.to_bits(),
            mean.to_bits(),
        ];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        for layer in &self.integers.layers {
            let [latents, biases] = &layer.moments;
            let lists = [
                &layer.latents,
                &layer.biases,
                &latents.mean,
                &latents.square,
                &biases.mean,
                &biases.square,
            ];
            lists.into_iter().flatten().for_each(|value| bytes.extend(value.to_le_bytes()));
        }
        bytes
    }

    /// Goes on where a training with the same arguments was.
    ///
    /// # Errors
    /// The state is of other arguments, which the error names, or is no state.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), TuneError> {
        // Ten words; then each parameter with its two moments, of four bytes each.
        let length = 10 * 8 + 3 * 4 * self.parameters();
        expect("bytes", length as u64, state.len() as u64)?;
        let (words, values) = state.split_at(10 * 8);
        let words: Vec<u64> =
            words.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let fixed = [
            ("format", MAGIC),
            ("steps", self.options.steps),
            ("images of a batch", self.options.batch as u64),
            ("seed", self.options.seed),
            ("training images", self.source.len() as u64),
            ("parameters", self.parameters() as u64),
        ];
        for ((what, expected), &found) in fixed.into_iter().zip(&words) {
            expect(what, expected, found)?;
        }
        self.step = words[6];
        self.curve = Curve {
            halvings: words[7] as u32,
            first: f64::from_bits(words[8]),
            mean: f64::from_bits(words[9]),
        };
        let mut values = values.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value));
        for layer in &mut self.integers.layers {
            let [Adam { mean, square }, of_biases] = &mut layer.moments;
            let lists = [
                &mut layer.latents,
                &mut layer.biases,
                mean,
                square,
                &mut of_biases.mean,
                &mut of_biases.square,
            ];
            for (value, read) in lists.into_iter().flatten().zip(&mut values) {
                *value = read;
            }
        }
        Ok(())
    }

    /// Latents and biases.
    fn parameters(&self) -> usize {
        self.integers.layers.iter().map(|layer| layer.latents.len() + layer.biases.len()).sum()
    }
}

fn expect(what: &'static str, expected: u64, found: u64) -> Result<(), TuneError> {
    if expected == found { Ok(()) } else { Err(TuneError::State { what, expected, found }) }
}
