//! `H`, what a change of a layer's weights costs: the covariance of its inputs, damped.

use model::kernels::{Factor, multiply_add, multiply_add_factors};
use rayon::prelude::*;

use super::calibrate::{Moments, Second, covariance};
use super::thin::Thin;
use super::triangular::inverse_factor;

/// One group of a convolution.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) rows: usize,
    pub(super) hessian: Hessian,
    /// Of `H`, damped.
    pub(super) diagonal: Vec<f64>,
    pub(super) mean: Vec<f64>,
    /// What was added to the diagonal.
    damping: f64,
}

/// `H`, damped.
#[derive(Clone, Debug)]
pub(super) enum Hessian {
    Dense {
        /// `[N, N]`.
        damped: Vec<f64>,
        /// `U` with `U^T U` the inverse of that, `[N, N]`.
        factor: Vec<f64>,
    },
    /// Of few samples.
    Thin(Thin),
}

/// `H d` of a channel, `d` being what its weights were moved by.
pub(super) struct Slope {
    /// But for what the last steps add, where `H` is thin: a step costs `N S` there.
    pub(super) values: Vec<f64>,
    /// What they lack, as [`Thin::step`] gives it.
    seen: Vec<f64>,
    /// Of how many steps that is.
    lacking: usize,
}

/// What is added to the diagonal of `H`, of its mean.
const DAMPING: f64 = 0.01;
/// What is added to it at least, of the inputs' mean square.
const CONSTANT: f64 = 1e-3;
/// Steps that a slope may lack.
const LACKING: usize = 16;

impl Slope {
    pub(super) const fn new(values: Vec<f64>) -> Self {
        Self { values, seen: Vec::new(), lacking: 0 }
    }
}

impl Group {
    pub(super) fn new(moments: Moments) -> Self {
        let Moments { rows, second, first: mean, samples } = moments;
        let (hessian, diagonal, damping) = match second {
            Second::Whole(second) => Hessian::dense(second, &mean, samples),
            Second::Samples(centered) => Hessian::thin(centered, &mean, samples),
        };
        Self { rows, hessian, diagonal, mean, damping }
    }

    /// How many of the weights samples can tell apart: the trace of `C (C + d)^-1`, with `C` the
    /// covariance and `d` the damping.
    pub(super) fn freedom(&self) -> f64 {
        let trace = match &self.hessian {
            Hessian::Dense { factor, .. } => {
                factor.par_iter().map(|entry| entry * entry).sum::<f64>()
            }
            Hessian::Thin(thin) => thin.inverse_trace(),
        };
        (self.rows as f64 - self.damping * trace).max(0.0)
    }

    /// `x H^-1` of some rows `[k, N]`.
    pub(super) fn solve(&self, x: &[f64]) -> Vec<f64> {
        let (n, k) = (self.rows, x.len() / self.rows);
        match &self.hessian {
            Hessian::Dense { factor, .. } => {
                // The inverse is U^T U.
                let (mut half, mut solved) = (vec![0.0; k * n], vec![0.0; k * n]);
                let (left, right) = (Factor::Rows(x), Factor::Columns(&factor[..]));
                multiply_add_factors([k, n, n], left, right, &mut half);
                multiply_add([k, n, n], &half, factor, &mut solved);
                solved
            }
            Hessian::Thin(thin) => thin.solve(x),
        }
    }

    /// `x H` of some rows `[k, N]`.
    pub(super) fn times(&self, x: &[f64]) -> Vec<f64> {
        match &self.hessian {
            Hessian::Dense { damped, .. } => {
                let (n, k) = (self.rows, x.len() / self.rows);
                let mut product = vec![0.0; k * n];
                multiply_add([k, n, n], x, damped, &mut product);
                product
            }
            Hessian::Thin(thin) => thin.times(x),
        }
    }

    /// `(H d)[at]`.
    pub(super) fn slope(&self, slope: &Slope, at: usize) -> f64 {
        let rest = match &self.hessian {
            Hessian::Dense { .. } => 0.0,
            Hessian::Thin(thin) if slope.lacking > 0 => thin.unsettled(&slope.seen, at),
            Hessian::Thin(_) => 0.0,
        };
        slope.values[at] + rest
    }

    /// Moves `d` by a step at one weight.
    pub(super) fn step(&self, slope: &mut Slope, at: usize, step: f64) {
        match &self.hessian {
            Hessian::Dense { damped, .. } => {
                let row = &damped[at * self.rows..(at + 1) * self.rows];
                slope.values.iter_mut().zip(row).for_each(|(value, h)| *value += step * h);
            }
            Hessian::Thin(thin) => {
                thin.step(at, step, &mut slope.values, &mut slope.seen);
                slope.lacking += 1;
                if slope.lacking == LACKING {
                    thin.settle(&mut slope.seen, &mut slope.values);
                    slope.lacking = 0;
                }
            }
        }
    }
}

impl Hessian {
    /// Of `E[x x^T]`: `H`, its diagonal, and what was added to that.
    fn dense(second: Vec<f64>, mean: &[f64], samples: usize) -> (Self, Vec<f64>, f64) {
        let n = mean.len();
        let squares: Vec<f64> = second.iter().step_by(n + 1).copied().collect();
        let mut damped = covariance(second, mean);
        shrink(&mut damped, n, samples);
        let before = damped.first().copied().unwrap_or(0.0);
        damp(damped.iter_mut().step_by(n + 1), &squares);
        let damping = damped.first().copied().unwrap_or(0.0) - before;
        let diagonal = damped.iter().step_by(n + 1).copied().collect();
        let factor = inverse_factor(damped.clone(), n);
        (Self::Dense { damped, factor }, diagonal, damping)
    }

    /// As [`Hessian::dense`], of centered samples `[N, S]`.
    fn thin(centered: Vec<f32>, mean: &[f64], samples: usize) -> (Self, Vec<f64>, f64) {
        let scale = 1.0 / (samples.max(1) as f64).sqrt();
        let mut basis: Vec<f64> = centered.iter().map(|&v| f64::from(v) * scale).collect();
        drop(centered);
        let variances: Vec<f64> =
            basis.chunks_exact(samples).map(|row| row.iter().map(|v| v * v).sum()).collect();
        // The entries' squares of `A A^T` and of `A^T A` have the same sum.
        let mut inner = vec![0.0; samples * samples];
        let (left, right) = (Factor::Columns(&basis[..]), Factor::Rows(&basis[..]));
        multiply_add_factors([samples, mean.len(), samples], left, right, &mut inner);
        let all: f64 = inner.iter().map(|entry| entry * entry).sum();
        let kept = kept(&variances, all, samples);
        basis.iter_mut().for_each(|v| *v *= kept.sqrt());
        let squares: Vec<f64> = variances.iter().zip(mean).map(|(v, m)| v + m * m).collect();
        let mut diagonal = variances.clone();
        damp(diagonal.iter_mut(), &squares);
        let damping = diagonal.first().zip(variances.first()).map_or(0.0, |(d, v)| d - v);
        let own = diagonal.iter().zip(&variances).map(|(d, v)| d - kept * v).collect();
        (Self::Thin(Thin::new(basis, own)), diagonal, damping)
    }
}

/// Adds to the diagonal of `H` what makes it positive definite also where inputs are constant or
/// linearly dependent. `squares` are the inputs' mean squares: where they hardly vary around their
/// means, as those of a single image, `H` is mostly rounding errors of these.
pub(super) fn damp<'a>(diagonal: impl Iterator<Item = &'a mut f64>, squares: &[f64]) {
    let mut diagonal: Vec<&mut f64> = diagonal.collect();
    let trace: f64 = diagonal.iter().map(|entry| **entry).sum();
    // Sums in single precision are off by about 1e-6 of the squares: the least damping is a
    // thousand times that, and less than `DAMPING` asks for where inputs vary.
    let least = CONSTANT * squares.iter().sum::<f64>();
    let damping = ((DAMPING * trace).max(least) / diagonal.len() as f64).max(1e-12);
    diagonal.iter_mut().for_each(|entry| **entry += damping);
}

/// Moves a covariance `[n, n]` of so many samples toward its diagonal, as far as what is beside it
/// may be chance (Schafer, Strimmer: Shrinkage approach to covariance estimation, 2005, section 2).
/// Else errors of rounding are made up for by weights that only seem to tell of each other.
fn shrink(covariance: &mut [f64], n: usize, samples: usize) {
    let all: f64 = covariance.par_iter().map(|entry| entry * entry).sum();
    let diagonal: Vec<f64> = covariance.iter().step_by(n + 1).copied().collect();
    let kept = kept(&diagonal, all, samples);
    covariance.par_chunks_mut(n).enumerate().for_each(|(row, entries)| {
        let own = entries[row];
        entries.iter_mut().for_each(|entry| *entry *= kept);
        entries[row] = own;
    });
}

/// How much of what is beside the diagonal of a covariance is kept; `all` is the sum of the
/// entries' squares.
fn kept(diagonal: &[f64], all: f64, samples: usize) -> f64 {
    let trace: f64 = diagonal.iter().sum();
    let own: f64 = diagonal.iter().map(|entry| entry * entry).sum();
    let beside = all - own;
    if beside <= 0.0 {
        return 1.0;
    }
    // Of normal values, an entry has the variance `(c_ii c_jj + c_ij^2) / samples`.
    let chance = (trace * trace - own + beside) / samples.max(1) as f64;
    // Where all may be chance, rounding is to the nearest.
    (1.0 - chance / beside).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covariances_of_few_samples_lose_what_may_be_chance() {
        // Independent inputs that few samples make look dependent, and one input twice.
        let chance = [1.0, 0.3, 0.3, 1.0];
        for (samples, least, most) in [(4, 0.0, 1e-9), (1 << 20, 0.299, 0.3)] {
            let mut found = chance;
            shrink(&mut found, 2, samples);
            assert!(found[1] >= least && found[1] <= most, "{samples}: {found:?}");
            assert_eq!((found[0], found[3]), (1.0, 1.0));
        }
        let mut twice = [1.0; 4];
        shrink(&mut twice, 2, 64);
        assert!(twice[1] > 0.95, "{twice:?}");
    }
}
