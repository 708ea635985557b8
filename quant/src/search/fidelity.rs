//! How near a network of integers is to the float network that it came from, as both compute the
//! calibration images.

use model::float::evaluate;
use model::softmax::{divergence, log_softmax};
use model::{Model, Tensor};
use protocols::plan::Plan;
use protocols::weights::Weights;
use serde::{Deserialize, Serialize};

use super::{Progress, SearchError};
use crate::quantize::first_images;

/// What integers and floats make of the same images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// How many images.
    pub images: usize,
    /// The fraction that both classify alike; of a network with one output, always 1.
    pub agreement: f64,
    /// The mean divergence of the probabilities from the float network's, in nats.
    pub loss: f64,
    /// The distance of the logits from the float network's, over the spread of these.
    pub error: f64,
    /// Whether the images are others than those that it was calibrated on.
    #[serde(default)]
    pub held_back: bool,
}

/// Images that are compared, at most.
const IMAGES: usize = 256;
/// Multiplications that are spent on them, unless few images alone take more.
const MULTIPLICATIONS: u64 = 1 << 36;
/// Images that are compared in any case, where there are as many.
const FEW: usize = 8;
/// Images that are computed together.
pub(super) const CHUNK: usize = 32;
/// Copies of an image's values, as floats: integers are twice as wide, and there are two of each.
pub(super) const COPIES: u64 = 4;

impl Fidelity {
    /// Agreement below which the networks are far apart.
    const AGREEMENT: f64 = 0.9;
    /// Relative error of the logits above which they are.
    const ERROR: f64 = 0.5;

    /// Compares a plan with its model on the first images of a batch, preprocessed, `chunk` at a
    /// time, which are taken for those of calibration.
    ///
    /// # Errors
    /// The images or the weights do not fit.
    pub fn measure(
        model: &Model,
        (plan, weights): (&Plan, &Weights),
        (batch, chunk): (&Tensor, usize),
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, SearchError> {
        let affordable = (MULTIPLICATIONS / model.macs().max(1)) as usize;
        let images = batch.images().min(IMAGES).min(affordable.max(FEW));
        let batch = first_images(batch, images);
        let mut sums = Sums::default();
        for start in (0..images).step_by(chunk) {
            progress(Progress { phase: "comparison", done: start, of: images });
            let count = chunk.min(images - start);
            let (shape, len) = (batch.image_shape(), batch.image_len());
            let data = batch.data[start * len..][..count * len].to_vec();
            let some = Tensor { shape: [count, shape[0], shape[1], shape[2]], data };
            // What is compared is the plan that is run, not the floats that stood in for it while
            // widths were chosen.
            let float = evaluate(model, &some)?;
            let result = fusion::ideal(plan, weights, &plan.encode(&some.data)?)?;
            for (image, answer) in plan.decode(&result, count).into_iter().enumerate() {
                let found = answer.logits.map_or_else(Vec::new, |logits| logits.values);
                sums.add(float.image(image), &found);
            }
        }
        Ok(sums.finish())
    }

    /// Whether the network of integers is hardly the one that it came from.
    #[must_use]
    pub fn is_poor(&self) -> bool {
        self.agreement < Self::AGREEMENT || self.error > Self::ERROR
    }
}

/// What has been seen so far.
#[derive(Default)]
struct Sums {
    images: usize,
    alike: usize,
    loss: f64,
    /// Of the errors.
    squares: f64,
    /// All logits of the float network.
    logits: Vec<f64>,
}

impl Sums {
    fn add(&mut self, float: &[f32], found: &[f64]) {
        let float: Vec<f64> = float.iter().map(|&v| v.into()).collect();
        self.images += 1;
        self.alike += usize::from(largest(&float) == largest(found));
        // Rounding can push the divergence of equal logits a little below zero.
        self.loss += divergence(&log_softmax(&float), &log_softmax(found)).max(0.0);
        self.squares += float.iter().zip(found).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        self.logits.extend(float);
    }

    fn finish(self) -> Fidelity {
        let (count, images) = (self.logits.len().max(1) as f64, self.images.max(1) as f64);
        let mean = self.logits.iter().sum::<f64>() / count;
        let spread: f64 = self.logits.iter().map(|v| (v - mean).powi(2)).sum();
        // One logit that is the same for all images: its own size is what there is to compare with.
        let size = self.logits.iter().map(|v| v * v).sum::<f64>();
        let whole = if spread > 1e-12 * size { spread } else { size.max(f64::MIN_POSITIVE) };
        Fidelity {
            images: self.images,
            agreement: self.alike as f64 / images,
            loss: self.loss / images,
            error: (self.squares / whole).sqrt(),
            held_back: false,
        }
    }
}

/// The place of the largest, the first of equals.
fn largest(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&[f32], &[f64])]) -> Fidelity {
        let mut sums = Sums::default();
        pairs.iter().for_each(|(float, found)| sums.add(float, found));
        sums.finish()
    }

    #[test]
    fn equal_logits_lose_nothing_and_others_what_formulas_say() {
        let same = of(&[(&[1.0, 3.0], &[1.0, 3.0]), (&[2.0, -1.0], &[2.0, -1.0])]);
        assert_eq!((same.agreement, same.loss, same.error), (1.0, 0.0, 0.0));
        assert!(!same.is_poor());
        // Probabilities 1/4 and 3/4 where halves are right.
        let found = of(&[(&[0.0, 0.0], &[0.0, 3f64.ln()]), (&[4.0, 0.0], &[4.0, 0.0])]);
        let loss = 0.5 * (0.5f64.ln() - 0.25f64.ln() + 0.5f64.ln() - 0.75f64.ln());
        assert!((found.loss - loss / 2.0).abs() < 1e-12, "{found:?}");
        assert_eq!((found.images, found.agreement), (2, 0.5));
        // Logits 0, 0, 4, 0 spread by 12 in squares.
        assert!((found.error - 3f64.ln() / 12f64.sqrt()).abs() < 1e-12, "{found:?}");
        assert!(found.is_poor());
    }

    #[test]
    fn a_single_output_is_judged_by_its_size() {
        let found = of(&[(&[2.0], &[0.0]), (&[2.0], &[0.0])]);
        assert_eq!((found.agreement, found.loss, found.error), (1.0, 0.0, 1.0));
        assert!(found.is_poor());
    }
}
