//! The weights that give a layer's output best, from the inputs that it has: least squares, held
//! near the weights it had. (Hubara et al.: AdaQuant, ICML 2021, section 3; Li et al.: GPTAQ,
//! 2025.)

use model::Conv;
use model::kernels::{Factor, multiply_add, multiply_add_factors};
use rayon::prelude::*;

use super::calibrate::{Moments, Second, beside, center, covariance};
use super::gram::{Gram, mirror};
use super::hessian::Group;
use super::round::WeightQuantizer;
use super::thin::is_thin;
use super::triangular::inverse_factor;

/// Moments of what a group of a layer reads, and of what it shall make of it.
pub(crate) struct Cross {
    pub(super) input: Moments,
    /// `E[y x^T]`, `[K, N]`; of samples that are kept, none.
    both: Vec<f64>,
    /// `y - E[y]` of samples that are kept, `[K, S]`, or none.
    targets: Vec<f32>,
    /// `E[y]`, `[K]`.
    output: Vec<f64>,
    /// `E[y^2]`, `[K]`; of samples that are kept, none.
    squares: Vec<f64>,
}

/// What a group's inputs say, in double precision.
enum Inputs {
    /// `E[(x - E x)(x - E x)^T]`, `[N, N]`.
    Covariance(Vec<f64>),
    /// `x - E x` of every sample, `[N, S]`.
    Samples(Vec<f64>),
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
        if is_thin(rows, pixels * images) {
            return Self::thin([rows, outputs, pixels, images], &fill, &target);
        }
        Self::whole([rows, outputs, pixels, images], &fill, &target)
    }

    /// Sums over all samples.
    fn whole<'t>(
        [rows, outputs, pixels, images]: [usize; 4],
        fill: &(impl Fn(usize, &mut Vec<f32>) + Sync),
        target: &(impl Fn(usize) -> &'t [f32] + Sync),
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
                .map(|images| Sums::of([rows, outputs, pixels], images, fill, target))
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
        let input = Moments { rows, second: Second::Whole(second), first, samples };
        Self { input, both, targets: Vec::new(), output, squares }
    }

    /// All samples as they are.
    fn thin<'t>(
        [rows, outputs, pixels, images]: [usize; 4],
        fill: &impl Fn(usize, &mut Vec<f32>),
        target: &impl Fn(usize) -> &'t [f32],
    ) -> Self {
        let samples = pixels * images;
        let (mut x, mut y) = (vec![0.0; rows * samples], vec![0.0; outputs * samples]);
        let mut columns = Vec::new();
        for image in 0..images {
            fill(image, &mut columns);
            beside(&columns, &mut x, pixels, samples, image * pixels);
            beside(target(image), &mut y, pixels, samples, image * pixels);
        }
        let (first, output) = (center(&mut x, samples), center(&mut y, samples));
        let input = Moments { rows, second: Second::Samples(x), first, samples };
        Self { input, both: Vec::new(), targets: y, output, squares: Vec::new() }
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
    for (at, cross) in moments.iter().enumerate() {
        let n = cross.input.rows;
        let (inputs, group) = (Inputs::of(&cross.input), weight_quantizer.group(at));
        let freedom = group.freedom();
        let weights = &mut moved.weight[at * outputs * n..][..outputs * n];
        let bias = &mut moved.bias[at * outputs..][..outputs];
        let blocks =
            weights.par_chunks_mut(OUTPUTS * n).zip(bias.par_chunks_mut(OUTPUTS)).enumerate();
        blocks.for_each(|(block, (weights, bias))| {
            cross.solve(block * OUTPUTS, weights, bias, &inputs, (group, freedom));
        });
    }
    moved
}

impl Inputs {
    fn of(moments: &Moments) -> Self {
        match &moments.second {
            Second::Whole(second) => Self::Covariance(covariance(second.clone(), &moments.first)),
            Second::Samples(x) => Self::Samples(x.iter().map(|&v| v.into()).collect()),
        }
    }
}

impl Cross {
    /// The weights `[K, N]` and biases that give the outputs best, held near zero by a part `ridge`
    /// of the inputs' mean variance. Arguments are those of [`Self::of`].
    pub(crate) fn solution<'t>(
        sizes: [usize; 4],
        fill: impl Fn(usize, &mut Vec<f32>) + Sync,
        target: impl Fn(usize) -> &'t [f32] + Sync,
        ridge: f64,
    ) -> (Vec<f32>, Vec<f32>) {
        let Self { input, both, output, .. } = Self::whole(sizes, &fill, &target);
        let Moments { rows: n, second, first, .. } = input;
        let (outputs, Second::Whole(second)) = (output.len(), second) else {
            unreachable!("invariant: sums were asked for")
        };
        let mut covariance = covariance(second, &first);
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
        inputs: &Inputs,
        (group, freedom): (&Group, f64),
    ) {
        // Ridge regression toward the old weights: `W' = W + E[(y - W x)(x - E x)^T] (C + d)^-1`
        // makes the error plus `d |W' - W|^2` least, with `C` the covariance and `d` the damping.
        // All are `[outputs, N]`.
        let n = self.input.rows;
        let wide: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        let (rest, left) = self.rest(first, &wide, inputs);
        let step = group.solve(&rest);
        for (output, (row, step)) in
            weights.chunks_exact_mut(n).zip(step.chunks_exact(n)).enumerate()
        {
            let (at, old) = (output * n, &wide[output * n..][..n]);
            let kept = self.kept(left[output], [&rest[at..][..n], step], freedom);
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

    /// What is left to explain by outputs from `first` on, which have the weights `wide`:
    /// `E[(y - W x)(x - E x)^T]`, `[outputs, N]`, and the variance of `y - W x`.
    fn rest(&self, first: usize, wide: &[f64], inputs: &Inputs) -> (Vec<f64>, Vec<f64>) {
        let n = self.input.rows;
        let outputs = wide.len() / n;
        let mut rest = vec![0.0; outputs * n];
        let negative: Vec<f64> = wide.iter().map(|w| -w).collect();
        match inputs {
            Inputs::Covariance(covariance) => {
                multiply_add([outputs, n, n], &negative, covariance, &mut rest);
                let both = &self.both[first * n..][..outputs * n];
                for (at, (rest, both)) in rest.iter_mut().zip(both).enumerate() {
                    *rest += both - self.output[first + at / n] * self.input.first[at % n];
                }
                let rows = wide.chunks_exact(n).zip(rest.chunks_exact(n)).enumerate();
                let left = rows.map(|(at, (old, rest))| self.left(first + at, old, rest));
                let left = left.collect();
                (rest, left)
            }
            Inputs::Samples(x) => {
                let s = self.input.samples;
                let y = &self.targets[first * s..][..outputs * s];
                let mut residual: Vec<f64> = y.iter().map(|&v| v.into()).collect();
                multiply_add([outputs, n, s], &negative, x, &mut residual);
                let left = residual.chunks_exact(s);
                let left = left.map(|row| row.iter().map(|v| v * v).sum::<f64>() / s as f64);
                let left = left.collect();
                residual.iter_mut().for_each(|v| *v /= s as f64);
                let (rows, columns) = (Factor::Rows(&residual[..]), Factor::Columns(&x[..]));
                multiply_add_factors([outputs, s, n], rows, columns, &mut rest);
                (rest, left)
            }
        }
    }

    /// The variance of `y - W x`, of which `rest` is the covariance with `x`, by moments.
    fn left(&self, output: usize, old: &[f64], rest: &[f64]) -> f64 {
        let mean = self.output[output];
        let both = &self.both[output * old.len()..][..old.len()];
        let explained_before = old
            .iter()
            .zip(rest)
            .zip(both.iter().zip(&self.input.first))
            .map(|((weight, rest), (both, first))| weight * (rest + both - mean * first));
        self.squares[output] - mean * mean - explained_before.sum::<f64>()
    }

    /// How much of a step is kept that few samples suggest: all of it where there are many.
    ///
    /// `left` is the variance of what is left, `rest` its covariance with the inputs.
    ///
    /// Were what is left to explain independent of the inputs, `freedom` free weights would still
    /// seem to explain `freedom / samples` of its variance, and make other images worse by as much.
    /// Of what the step explains, the rest is kept (James and Stein, 1961: the positive part).
    fn kept(&self, left: f64, [rest, step]: [&[f64]; 2], freedom: f64) -> f64 {
        let explained: f64 = step.iter().zip(rest).map(|(step, rest)| step * rest).sum();
        if explained <= 0.0 {
            return 0.0;
        }
        // No step explains more than what there is to explain, but for sums in single precision.
        let chance = left.max(explained) * freedom / self.input.samples.max(1) as f64;
        (1.0 - chance / explained).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocols::linear::Geometry;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn samples_that_are_kept_say_what_their_moments_say(
            rows in 1usize..90,
            outputs in 1usize..4,
            pixels in 1usize..4,
            images in 1usize..9,
            seed in 0usize..1000,
        ) {
            let value = |at: usize| ((at * at + seed * 31 + at * 7) % 23) as f32 / 8.0 - 0.9;
            let inputs: Vec<Vec<f32>> = (0..images)
                .map(|n| (0..rows * pixels).map(|i| value(n * 97 + i)).collect())
                .collect();
            let targets: Vec<Vec<f32>> = (0..images)
                .map(|n| (0..outputs * pixels).map(|i| value(n * 41 + i * 3)).collect())
                .collect();
            let weight = (0..outputs * rows).map(|i| value(i * 5 + 2)).collect();
            let geometry = Geometry::dense(rows, outputs);
            let conv = Conv { geometry, weight, bias: vec![0.5; outputs] };
            let fill = |n: usize, columns: &mut Vec<f32>| columns.clone_from(&inputs[n]);
            let target = |n: usize| &targets[n][..];
            let shape = [rows, outputs, pixels, images];
            let found = [Cross::whole(shape, &fill, &target), Cross::thin(shape, &fill, &target)];
            let [whole, thin] = found.map(|cross| {
                let quantizer = WeightQuantizer::new(vec![cross.input.clone()]);
                let moved = least_squares(&conv, &[cross], &quantizer);
                (moved, quantizer.group(0).freedom())
            });
            prop_assert!((whole.1 - thin.1).abs() < 1e-3 * (1.0 + whole.1), "{whole:?} {thin:?}");
            let pairs = whole.0.weight.iter().zip(&thin.0.weight);
            for (a, b) in pairs.chain(whole.0.bias.iter().zip(&thin.0.bias)) {
                prop_assert!((a - b).abs() < 1e-2 * a.abs().max(1.0), "{a} {b}");
            }
        }
    }
}
