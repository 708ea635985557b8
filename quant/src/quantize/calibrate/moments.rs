//! Moments of a layer's inputs: what weights are rounded by.

use model::float::conv::fill_columns;
use protocols::linear::Geometry;
use rayon::prelude::*;

use crate::quantize::gram::{Gram, mirror};
use crate::quantize::thin::is_thin;

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

/// Columns of a chunk of the im2col matrix.
const COLUMNS: usize = 4096;

/// `E[x x^T] - E[x] E[x]^T`, `[N, N]`, since the bias makes up for the mean.
pub(in crate::quantize) fn covariance(mut second: Vec<f64>, mean: &[f64]) -> Vec<f64> {
    second.par_chunks_mut(mean.len().max(1)).zip(mean).for_each(|(row, own)| {
        row.iter_mut().zip(mean).for_each(|(second, other)| *second -= own * other);
    });
    second
}

/// Takes their means off the rows of `samples`, `[N, S]`, and gives them.
pub(in crate::quantize) fn center(samples: &mut [f32], columns: usize) -> Vec<f64> {
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
    pub(super) fn of(geometry: &Geometry, images: &[Vec<f32>]) -> Vec<Self> {
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
pub(in crate::quantize) fn beside(
    from: &[f32],
    to: &mut [f32],
    pixels: usize,
    wide: usize,
    at: usize,
) {
    for (from, to) in from.chunks_exact(pixels).zip(to.chunks_exact_mut(wide)) {
        to[at..at + pixels].copy_from_slice(from);
    }
}
