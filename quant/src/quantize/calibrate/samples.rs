//! Samples of a value: what ranges are chosen by.

use model::{Mask, Model, Op};
use rayon::prelude::*;

use crate::quantize::activation_quantizers::ActivationQuantizer;
use crate::quantize::extent::Extent;
use crate::quantize::ranges::Ranges;

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

/// Samples kept of an activation quantizer.
const SAMPLES: usize = 1 << 14;
/// How much of the span of a function's results two of them differ at least, to count: half a step
/// of eight bits.
const TOLD_APART: f64 = 1.0 / 512.0;

impl Samples {
    /// Those of a value, of linear elements apart.
    pub(super) fn parted(images: &[Vec<f32>], kept: Option<&Mask>, ranges: Ranges) -> Self {
        let Some(kept) = kept else { return Self::of(images, ranges) };
        let [mut own, linear] =
            [true, false].map(|wanted| Self::of(&elements_of(images, kept, wanted), ranges));
        // What is linear has as much of the range, on both sides of zero together.
        let reach = linear.reach;
        own.join(Self { values: Vec::new(), linear: linear.values, reach, ..linear });
        own
    }

    pub(super) fn of(images: &[Vec<f32>], ranges: Ranges) -> Self {
        // Zeros are left out: they are rounded exactly at any scale. Of every `step` others one is
        // taken, which spreads the samples over images and channels.
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
            .flat_map_iter(|(image, before)| thinned(image, before, step))
            .collect();
        let energy = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        // Where so many values are zero, the percentile says nothing of the others.
        let len = images.iter().map(Vec::len).sum();
        let reach = ranges.reach(len, || images.iter().flat_map(|image| others(image)).collect());
        let (linear, reach) = (Vec::new(), reach.filter(|&reach| reach > 0.0));
        Self { values, linear, energy, reach, least: 0.0 }
    }

    /// Takes in those of another value that is rounded alike.
    pub(super) fn join(&mut self, mut more: Self) {
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
    pub(super) fn cut_off(&mut self, model: &Model, quantizer: &ActivationQuantizer) {
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
    pub(in crate::quantize) fn extent(&self) -> Extent {
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

/// Of an image's values that are not zero one of every `step`, where so many are before it.
///
/// Which one is scattered: at equal distances, samples of an image whose rows are a multiple of the
/// step long would be of some columns alone, and columns can differ, as behind transposed
/// convolutions.
fn thinned(image: &[f32], before: usize, step: usize) -> impl Iterator<Item = f32> {
    let taken = move |block: usize| {
        // Fibonacci hashing: the upper half of the product is well mixed.
        let mixed = (block as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        block * step + mixed as usize % step
    };
    // The block that this image begins in may have its sample in an image before.
    let first = before / step;
    let mut block = if taken(first) < before { first + 1 } else { first };
    let mut next = taken(block) - before;
    others(image).enumerate().filter_map(move |(index, value)| {
        if index < next {
            return None;
        }
        block += 1;
        next = taken(block) - before;
        Some(value)
    })
}

/// Values that are not zero.
fn others(image: &[f32]) -> impl Iterator<Item = f32> {
    image.iter().copied().filter(|v| *v != 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    /// Even columns lie around 1, odd ones around -1, and there is a step that hits even ones
    /// alone.
    #[test]
    fn samples_are_of_all_columns_whatever_the_step() {
        let image: Vec<f32> = (0..3 * SAMPLES).map(|i| 1.0 - 2.0 * (i % 2) as f32).collect();
        for images in [vec![image.clone(); 2], vec![image.clone(); 4], vec![image; 16]] {
            let found = Samples::of(&images, Ranges::Mse).values;
            assert!(found.len() > SAMPLES / 2 && found.len() <= SAMPLES, "{}", found.len());
            let odd = found.iter().filter(|&&v| v < 0.0).count();
            assert!(odd > found.len() / 3 && odd < found.len() * 2 / 3, "{odd}");
        }
    }
}
