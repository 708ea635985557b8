//! What quantization needs to know of a network's values: samples of every activation quantizer,
//! second moments of every layer's input.

use model::float::conv::fill_columns;
use model::float::{FloatError, visit_values};
use model::{Conv, Mask, Model, Op, Tensor, ValueId};
use protocols::linear::Geometry;
use rayon::prelude::*;

use super::activation_quantizers::{ActivationQuantizer, ActivationQuantizers, QuantizerId};
use super::extent::Extent;
use super::gram::{Gram, mirror};
use super::hessian::damp;
use super::ranges::Ranges;
use super::round::{Diagonals, WeightQuantizer};
use super::thin::is_thin;

/// Statistics of calibration images.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Samples of every activation quantizer.
    pub activations: Vec<Samples>,
    /// How much the inputs of every layer vary: what its scales are chosen by.
    pub layers: Vec<Diagonals>,
}

/// Samples of a value: all of them zero or listed.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Values other than zero, thinned out evenly.
    pub values: Vec<f32>,
    /// Those of elements that are linear where others have a ReLU.
    pub linear: Vec<f32>,
    /// The sum of squares of the values listed.
    pub energy: f64,
    /// The magnitude that is not to be cut off, where that decides the range.
    pub reach: Option<f32>,
    /// The magnitude that a range has at least.
    pub least: f32,
}

/// Moments of the rows of the im2col matrix.
#[derive(Clone, Debug)]
pub struct Moments {
    /// `N`: rows.
    pub rows: usize,
    /// How they vary together.
    pub second: Second,
    /// `E[x]`, `[N]`.
    pub first: Vec<f64>,
    /// How many columns these are means of.
    pub samples: usize,
}

/// What is kept of the products of inputs.
#[derive(Clone, Debug)]
pub enum Second {
    /// `E[x x^T]`, `[N, N]`.
    Whole(Vec<f64>),
    /// `x - E[x]` of every sample, `[N, S]`: where there are few, that is less.
    Samples(Vec<f32>),
}

/// Samples kept of an activation quantizer.
const SAMPLES: usize = 1 << 14;
/// Images whose moments are taken: many columns each.
const MOMENT_IMAGES: usize = 64;
/// Copies of an image's values: they, and what samples are taken from.
pub(super) const COPIES: u64 = 2;
/// What a range is of the widest that it meets, at least: `2^-24`.
const FAINT: f32 = 1.0 / 16_777_216.0;
/// How much of the span of a function's results two of them differ at least, to count: half a step
/// of eight bits.
const TOLD_APART: f64 = 1.0 / 512.0;
/// Columns of a chunk of the im2col matrix.
const COLUMNS: usize = 4096;

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
        match &node.op {
            Op::Conv(conv) if node.inputs[0] == id => Some((layer, conv)),
            Op::Conv(_)
            | Op::Relu { .. }
            | Op::PartRelu(_)
            | Op::Function(_)
            | Op::Add
            | Op::Mul
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::View(_)
            | Op::Reorder(_)
            | Op::Concat => None,
        }
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

impl Samples {
    /// Those of a value, of linear elements apart.
    fn parted(images: &[Vec<f32>], kept: Option<&Mask>, ranges: Ranges) -> Self {
        let Some(kept) = kept else { return Self::of(images, ranges) };
        let [mut own, linear] =
            [true, false].map(|wanted| Self::of(&elements_of(images, kept, wanted), ranges));
        // What is linear has as much of the range, on both sides of zero together.
        let reach = linear.reach;
        own.join(Self { values: Vec::new(), linear: linear.values, reach, ..linear });
        own
    }

    fn of(images: &[Vec<f32>], ranges: Ranges) -> Self {
        // Zeros are left out: they are rounded exactly at any scale. Every `step`-th of the others
        // spreads the samples over images and channels.
        let counts: Vec<usize> = images.par_iter().map(|image| others(image).count()).collect();
        let step = counts.iter().sum::<usize>().div_ceil(SAMPLES).max(1);
        // How many others there are before every image.
        let before = counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum - count)
        });
        let values: Vec<f32> = images
            .par_iter()
            .zip(before.collect::<Vec<usize>>())
            .flat_map_iter(|(image, before)| {
                let first = before.next_multiple_of(step) - before;
                others(image).skip(first).step_by(step)
            })
            .collect();
        let energy = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        // Where so many values are zero, the percentile says nothing of the others.
        let len = images.iter().map(Vec::len).sum();
        let reach = ranges.reach(len, || images.iter().flat_map(|image| others(image)).collect());
        let (linear, reach) = (Vec::new(), reach.filter(|&reach| reach > 0.0));
        Self { values, linear, energy, reach, least: 0.0 }
    }

    /// Takes in those of another value that is rounded alike.
    fn join(&mut self, mut more: Self) {
        self.values.append(&mut more.values);
        self.linear.append(&mut more.linear);
        self.energy += more.energy;
        self.reach = match (self.reach, more.reach) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
    }

    /// Cuts values off where the functions that read them, if nothing else does, tell them apart no
    /// more: HardSwish all that is below -3, where it is zero. The range is then of what counts.
    fn cut_off(&mut self, model: &Model, quantizer: &ActivationQuantizer) {
        let readers = model.consumers(quantizer.value);
        let functions = readers.iter().map(|&reader| match &model.nodes[reader].op {
            Op::Function(function) => Some(function),
            Op::Conv(_) | Op::Relu { .. } | Op::PartRelu(_) | Op::Add | Op::Mul => None,
            Op::Concat | Op::MaxPool(_) | Op::AvgPool(_) | Op::View(_) | Op::Reorder(_) => None,
        });
        let Some(functions) = functions.collect::<Option<Vec<_>>>() else { return };
        let Extent { least, largest } = self.extent();
        let parts = functions.into_iter().map(|function| {
            let ends = [function.at(least), function.at(largest), function.at(0.0)];
            let span = ends.iter().fold(0.0_f64, |most, end| most.max((end - ends[2]).abs()));
            function.varies((least, largest), TOLD_APART * span)
        });
        let hull = parts.reduce(|(a, b), (c, d)| (a.min(c), b.max(d)));
        let whole = quantizer.value.producer().is_none() || quantizer.kept.is_some();
        let Some((least, largest)) = hull.filter(|_| !self.is_dead() && !whole) else { return };
        self.values.iter_mut().for_each(|v| *v = v.clamp(least as f32, largest as f32));
        self.energy = self.values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    }

    /// Whether all values are numbers.
    pub fn is_finite(&self) -> bool {
        self.energy.is_finite()
    }

    /// The largest magnitude, or the least that a range has.
    pub fn largest(&self) -> f32 {
        let most = self.values.iter().fold(self.least, |most, v| v.abs().max(most));
        let (below, above) = ends(&self.linear);
        most.max(above - below)
    }

    /// The least and the largest value; either way as far as the range is that it has at least,
    /// where that is more than all of them.
    pub(super) fn extent(&self) -> Extent {
        let ((least, largest), (below, above)) = (ends(&self.values), ends(&self.linear));
        // Linear elements have as many steps, for what is below zero and what is above it.
        let largest = largest.max(above - below);
        let shown = largest.max(-least) >= self.least;
        let (least, largest) = if shown { (least, largest) } else { (-self.least, self.least) };
        Extent { least: least.into(), largest: largest.into() }
    }

    /// Whether all values are zero.
    pub const fn is_dead(&self) -> bool {
        self.values.is_empty() && self.linear.is_empty()
    }

    /// The squared error of rounding to a scale within an interval of integers, over the energy.
    pub fn error(&self, scale: f64, low: f64, high: f64) -> f64 {
        if self.is_dead() {
            return 0.0;
        }
        let below = f64::from(self.below(scale, high));
        let linear = rounding_error(&self.linear, scale, (-below, high - below));
        (rounding_error(&self.values, scale, (low, high)) + linear) / self.energy
    }

    /// How many of the steps from 0 to `high` linear elements are best given below zero instead, of
    /// eighths of all; 0 where there are none.
    pub fn below(&self, scale: f64, high: f64) -> u32 {
        if self.linear.is_empty() {
            return 0;
        }
        // Finer choices would tell the samples apart, not the values that they are of.
        let all = high as u32 + 1;
        let choices = (0..=8).map(|eighths| eighths * all / 8);
        let errors = choices.map(|below| {
            let low = -f64::from(below);
            (below, rounding_error(&self.linear, scale, (low, low + high)))
        });
        errors.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(below, _)| below)
    }
}

/// The elements of every image that a mask holds, or those that it does not.
fn elements_of(images: &[Vec<f32>], mask: &Mask, wanted: bool) -> Vec<Vec<f32>> {
    let parts = images.par_iter().map(|image| {
        let each = image.iter().zip(mask.iter());
        each.filter(|&(_, held)| held == wanted).map(|(&value, _)| value).collect()
    });
    parts.collect()
}

/// The squared error of rounding values to a scale within an interval of integers.
fn rounding_error(values: &[f32], scale: f64, (low, high): (f64, f64)) -> f64 {
    let (scale, inverse) = (scale as f32, (1.0 / scale) as f32);
    let (low, high) = (low as f32, high as f32);
    let errors = values.iter().map(|&v| {
        let rounded = (v * inverse).round_ties_even().clamp(low, high) * scale;
        f64::from((rounded - v) * (rounded - v))
    });
    errors.sum()
}

/// The least and the largest of some values, zero among them.
fn ends(values: &[f32]) -> (f32, f32) {
    values.iter().fold((0.0, 0.0), |(least, most), &v| (least.min(v), most.max(v)))
}

/// Values that are not zero.
fn others(image: &[f32]) -> impl Iterator<Item = f32> {
    image.iter().copied().filter(|v| *v != 0.0)
}

/// `E[x x^T] - E[x] E[x]^T`, `[N, N]`, since the bias makes up for the mean.
pub(super) fn covariance(mut second: Vec<f64>, mean: &[f64]) -> Vec<f64> {
    second.par_chunks_mut(mean.len().max(1)).zip(mean).for_each(|(row, own)| {
        row.iter_mut().zip(mean).for_each(|(second, other)| *second -= own * other);
    });
    second
}

/// Takes their means off the rows of `samples`, `[N, S]`, and gives them.
pub(super) fn center(samples: &mut [f32], columns: usize) -> Vec<f64> {
    let rows = samples.chunks_exact_mut(columns.max(1));
    rows.map(|row| {
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / columns as f64;
        row.iter_mut().for_each(|v| *v = (f64::from(*v) - mean) as f32);
        mean
    })
    .collect()
}

impl Moments {
    /// The moments of every group of a convolution's input, of images `[C, H, W]`.
    fn of(geometry: &Geometry, images: &[Vec<f32>]) -> Vec<Self> {
        (0..geometry.groups).map(|group| Self::of_group(geometry, images, group)).collect()
    }

    fn of_group(g: &Geometry, images: &[Vec<f32>], group: usize) -> Self {
        let channels = g.in_channels / g.groups;
        let (plane, rows) = (channels * g.in_h * g.in_w, channels * g.kernel_h * g.kernel_w);
        let positions = g.out_h() * g.out_w();
        // Columns of as many images as fill a chunk: `[rows, together * positions]`, so that
        // products are large also where images are small.
        let together = (COLUMNS / positions.max(1)).max(1);
        let samples = images.len() * positions;
        if is_thin(rows, samples) {
            let mut all = vec![0.0; rows * samples];
            let mut one = Vec::new();
            for (at, image) in images.iter().enumerate() {
                fill_columns(g, channels, &image[group * plane..][..plane], &mut one);
                beside(&one, &mut all, positions, samples, at * positions);
            }
            let first = center(&mut all, samples);
            return Self { rows, second: Second::Samples(all), first, samples };
        }
        let mut second = vec![0.0f64; rows * rows];
        let mut first = vec![0.0f64; rows];
        // The matrix of one image, which is then put beside those of others.
        let mut one = Vec::new();
        for some in images.chunks(together) {
            let columns = some.len() * positions;
            let mut matrix = vec![0.0f32; rows * columns];
            for (at, image) in some.iter().enumerate() {
                fill_columns(g, channels, &image[group * plane..][..plane], &mut one);
                beside(&one, &mut matrix, positions, columns, at * positions);
            }
            for (first, row) in first.iter_mut().zip(matrix.chunks_exact(columns)) {
                *first += row.iter().map(|&v| f64::from(v)).sum::<f64>();
            }
            let mut product = Gram::zeros(rows);
            product.add(&matrix, columns);
            product.add_to(&mut second);
        }
        mirror(&mut second, rows);
        let count = samples.max(1) as f64;
        second.iter_mut().chain(&mut first).for_each(|v| *v /= count);
        Self { rows, second: Second::Whole(second), first, samples }
    }
}

/// Copies a matrix of `pixels` columns into columns `at..` of one with `wide`.
pub(super) fn beside(from: &[f32], to: &mut [f32], pixels: usize, wide: usize, at: usize) {
    for (from, to) in from.chunks_exact(pixels).zip(to.chunks_exact_mut(wide)) {
        to[at..at + pixels].copy_from_slice(from);
    }
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

    #[test]
    fn samples_are_spread_over_all_images_as_over_one() {
        let value = |i: usize| ((i * 13) % 7) as f32 - 3.0;
        let images: Vec<Vec<f32>> = [3, 0, 60_000, 1, 17]
            .iter()
            .enumerate()
            .map(|(image, &len)| (0..len).map(|i| value(i + image)).collect())
            .collect();
        for ranges in [Ranges::Mse, Ranges::Percentile(90.0)] {
            let found = Samples::of(&images, ranges);
            let expected = Samples::of(&[images.concat()], ranges);
            assert!(found.values.len() > SAMPLES / 2 && found.values.len() <= SAMPLES);
            assert_eq!(found.values, expected.values);
            assert_eq!(found.reach, expected.reach);
        }
    }
}
