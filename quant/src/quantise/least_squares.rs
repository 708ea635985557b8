//! The weights that give a layer's output best, from the inputs that it has: least squares, held near the weights it had.
//! (Hubara et al.: AdaQuant, ICML 2021, section 3; Li et al.: GPTAQ, 2025.)

use rayon::prelude::*;

use super::calibrate::Moments;
use super::round::Rounder;
use crate::kernels::{Factor, multiply_add, multiply_add_factors};
use crate::model::Conv;

/// Moments of what a group of a layer reads, and of what it shall make of it.
pub(super) struct Cross {
    pub input: Moments,
    /// `E[y x^T]`, `[K, N]`.
    both: Vec<f64>,
    /// `E[y]`, `[K]`.
    output: Vec<f64>,
}

/// Images whose moments are summed by one core.
const TOGETHER: usize = 16;

impl Cross {
    /// Of a group with `rows` inputs and so many outputs, at `pixels` places of every image: `fill` gives an image's inputs, `[rows,
    /// pixels]`, and `target` its outputs, `[outputs, pixels]`.
    pub(super) fn of<'t>(
        [rows, outputs, pixels, images]: [usize; 4],
        fill: impl Fn(usize, &mut Vec<f32>) + Sync,
        target: impl Fn(usize) -> &'t [f32] + Sync,
    ) -> Self {
        let images: Vec<usize> = (0..images).collect();
        let part = |images: &[usize]| {
            let (mut second, mut both) = (vec![0.0f32; rows * rows], vec![0.0f32; outputs * rows]);
            let (mut first, mut output) = (vec![0.0f64; rows], vec![0.0f64; outputs]);
            let mut columns = Vec::new();
            let sum = |row: &[f32]| row.iter().map(|&v| f64::from(v)).sum::<f64>();
            for &image in images {
                fill(image, &mut columns);
                let y = target(image);
                let transposed = Factor::Columns(&columns);
                multiply_add_factors([rows, pixels, rows], Factor::Rows(&columns), transposed, &mut second);
                multiply_add_factors([outputs, pixels, rows], Factor::Rows(y), transposed, &mut both);
                first.iter_mut().zip(columns.chunks_exact(pixels)).for_each(|(v, row)| *v += sum(row));
                output.iter_mut().zip(y.chunks_exact(pixels)).for_each(|(v, row)| *v += sum(row));
            }
            [
                second.iter().map(|&v| f64::from(v)).collect(),
                both.iter().map(|&v| f64::from(v)).collect(),
                first,
                output,
            ]
        };
        let parts: Vec<[Vec<f64>; 4]> = images.par_chunks(TOGETHER).map(part).collect();
        let count = (images.len() * pixels).max(1) as f64;
        let mean = |which: usize| -> Vec<f64> {
            let mut sum = vec![0.0; parts[0][which].len()];
            for part in &parts {
                sum.iter_mut().zip(&part[which]).for_each(|(sum, v)| *sum += v);
            }
            sum.into_iter().map(|v| v / count).collect()
        };
        let input = Moments { rows, second: mean(0), first: mean(2) };
        Self { input, both: mean(1), output: mean(3) }
    }
}

/// The layer with weights and biases moved to the least squares.
pub(super) fn least_squares(conv: &Conv, moments: &[Cross], rounder: &Rounder) -> Conv {
    let mut moved = conv.clone();
    let outputs = conv.geometry.out_channels / moments.len();
    for (group, cross) in moments.iter().enumerate() {
        let n = cross.input.rows;
        let covariance = cross.input.covariance();
        let weights = &mut moved.weight[group * outputs * n..][..outputs * n];
        let wide: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        // What is left to explain: E[(y - W x)(x - E x)^T].
        let mut rest = vec![0.0; outputs * n];
        let negative: Vec<f64> = wide.iter().map(|w| -w).collect();
        multiply_add([outputs, n, n], &negative, &covariance, &mut rest);
        for (at, rest) in rest.iter_mut().enumerate() {
            *rest += cross.both[at] - cross.output[at / n] * cross.input.first[at % n];
        }
        let factor = rounder.factor(group);
        // The inverse is U^T U.
        let mut half = vec![0.0; outputs * n];
        multiply_add_factors([outputs, n, n], Factor::Rows(&rest), Factor::Columns(factor), &mut half);
        let mut step = vec![0.0; outputs * n];
        multiply_add([outputs, n, n], &half, factor, &mut step);
        for (output, (row, step)) in weights.chunks_exact_mut(n).zip(step.chunks_exact(n)).enumerate() {
            let mut mean = cross.output[output];
            for (at, (weight, step)) in row.iter_mut().zip(step).enumerate() {
                let value = wide[output * n + at] + step;
                *weight = value as f32;
                mean -= value * cross.input.first[at];
            }
            moved.bias[group * outputs + output] = mean as f32;
        }
    }
    moved
}
