//! What quantization needs to know of a network's values: samples of every activation quantizer,
//! second moments of every layer's input.

mod moments;
mod samples;

use model::float::conv::fill_columns;
use model::float::{FloatError, visit_values};
use model::{Conv, Model, Tensor, ValueId};
use protocols::linear::Geometry;
use rayon::prelude::*;

use super::activation_quantizers::{ActivationQuantizers, QuantizerId};
use super::hessian::damp;
use super::ranges::Ranges;
use super::round::{Diagonals, WeightQuantizer};

pub(super) use moments::{Moments, Second};
pub(super) use moments::{beside, center, covariance};
pub(super) use samples::Samples;

/// Statistics of calibration images.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Samples of every activation quantizer.
    pub activations: Vec<Samples>,
    /// How much the inputs of every layer vary: what its scales are chosen by.
    pub layers: Vec<Diagonals>,
}

/// Images whose moments are taken: many columns each.
const MOMENT_IMAGES: usize = 64;
/// Copies of an image's values: they, and what samples are taken from.
pub(super) const COPIES: u64 = 2;
/// What a range is of the widest that it meets, at least: `2^-24`.
const FAINT: f32 = 1.0 / 16_777_216.0;
impl Calibration {
    /// Images that are measured, at most.
    pub const IMAGES: usize = 2 * MOMENT_IMAGES;

    /// Measures the first `images` of a batch, preprocessed, of which ranges are to be chosen so.
    ///
    /// # Errors
    /// The batch's shape is not the model's input.
    pub fn measure(
        model: &Model,
        activations: &ActivationQuantizers,
        batch: &Tensor,
        (images, ranges): (usize, Ranges),
    ) -> Result<Self, FloatError> {
        let mut samples = vec![Samples::default(); activations.quantizers.len()];
        let mut layers = vec![Diagonals::default(); activations.layers.len()];
        let images = batch.images().min(images);
        let mut magnitudes = vec![0.0; model.nodes.len() + 1];
        visit_values(model, &first_images(batch, images), |id, values| {
            magnitudes[id.0] = magnitude(values);
            let activation = activations.activation(id);
            let observed = activation.filter(|&activation| activations.observes(activation, id));
            if let Some(activation) = observed {
                let kept = activations.quantizers[activation].kept.as_ref();
                samples[activation].join(Samples::parted(values, kept, ranges));
            }
            for (layer, conv) in readers(model, activations, id) {
                layers[layer] = diagonals(&conv.geometry, first(values));
            }
        })?;
        bound_below(model, activations, &magnitudes, &mut samples);
        for (id, samples) in samples.iter_mut().enumerate() {
            // What is rounded alike with it may have other readers.
            if activations.members(id).count() == 1 {
                samples.cut_off(model, &activations.quantizers[id]);
            }
        }
        Ok(Self { activations: samples, layers })
    }

    /// The samples of an activation quantizer.
    pub fn activation(&self, activation: QuantizerId) -> &Samples {
        &self.activations[activation]
    }
}

/// The largest magnitude of a value.
fn magnitude(images: &[Vec<f32>]) -> f32 {
    let each = images.par_iter().map(|image| image.iter().fold(0.0, |a: f32, v| v.abs().max(a)));
    each.reduce(|| 0.0, f32::max)
}

/// Gives ranges to what images say nothing of: to a ReLU that never fires, that of what it cuts
/// off; to what is zero throughout, that of what it is tied to, or else one. No range is less than
/// [`FAINT`] of the widest that it is tied to.
fn bound_below(
    model: &Model,
    activations: &ActivationQuantizers,
    magnitudes: &[f32],
    samples: &mut [Samples],
) {
    // Other images may make a dead ReLU fire: what it cuts off here says how far it then reaches.
    let mut widest = vec![0.0_f32; activations.groups];
    for (quantizer, samples) in activations.quantizers.iter().zip(&mut *samples) {
        if let Some(node) = quantizer.value.producer().filter(|_| samples.is_dead()) {
            let inputs = model.nodes[node].inputs.iter().map(|input| magnitudes[input.0]);
            samples.least = inputs.fold(0.0, f32::max);
        }
        let widest = &mut widest[quantizer.group];
        *widest = widest.max(samples.largest());
    }
    for (quantizer, samples) in activations.quantizers.iter().zip(samples) {
        let widest = Some(widest[quantizer.group]).filter(|&widest| widest > 0.0).unwrap_or(1.0);
        // Without this a range of 1e-30 would be 2^100 below the values that it is summed with,
        // more than any shift.
        let silent = samples.largest() == 0.0;
        samples.least = samples.least.max(if silent { widest } else { FAINT * widest });
    }
}

/// What rounds every layer by the inputs that it has in the float network.
///
/// # Errors
/// The batch's shape is not the model's input.
pub(super) fn weight_quantizers(
    model: &Model,
    activations: &ActivationQuantizers,
    batch: &Tensor,
) -> Result<Vec<WeightQuantizer>, FloatError> {
    let mut layers = vec![WeightQuantizer::default(); activations.layers.len()];
    let images = batch.images().min(MOMENT_IMAGES);
    visit_values(model, &first_images(batch, images), |id, values| {
        let readers: Vec<(usize, &Conv)> = readers(model, activations, id).collect();
        let made = readers.par_iter().map(|&(layer, conv)| {
            (layer, WeightQuantizer::new(Moments::of(&conv.geometry, values)))
        });
        for (layer, made) in made.collect::<Vec<_>>() {
            layers[layer] = made;
        }
    })?;
    Ok(layers)
}

/// Layers that read a value, each with its convolution.
fn readers<'a>(
    model: &'a Model,
    activations: &'a ActivationQuantizers,
    id: ValueId,
) -> impl Iterator<Item = (usize, &'a Conv)> {
    activations.layers.iter().enumerate().filter_map(move |(layer, place)| {
        let node = &model.nodes[place.node];
        node.op.conv().filter(|_| node.inputs[0] == id).map(|conv| (layer, conv))
    })
}

/// The images that moments are taken of.
fn first(values: &[Vec<f32>]) -> &[Vec<f32>] {
    &values[..values.len().min(MOMENT_IMAGES)]
}

/// The damped variances of the rows of the im2col matrix, by group.
fn diagonals(g: &Geometry, images: &[Vec<f32>]) -> Diagonals {
    let channels = g.in_channels / g.groups;
    let (plane, rows) = (channels * g.in_h * g.in_w, channels * g.kernel_h * g.kernel_w);
    let positions = g.out_h() * g.out_w();
    // Of every image the sums and the sums of squares of all rows, `[groups, rows]`.
    let sums = images.par_iter().map_init(Vec::new, |columns, image| {
        let mut sums = Vec::with_capacity(g.groups * rows);
        for plane in image.chunks_exact(plane) {
            fill_columns(g, channels, plane, columns);
            sums.extend(columns.chunks_exact(positions).map(sums_of));
        }
        sums
    });
    let mut total = vec![[0.0; 2]; g.groups * rows];
    for sums in sums.collect::<Vec<Vec<[f64; 2]>>>() {
        for (total, sums) in total.iter_mut().zip(sums) {
            *total = [total[0] + sums[0], total[1] + sums[1]];
        }
    }
    let count = (images.len() * positions).max(1) as f64;
    let groups = total.chunks_exact(rows).map(|sums| {
        let squares: Vec<f64> = sums.iter().map(|[_, squares]| squares / count).collect();
        let means = sums.iter().map(|[sum, _]| sum / count);
        let mut variances: Vec<f64> =
            squares.iter().zip(means).map(|(square, mean)| square - mean * mean).collect();
        damp(variances.iter_mut(), &squares);
        variances
    });
    Diagonals::new(groups.collect())
}

/// The sum of a row, and that of its squares.
fn sums_of(row: &[f32]) -> [f64; 2] {
    // Lanes of their own, so that they become registers.
    let (mut sums, mut squares) = ([0.0; LANES], [0.0; LANES]);
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    let mut add = |values: &[f32]| {
        for (at, &value) in values.iter().enumerate() {
            let value = f64::from(value);
            sums[at] += value;
            squares[at] += value * value;
        }
    };
    chunks.for_each(&mut add);
    add(rest);
    [sums.iter().sum(), squares.iter().sum()]
}

/// Sums that are computed beside each other.
const LANES: usize = 8;

/// The first images of a batch.
pub fn first_images(batch: &Tensor, images: usize) -> Tensor {
    let [_, c, h, w] = batch.shape;
    Tensor { shape: [images, c, h, w], data: batch.data[..images * c * h * w].to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagonals_are_those_of_the_moments() {
        let geometry = Geometry {
            in_channels: 4,
            in_h: 6,
            in_w: 5,
            out_channels: 4,
            kernel_h: 3,
            kernel_w: 2,
            stride_h: 2,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 2,
            pad_top: 1,
            pad_left: 0,
            pad_bottom: 0,
            pad_right: 2,
            groups: 2,
        };
        let value = |i: usize| ((i * 31) % 17) as f32 / 8.0 - 0.75;
        let images: Vec<Vec<f32>> =
            (0..5).map(|image| (0..120).map(|i| value(image * 7 + i * i)).collect()).collect();
        let found = diagonals(&geometry, &images);
        let moments = Moments::of(&geometry, &images);
        assert_eq!(found.groups().len(), moments.len());
        for (found, moments) in found.groups().iter().zip(moments) {
            let rows = moments.rows;
            let Second::Whole(second) = moments.second else { unreachable!() };
            let squares: Vec<f64> = second.iter().step_by(rows + 1).copied().collect();
            let mut covariance = covariance(second, &moments.first);
            damp(covariance.iter_mut().step_by(rows + 1), &squares);
            let expected = covariance.iter().step_by(rows + 1);
            assert_eq!(found.len(), rows);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
        }
    }
}
