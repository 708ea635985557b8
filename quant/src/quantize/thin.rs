//! The covariance of many inputs that few samples were seen of: a matrix of low rank and a
//! diagonal, so that nothing of the inputs squared is ever held.
//!
//! `H = V V^T + D`, with `V` of `[N, S]` for `S` samples. By the identity of Woodbury, for the last
//! weights from any one on, `H^-1 V = D^-1 V P` with `P = (1 + V^T D^-1 V)^-1`, of `[S, S]`
//! (Golub, Van Loan: Matrix Computations, 4th edition, section 2.1.4). What the dense matrix gives
//! follows from it, in `N S^2` steps instead of `N^3`.

use model::kernels::{Factor, multiply_add, multiply_add_factors};
use rayon::prelude::*;

/// `H` of one group.
#[derive(Clone, Debug)]
pub(super) struct Thin {
    samples: usize,
    /// `V`, `[N, S]`.
    basis: Vec<f64>,
    /// `D`, `[N]`.
    own: Vec<f64>,
    /// Row `i` is `P v_i`, with `P` of the weights behind `i`: `[N, S]`.
    gains: Vec<f64>,
    /// `P` of all weights, `[S, S]`.
    inner: Vec<f64>,
}

/// Weights whose errors move on together.
const BLOCK: usize = 64;
/// Rows of a product that one core computes.
const ROWS: usize = 256;

/// Whether so few samples of so many inputs are better kept than multiplied out. Below a thousand
/// inputs the dense matrix is small.
pub(super) const fn is_thin(rows: usize, samples: usize) -> bool {
    rows >= 1024 && samples > 0 && samples * 4 <= rows
}

impl Thin {
    /// Of `basis`, `[N, S]`, and the diagonal beside it, which is positive.
    pub(super) fn new(basis: Vec<f64>, own: Vec<f64>) -> Self {
        let samples = basis.len() / own.len().max(1);
        let mut inner = vec![0.0; samples * samples];
        inner.iter_mut().step_by(samples + 1).for_each(|entry| *entry = 1.0);
        let mut gains = vec![0.0; basis.len()];
        let rows = basis.chunks_exact(samples).zip(gains.chunks_exact_mut(samples)).zip(&own);
        // Invariant: `inner` is `P` of the weights behind this one. Taking it in is a change of
        // rank one (Sherman, Morrison, 1950).
        for ((row, gain), own) in rows.rev() {
            multiply_add([1, samples, samples], row, &inner, gain);
            let scale = 1.0 / (own + dot(row, gain));
            for (entries, &first) in inner.chunks_exact_mut(samples).zip(gain.iter()) {
                let factor = scale * first;
                entries.iter_mut().zip(gain.iter()).for_each(|(entry, g)| *entry -= factor * g);
            }
        }
        Self { samples, basis, own, gains, inner }
    }

    /// `x H` of some rows `[k, N]`.
    pub(super) fn times(&self, x: &[f64]) -> Vec<f64> {
        let (n, s) = (self.own.len(), self.samples);
        let k = x.len() / n;
        let mut seen = vec![0.0; k * s];
        multiply_add([k, n, s], x, &self.basis, &mut seen);
        let mut product: Vec<f64> = x
            .chunks_exact(n)
            .flat_map(|x| x.iter().zip(&self.own).map(|(x, own)| x * own))
            .collect();
        multiply_add_factors(
            [k, s, n],
            Factor::Rows(&seen),
            Factor::Columns(&self.basis),
            &mut product,
        );
        product
    }

    /// Adds what a step of weight `at` adds to `H d`: at once what the diagonal has of it, and the
    /// rest to `seen`, `[S]`, as `V^T` of it.
    pub(super) fn step(&self, at: usize, step: f64, to: &mut [f64], seen: &mut Vec<f64>) {
        seen.resize(self.samples, 0.0);
        seen.iter_mut().zip(self.row(at)).for_each(|(seen, v)| *seen += step * v);
        to[at] += step * self.own[at];
    }

    /// Adds `V seen`, and forgets it.
    pub(super) fn settle(&self, seen: &mut [f64], to: &mut [f64]) {
        multiply_add([self.own.len(), self.samples, 1], &self.basis, seen, to);
        seen.fill(0.0);
    }

    /// What `settle` would add at one weight.
    pub(super) fn unsettled(&self, seen: &[f64], at: usize) -> f64 {
        dot(seen, self.row(at))
    }

    fn row(&self, at: usize) -> &[f64] {
        &self.basis[at * self.samples..][..self.samples]
    }

    /// `x H^-1` of some rows `[k, N]`.
    pub(super) fn solve(&self, x: &[f64]) -> Vec<f64> {
        // `H^-1 = D^-1 - D^-1 V P V^T D^-1`.
        let (n, s) = (self.own.len(), self.samples);
        let k = x.len() / n;
        let over = |x: &[f64]| -> Vec<f64> {
            x.chunks_exact(n)
                .flat_map(|x| x.iter().zip(&self.own).map(|(x, own)| x / own))
                .collect()
        };
        let mut solved = over(x);
        let (mut seen, mut inner) = (vec![0.0; k * s], vec![0.0; k * s]);
        multiply_add([k, n, s], &solved, &self.basis, &mut seen);
        seen.iter_mut().for_each(|v| *v = -*v);
        multiply_add([k, s, s], &seen, &self.inner, &mut inner);
        let mut moved = vec![0.0; k * n];
        let (left, right) = (Factor::Rows(&inner), Factor::Columns(&self.basis));
        multiply_add_factors([k, s, n], left, right, &mut moved);
        solved.iter_mut().zip(over(&moved)).for_each(|(solved, moved)| *solved += moved);
        solved
    }

    /// The trace of `H^-1`.
    pub(super) fn inverse_trace(&self) -> f64 {
        let s = self.samples;
        let parts = self.basis.par_chunks(ROWS * s).zip(self.own.par_chunks(ROWS));
        let parts = parts.map(|(rows, own)| {
            let mut product = vec![0.0; rows.len()];
            multiply_add([own.len(), s, s], rows, &self.inner, &mut product);
            let each = rows.chunks_exact(s).zip(product.chunks_exact(s)).zip(own);
            each.map(|((row, product), own)| (1.0 - dot(row, product) / own) / own).sum::<f64>()
        });
        parts.collect::<Vec<f64>>().iter().sum()
    }

    /// Rounds some rows of weights, `[k, N]`, weight by weight, errors moving on to those behind.
    /// `round` is given a row, a place and what the weight has come to; it gives what is left.
    pub(super) fn round(&self, weights: &[f64], mut round: impl FnMut(usize, usize, f64) -> f64) {
        let (n, s) = (self.own.len(), self.samples);
        let k = weights.len() / n;
        // Invariant: an error `e` at `i` moves weight `j` behind it by `e v_j P v_i / D_j`, whose
        // sum over the weights of the blocks before is `v_j moved / D_j`; `moved` is `[k, S]`.
        let mut moved = vec![0.0; k * s];
        for start in (0..n).step_by(BLOCK) {
            let width = BLOCK.min(n - start);
            let rows = &self.basis[start * s..][..width * s];
            let gains = &self.gains[start * s..][..width * s];
            let mut free = vec![0.0; k * width];
            multiply_add_factors(
                [k, s, width],
                Factor::Rows(&moved),
                Factor::Columns(rows),
                &mut free,
            );
            let mut within = vec![0.0; width * width];
            multiply_add_factors(
                [width, s, width],
                Factor::Rows(gains),
                Factor::Columns(rows),
                &mut within,
            );
            let own = &self.own[start..start + width];
            let mut errors = vec![0.0; k * width];
            let blocks = free.chunks_exact_mut(width).zip(errors.chunks_exact_mut(width));
            for (row, (free, errors)) in blocks.enumerate() {
                let given = &weights[row * n + start..][..width];
                for i in 0..width {
                    let error = round(row, start + i, given[i] + free[i] / own[i]);
                    errors[i] = error;
                    let later = &within[i * width..][..width];
                    for (free, moved) in free[i + 1..].iter_mut().zip(&later[i + 1..]) {
                        *free += error * moved;
                    }
                }
            }
            multiply_add([k, width, s], &errors, gains, &mut moved);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::triangular::inverse_factor;
    use super::*;

    /// Numbers in -1..1, the same for the same seed.
    fn noise(len: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / f64::from(1u32 << 30) - 1.0
        };
        (0..len).map(step).collect()
    }

    /// A thin matrix, and the same one dense.
    fn both(n: usize, s: usize, seed: u64) -> (Thin, Vec<f64>) {
        let basis = noise(n * s, seed);
        let own: Vec<f64> = noise(n, seed ^ 1).iter().map(|v| 0.1 + v.abs()).collect();
        let mut dense = vec![0.0; n * n];
        let (left, right) = (Factor::Rows(&basis[..]), Factor::Columns(&basis[..]));
        multiply_add_factors([n, s, n], left, right, &mut dense);
        dense.iter_mut().step_by(n + 1).zip(&own).for_each(|(entry, own)| *entry += own);
        (Thin::new(basis, own), dense)
    }

    fn near(found: &[f64], expected: &[f64]) -> Result<(), TestCaseError> {
        let largest = expected.iter().fold(1e-9f64, |most, v| v.abs().max(most));
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            prop_assert!((found - expected).abs() < 1e-9 * largest, "{found} {expected}");
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn products_and_solutions_are_those_of_the_dense_matrix(
            n in 1usize..70,
            s in 1usize..9,
            k in 1usize..4,
            seed: u64,
        ) {
            let (thin, dense) = both(n, s, seed);
            let x = noise(k * n, seed ^ 2);
            let mut product = vec![0.0; k * n];
            multiply_add([k, n, n], &x, &dense, &mut product);
            near(&thin.times(&x), &product)?;
            near(&thin.solve(&product), &x)?;
            let (mut row, mut seen) = (vec![0.0; n], Vec::new());
            thin.step(n / 2, 0.5, &mut row, &mut seen);
            let last = row[n - 1] + thin.unsettled(&seen, n - 1);
            thin.settle(&mut seen, &mut row);
            let expected: Vec<f64> = dense[n / 2 * n..][..n].iter().map(|v| 0.5 * v).collect();
            near(&row, &expected)?;
            near(&[last], &expected[n - 1..])?;
            let factor = inverse_factor(dense, n);
            let trace: f64 = factor.iter().map(|entry| entry * entry).sum();
            near(&[thin.inverse_trace()], &[trace])?;
        }

        // As GPTQ has it: row `i` of the inverse's factor says how weights behind `i` move.
        #[test]
        fn errors_move_on_as_the_factor_of_the_inverse_says(
            n in prop_oneof![1usize..9, BLOCK - 1..BLOCK + 2, 2 * BLOCK..2 * BLOCK + 9],
            s in 1usize..9,
            seed: u64,
        ) {
            let (thin, dense) = both(n, s, seed);
            let (factor, weights) = (inverse_factor(dense, n), noise(2 * n, seed ^ 3));
            let mut found = vec![0.0; 2 * n];
            thin.round(&weights, |row, at, value| {
                found[row * n + at] = value;
                value - (value * 4.0).round() / 4.0
            });
            let mut expected = weights;
            for free in expected.chunks_exact_mut(n) {
                for i in 0..n {
                    // What was rounded, not what became of it: near halves the two may differ.
                    let error = found[i] - (found[i] * 4.0).round() / 4.0;
                    let row = &factor[i * n..(i + 1) * n];
                    for (later, entry) in free[i + 1..].iter_mut().zip(&row[i + 1..]) {
                        *later -= error / row[i] * entry;
                    }
                }
                found.rotate_left(n);
            }
            near(&found, &expected)?;
        }
    }
}
