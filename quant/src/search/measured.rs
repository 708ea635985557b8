//! The loss of a quantized network as a whole, measured on calibration images.

use model::float::{FloatError, evaluate};
use model::softmax::{divergence, log_softmax};
use model::{Model, Tensor};

use crate::quantize::{BitWidths, Quantizer, first_images};

/// Images, what the float network says of them, and their classes.
pub(super) struct Measured {
    batch: Tensor,
    /// The logarithms of the classes' probabilities.
    reference: Vec<Vec<f64>>,
    /// The labels, or the float network's predictions.
    classes: Vec<usize>,
}

/// The divergence of every image, in nats.
#[derive(Clone, Debug)]
pub(super) struct Losses(Vec<f64>);

impl Measured {
    /// Prepares up to so many images.
    pub(super) fn new(
        model: &Model,
        batch: &Tensor,
        labels: Option<&[usize]>,
        images: usize,
    ) -> Result<Self, FloatError> {
        let batch = first_images(batch, batch.images().min(images));
        let logits = evaluate(model, &batch)?;
        let reference = (0..batch.images()).map(|image| log_softmax(logits.image(image))).collect();
        let classes =
            labels.map_or_else(|| logits.argmax(), |labels| labels[..batch.images()].to_vec());
        Ok(Self { batch, reference, classes })
    }

    /// The divergence from the float network at some widths.
    pub(super) fn loss(&self, quantizer: &Quantizer<'_>, bit_widths: &BitWidths) -> Losses {
        let logits = quantizer.network(bit_widths).outputs(&self.batch);
        let pairs = self.reference.iter().zip(&logits);
        Losses(pairs.map(|(p, logits)| divergence(p, &log_softmax(logits))).collect())
    }

    /// The fraction of images whose class is right at some widths.
    pub(super) fn accuracy(&self, quantizer: &Quantizer<'_>, bit_widths: &BitWidths) -> f64 {
        let [_, classes] = [self.batch.images(), self.reference.first().map_or(0, Vec::len)];
        let logits = quantizer.network(bit_widths).outputs(&self.batch).concat();
        Tensor { shape: [self.batch.images(), classes, 1, 1], data: logits }.accuracy(&self.classes)
    }
}

impl Losses {
    pub(super) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len().max(1) as f64
    }

    /// Whether the mean is less by more than the standard error of the difference.
    pub(super) fn is_less_than(&self, other: &Self) -> bool {
        let count = self.0.len().max(1) as f64;
        let gains: Vec<f64> = self.0.iter().zip(&other.0).map(|(a, b)| b - a).collect();
        let mean = gains.iter().sum::<f64>() / count;
        let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / count;
        mean > 0.0 && mean * mean * count > variance
    }
}
