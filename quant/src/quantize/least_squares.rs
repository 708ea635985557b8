//! The weights that give a layer's output best, from the inputs that it has: least squares, held
//! near the weights it had. (Hubara et al.: AdaQuant, ICML 2021, section 3; Li et al.: GPTAQ,
//! 2025.)

use model::Conv;
use model::kernels::{Factor, multiply_add, multiply_add_factors};
use rayon::prelude::*;

use super::calibrate::Moments;
use super::gram::{Gram, mirror};
use super::round::WeightQuantizer;
use super::triangular::inverse_factor;

/// Moments of what a group of a layer reads, and of what it shall make of it.
pub(crate) struct Cross {
    pub(super) input: Moments,
    /// `E[y x^T]`, `[K, N]`.
    both: Vec<f64>,
    /// `E[y]`, `[K]`.
    output: Vec<f64>,
    /// `E[y^2]`, `[K]`.
    squares: Vec<f64>,
}

/// Images whose moments are summed by one core.
const TOGETHER: usize = 16;
/// Images of fewer pixels are multiplied together.
const FEW_PIXELS: usize = 64;
/// Bytes of sums that are held at a time, at most, unless one alone is more.
const HELD: usize = 256 << 20;
/// Outputs whose least squares are solved by one core.
const OUTPUTS: usize = 64;

impl Cross {
    /// Of a group with `rows` inputs and so many outputs, at `pixels` places of every image: `fill`
    /// gives an image's inputs, `[rows, pixels]`, and `target` its outputs, `[outputs, pixels]`.
    pub(crate) fn of<'t>(
        [rows, outputs, pixels, images]: [usize; 4],
        fill: impl Fn(usize, &mut Vec<f32>) + Sync,
        target: impl Fn(usize) -> &'t [f32] + Sync,
    ) -> Self {
        let images: Vec<usize> = (0..images).collect();
        let mut total = Total::zeros(rows, outputs);
        // Sums of 16 images are in single precision, those of all in double: errors do not grow
        // with the number of images. Parts are added in their order, so the result does not depend
        // on cores.
        let together = (HELD / (size_of::<f32>() * rows * (rows + outputs)).max(1)).max(1);
        for some in images.chunks(TOGETHER * together) {
            let parts: Vec<Sums> = some
                .par_chunks(TOGETHER)
                .map(|images| Sums::of([rows, outputs, pixels], images, &fill, &target))
                .collect();
            parts.iter().for_each(|part| total.add(part));
        }
        let count = (images.len() * pixels).max(1) as f64;
        let Total { mut second, mut both, mut first, mut output, mut squares } = total;
        mirror(&mut second, rows);
        for sum in [&mut second, &mut both, &mut first, &mut output, &mut squares] {
            sum.par_iter_mut().for_each(|v| *v /= count);
        }
        let samples = images.len() * pixels;
        Self { input: Moments { rows, second, first, samples }, both, output, squares }
    }
}

/// Sums over some images.
struct Sums {
    second: Gram,
    both: Vec<f32>,
    first: Vec<f64>,
    output: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    fn of<'t>(
        [rows, outputs, pixels]: [usize; 3],
        images: &[usize],
        fill: &(impl Fn(usize, &mut Vec<f32>) + Sync),
        target: &(impl Fn(usize) -> &'t [f32] + Sync),
    ) -> Self {
        let mut sums = Self {
            second: Gram::zeros(rows),
            both: vec![0.0; outputs * rows],
            first: vec![0.0; rows],
            output: vec![0.0; outputs],
            squares: vec![0.0; outputs],
        };
        let mut columns = Vec::new();
        if pixels >= FEW_PIXELS {
            for &image in images {
                fill(image, &mut columns);
                sums.add([rows, outputs, pixels], &columns, target(image));
            }
            return sums;
        }
        // A product of few columns is bound by memory: those of all images side by side are one of
        // more.
        let wide = pixels * images.len();
        let (mut all, mut targets) = (vec![0.0; rows * wide], vec![0.0; outputs * wide]);
        for (at, &image) in images.iter().enumerate() {
            fill(image, &mut columns);
            beside(&columns, &mut all, pixels, wide, at * pixels);
            beside(target(image), &mut targets, pixels, wide, at * pixels);
        }
        sums.add([rows, outputs, wide], &all, &targets);
        sums
    }

    /// Adds inputs `x`, `[rows, pixels]`, and outputs `y`, `[outputs, pixels]`.
    fn add(&mut self, [rows, outputs, pixels]: [usize; 3], x: &[f32], y: &[f32]) {
        self.second.add(x, pixels);
        // `x` read by columns is `x^T`, `[pixels, rows]`: the product is `y x^T`.
        let transposed = Factor::Columns(x);
        multiply_add_factors([outputs, pixels, rows], Factor::Rows(y), transposed, &mut self.both);
        for (sums, values) in [(&mut self.first, x), (&mut self.output, y)] {
            for (sum, row) in sums.iter_mut().zip(values.chunks_exact(pixels)) {
                *sum += row.iter().map(|&v| f64::from(v)).sum::<f64>();
            }
        }
        for (sum, row) in self.squares.iter_mut().zip(y.chunks_exact(pixels)) {
            *sum += row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        }
    }
}

/// Copies a matrix of `pixels` columns into columns `at..` of one with `wide`.
fn beside(from: &[f32], to: &mut [f32], pixels: usize, wide: usize, at: usize) {
    for (from, to) in from.chunks_exact(pixels).zip(to.chunks_exact_mut(wide)) {
        to[at..at + pixels].copy_from_slice(from);
    }
}

/// Sums over all images.
struct Total {
    second: Vec<f64>,
    both: Vec<f64>,
    first: Vec<f64>,
    output: Vec<f64>,
    squares: Vec<f64>,
}

impl Total {
    fn zeros(rows: usize, outputs: usize) -> Self {
        let [second, both, first, output, squares] =
            [rows * rows, outputs * rows, rows, outputs, outputs].map(|len| vec![0.0; len]);
        Self { second, both, first, output, squares }
    }

    fn add(&mut self, part: &Sums) {
        part.second.add_to(&mut self.second);
        self.both.par_iter_mut().zip(&part.both).for_each(|(sum, &v)| *sum += f64::from(v));
        self.first.iter_mut().zip(&part.first).for_each(|(sum, v)| *sum += v);
        self.output.iter_mut().zip(&part.output).for_each(|(sum, v)| *sum += v);
        self.squares.iter_mut().zip(&part.squares).for_each(|(sum, v)| *sum += v);
    }
}

/// The layer with weights and biases moved to the least squares.
pub(super) fn least_squares(
    conv: &Conv,
    moments: &[Cross],
    weight_quantizer: &WeightQuantizer,
) -> Conv {
    let mut moved = conv.clone();
    let outputs = conv.geometry.out_channels / moments.len();
    for (group, cross) in moments.iter().enumerate() {
        let n = cross.input.rows;
        let (covariance, _) = cross.input.clone().into_covariance();
        let (factor, freedom) = (weight_quantizer.factor(group), weight_quantizer.freedom(group));
        let weights = &mut moved.weight[group * outputs * n..][..outputs * n];
        let bias = &mut moved.bias[group * outputs..][..outputs];
        let blocks =
            weights.par_chunks_mut(OUTPUTS * n).zip(bias.par_chunks_mut(OUTPUTS)).enumerate();
        blocks.for_each(|(at, (weights, bias))| {
            cross.solve(at * OUTPUTS, weights, bias, &covariance, (factor, freedom));
        });
    }
    moved
}

impl Cross {
    /// The weights `[K, N]` and biases that give the outputs best, held near zero by a part `ridge`
    /// of the inputs' mean variance.
    pub(crate) fn solution(self, ridge: f64) -> (Vec<f32>, Vec<f32>) {
        let Self { input, both, output, .. } = self;
        let (n, outputs) = (input.rows, output.len());
        let (mut covariance, first) = input.into_covariance();
        let variance = (0..n).map(|at| covariance[at * n + at]).sum::<f64>() / n.max(1) as f64;
        for at in 0..n {
            // Inputs that never change have none: their weights are zero, not undetermined.
            covariance[at * n + at] += (ridge * variance).max(f64::MIN_POSITIVE.sqrt());
        }
        let mut centered = both;
        for (row, mean) in centered.chunks_exact_mut(n.max(1)).zip(&output) {
            row.iter_mut().zip(&first).for_each(|(both, first)| *both -= mean * first);
        }
        // W = E[(y - E y)(x - E x)^T] (C + d)^-1, and the inverse is U^T U.
        let factor = inverse_factor(covariance, n);
        let (mut half, mut weights) = (vec![0.0; outputs * n], vec![0.0; outputs * n]);
        let columns = Factor::Columns(&factor);
        multiply_add_factors([outputs, n, n], Factor::Rows(&centered), columns, &mut half);
        multiply_add([outputs, n, n], &half, &factor, &mut weights);
        let bias = weights.chunks_exact(n.max(1)).zip(&output).map(|(row, mean)| {
            let explained: f64 = row.iter().zip(&first).map(|(weight, first)| weight * first).sum();
            (mean - explained) as f32
        });
        let bias = bias.collect();
        (weights.into_iter().map(|weight| weight as f32).collect(), bias)
    }

    /// Moves the weights and biases of outputs from `first` on.
    fn solve(
        &self,
        first: usize,
        weights: &mut [f32],
        bias: &mut [f32],
        covariance: &[f64],
        (factor, freedom): (&[f64], f64),
    ) {
        // Ridge regression toward the old weights: `W' = W + E[(y - W x)(x - E x)^T] (C + d)^-1`
        // makes the error plus `d |W' - W|^2` least, with `C` the covariance and `d` the damping.
        // All are `[outputs, N]`.
        let (n, outputs) = (self.input.rows, bias.len());
        let wide: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        // What is left to explain: E[(y - W x)(x - E x)^T].
        let mut rest = vec![0.0; outputs * n];
        let negative: Vec<f64> = wide.iter().map(|w| -w).collect();
        multiply_add([outputs, n, n], &negative, covariance, &mut rest);
        let both = &self.both[first * n..][..outputs * n];
        for (at, (rest, both)) in rest.iter_mut().zip(both).enumerate() {
            *rest += both - self.output[first + at / n] * self.input.first[at % n];
        }
        // The inverse is U^T U.
        let mut half = vec![0.0; outputs * n];
        multiply_add_factors(
            [outputs, n, n],
            Factor::Rows(&rest),
            Factor::Columns(factor),
            &mut half,
        );
        let mut step = vec![0.0; outputs * n];
        multiply_add([outputs, n, n], &half, factor, &mut step);
        for (output, (row, step)) in
            weights.chunks_exact_mut(n).zip(step.chunks_exact(n)).enumerate()
        {
            let (at, old) = (output * n, &wide[output * n..][..n]);
            let kept = self.kept(first + output, old, [&rest[at..][..n], step], freedom);
            // The bias takes the means: `E y - W' E x`.
            let mut mean = self.output[first + output];
            for (at, (weight, step)) in row.iter_mut().zip(step).enumerate() {
                let value = old[at] + kept * step;
                *weight = value as f32;
                mean -= value * self.input.first[at];
            }
            bias[output] = mean as f32;
        }
    }

    /// How much of a step is kept that few samples suggest: all of it where there are many.
    ///
    /// Were what is left to explain independent of the inputs, `freedom` free weights would still
    /// seem to explain `freedom / samples` of its variance, and make other images worse by as much.
    /// Of what the step explains, the rest is kept (James and Stein, 1961: the positive part).
    fn kept(&self, output: usize, old: &[f64], [rest, step]: [&[f64]; 2], freedom: f64) -> f64 {
        let mean = self.output[output];
        // The variance of `y - W x`, of which `rest` is the covariance with `x`.
        let both = &self.both[output * old.len()..][..old.len()];
        let explained_before = old
            .iter()
            .zip(rest)
            .zip(both.iter().zip(&self.input.first))
            .map(|((weight, rest), (both, first))| weight * (rest + both - mean * first));
        let left = self.squares[output] - mean * mean - explained_before.sum::<f64>();
        let explained: f64 = step.iter().zip(rest).map(|(step, rest)| step * rest).sum();
        if explained <= 0.0 {
            return 0.0;
        }
        // No step explains more than what there is to explain, but for sums in single precision.
        let chance = left.max(explained) * freedom / self.input.samples.max(1) as f64;
        (1.0 - chance / explained).max(0.0)
    }
}
