//! What quantization needs to know of a network's values: samples of every activation quantizer,
//! second moments of every layer's input.

use model::float::conv::fill_columns;
use model::float::{FloatError, activations_of};
use model::kernels::multiply_add;
use model::{Model, Op, Tensor, ValueId};
use protocols::linear::Geometry;
use rayon::prelude::*;

use super::activation_quantizers::{ActivationQuantizers, QuantizerId};
use super::ranges::Ranges;

/// Statistics of calibration images.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Samples of every activation quantizer.
    pub activations: Vec<Samples>,
    /// Moments of every layer's input, by layer and group of the convolution.
    pub layers: Vec<Vec<Moments>>,
}

/// Samples of a value: all of them zero or listed.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Values other than zero, thinned out evenly.
    pub values: Vec<f32>,
    /// The sum of squares of the values listed.
    pub energy: f64,
    /// The magnitude that is not to be cut off, where that decides the range.
    pub reach: Option<f32>,
}

/// Moments of the rows of the im2col matrix.
#[derive(Clone, Debug)]
pub struct Moments {
    /// `N`: rows.
    pub rows: usize,
    /// `E[x x^T]`, `[N, N]`.
    pub second: Vec<f64>,
    /// `E[x]`, `[N]`.
    pub first: Vec<f64>,
}

/// Samples kept of an activation quantizer.
const SAMPLES: usize = 1 << 14;
/// Images whose moments are taken: many columns each.
const MOMENT_IMAGES: usize = 64;
/// Columns of a chunk of the im2col matrix.
const COLUMNS: usize = 4096;

impl Calibration {
    /// Measures a batch of images, preprocessed, of which ranges are to be chosen so.
    ///
    /// # Errors
    /// The batch's shape is not the model's input.
    pub fn measure(
        model: &Model,
        activations: &ActivationQuantizers,
        batch: &Tensor,
        ranges: Ranges,
    ) -> Result<Self, FloatError> {
        let mut keep: Vec<ValueId> =
            activations.quantizers.iter().map(|activation| activation.value).collect();
        keep.extend(activations.layers.iter().map(|layer| model.nodes[layer.node].inputs[0]));
        let images = batch.images().min(MOMENT_IMAGES * 2);
        let kept = activations_of(model, &first_images(batch, images), &keep)?;
        let value = |id: ValueId| kept.value(id).expect("invariant: what was asked for is kept");
        Ok(Self {
            activations: activations
                .quantizers
                .par_iter()
                .map(|activation| Samples::of(&value(activation.value).data, ranges))
                .collect(),
            layers: activations
                .layers
                .par_iter()
                .map(|layer| {
                    let node = &model.nodes[layer.node];
                    match &node.op {
                        Op::Conv(conv) => Moments::of(&conv.geometry, value(node.inputs[0])),
                        Op::Relu { .. }
                        | Op::Function(_)
                        | Op::Add
                        | Op::MaxPool(_)
                        | Op::AvgPool(_)
                        | Op::View(_) => Vec::new(),
                    }
                })
                .collect(),
        })
    }

    /// The samples of an activation quantizer.
    pub fn activation(&self, activation: QuantizerId) -> &Samples {
        &self.activations[activation]
    }
}

/// The first images of a batch.
pub fn first_images(batch: &Tensor, images: usize) -> Tensor {
    let [_, c, h, w] = batch.shape;
    Tensor { shape: [images, c, h, w], data: batch.data[..images * c * h * w].to_vec() }
}

impl Samples {
    fn of(data: &[f32], ranges: Ranges) -> Self {
        let others: Vec<f32> = data.iter().copied().filter(|v| *v != 0.0).collect();
        // Zeros are left out: they are rounded exactly at any scale. Every `step`-th of the others
        // spreads the samples over images and channels.
        let step = others.len().div_ceil(SAMPLES).max(1);
        let values: Vec<f32> = others.iter().copied().step_by(step).collect();
        let energy = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        // Where so many values are zero, the percentile says nothing of the others.
        let reach = ranges.reach(data.len(), others).filter(|&reach| reach > 0.0);
        Self { values, energy, reach }
    }

    /// Whether all values are numbers.
    pub fn is_finite(&self) -> bool {
        self.energy.is_finite()
    }

    /// The largest magnitude.
    pub fn largest(&self) -> f32 {
        self.values.iter().fold(0.0, |most, v| v.abs().max(most))
    }

    /// The squared error of rounding to a scale within an interval of integers, over the energy.
    pub fn error(&self, scale: f64, low: f64, high: f64) -> f64 {
        if self.values.is_empty() {
            return 0.0;
        }
        let (scale, inverse) = (scale as f32, (1.0 / scale) as f32);
        let (low, high) = (low as f32, high as f32);
        let errors = self.values.iter().map(|&v| {
            let rounded = (v * inverse).round_ties_even().clamp(low, high) * scale;
            f64::from((rounded - v) * (rounded - v))
        });
        errors.sum::<f64>() / self.energy
    }
}

impl Moments {
    /// `E[x x^T] - E[x] E[x]^T`: the bias makes up for the mean.
    pub fn covariance(&self) -> Vec<f64> {
        let n = self.rows;
        self.second
            .iter()
            .enumerate()
            .map(|(at, second)| second - self.first[at / n] * self.first[at % n])
            .collect()
    }

    /// The moments of every group of a convolution's input `[N, C, H, W]`.
    fn of(geometry: &Geometry, input: &Tensor) -> Vec<Self> {
        let images = input.images().min(MOMENT_IMAGES);
        (0..geometry.groups).map(|group| Self::of_group(geometry, input, images, group)).collect()
    }

    fn of_group(g: &Geometry, input: &Tensor, images: usize, group: usize) -> Self {
        let channels = g.in_channels / g.groups;
        let (plane, rows) = (channels * g.in_h * g.in_w, channels * g.kernel_h * g.kernel_w);
        let positions = g.out_h() * g.out_w();
        // Columns of as many images as fill a chunk: `[rows, together * positions]`, so that
        // products are large also where images are small.
        let together = (COLUMNS / positions.max(1)).max(1);
        let mut second = vec![0.0f64; rows * rows];
        let mut first = vec![0.0f64; rows];
        // The matrix of one image, which is then put beside those of others.
        let mut one = Vec::new();
        for start in (0..images).step_by(together) {
            let count = together.min(images - start);
            let columns = count * positions;
            let mut matrix = vec![0.0f32; rows * columns];
            for (at, image) in (start..start + count).enumerate() {
                let plane = &input.image(image)[group * plane..][..plane];
                fill_columns(g, channels, plane, &mut one);
                for (wide, row) in matrix.chunks_exact_mut(columns).zip(one.chunks(positions)) {
                    wide[at * positions..][..positions].copy_from_slice(row);
                }
            }
            let mut transposed = vec![0.0f32; rows * columns];
            for (r, row) in matrix.chunks_exact(columns).enumerate() {
                first[r] += row.iter().map(|&v| f64::from(v)).sum::<f64>();
                for (c, &v) in row.iter().enumerate() {
                    transposed[c * rows + r] = v;
                }
            }
            let mut product = vec![0.0f32; rows * rows];
            multiply_add([rows, columns, rows], &matrix, &transposed, &mut product);
            for (sum, part) in second.iter_mut().zip(product) {
                *sum += f64::from(part);
            }
        }
        let count = (images * positions).max(1) as f64;
        second.iter_mut().chain(&mut first).for_each(|v| *v /= count);
        Self { rows, second, first }
    }
}
