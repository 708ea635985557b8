//! Cholesky factors of large matrices, in blocks: nearly all of the work is products of matrices,
//! which run on all cores (Golub, Van Loan: Matrix Computations, 4th edition, section 4.2.6).
//!
//! What is summed together depends on sizes alone, not on the number of cores. A matrix of one
//! block is factored by the plain recurrences.

use model::kernels::{Factor, multiply_add, multiply_add_spaced};
use rayon::prelude::*;

/// Rows and columns of a block: a product of two such is long enough to run at full speed, and the
/// plain recurrences within blocks are a small part of all.
const BLOCK: usize = 128;

/// The upper triangular `U` with `U^T U = A^-1`, `[n, n]` row-major, for a positive definite `A`.
pub(super) fn inverse_factor(mut a: Vec<f64>, n: usize) -> Vec<f64> {
    // A, reversed in both axes, is L L^T. L reversed is an upper R with A = R R^T, so U = R^-1 =
    // L^-1 reversed.
    a.reverse();
    cholesky(&mut a, n);
    let mut inverse = invert_lower(&a, n);
    inverse.reverse();
    inverse
}

/// The lower Cholesky factor, in place; only the lower triangle of `a` is read.
fn cholesky(a: &mut [f64], n: usize) {
    for start in (0..n).step_by(BLOCK) {
        let width = BLOCK.min(n - start);
        let (own, below) = a[start * n..].split_at_mut(width * n);
        // Invariant: columns before `start` are those of `L` already. Negated, since products are
        // added: `[width, start]`.
        let before: Vec<f64> =
            own.chunks_exact(n).flat_map(|row| row[..start].iter().map(|v| -v)).collect();
        let mut diagonal = part(own, n, start, width);
        let product = [Factor::Rows(&before), Factor::Columns(&before)];
        let mut found = vec![0.0; width * width];
        multiply_add_spaced([width, start, width], product[0], product[1], &mut found, width);
        diagonal.iter_mut().zip(&found).for_each(|(entry, found)| *entry -= found);
        cholesky_block(&mut diagonal, width);
        for (row, diagonal) in own.chunks_exact_mut(n).zip(diagonal.chunks_exact(width)) {
            row[start..start + width].copy_from_slice(diagonal);
            row[start + width..].fill(0.0);
        }
        let inverse = invert_block(&diagonal, width);
        below.par_chunks_mut(BLOCK * n).for_each(|rows| {
            // `L_ij = (A_ij - sum over k < j of L_ik L_jk^T) L_jj^-T`.
            let height = rows.len() / n;
            let mut rest = part(rows, n, start, width);
            let left = Factor::Spaced(rows, n);
            let shape = [height, start, width];
            multiply_add_spaced(shape, left, Factor::Columns(&before), &mut rest, width);
            let mut solved = vec![0.0; height * width];
            let (left, right) = (Factor::Rows(&rest), Factor::Columns(&inverse));
            multiply_add_spaced([height, width, width], left, right, &mut solved, width);
            for (row, solved) in rows.chunks_exact_mut(n).zip(solved.chunks_exact(width)) {
                row[start..start + width].copy_from_slice(solved);
            }
        });
    }
}

/// The inverse of a lower triangular matrix, `[n, n]`.
fn invert_lower(l: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; n * n];
    for start in (0..n).step_by(BLOCK) {
        let width = BLOCK.min(n - start);
        let (before, own) = inverse.split_at_mut(start * n);
        let rows = &l[start * n..][..width * n];
        let diagonal = invert_block(&part(rows, n, start, width), width);
        let negative: Vec<f64> = diagonal.iter().map(|v| -v).collect();
        // `X_ij = -L_ii^-1 (sum over j <= k < i of L_ik X_kj)`: `X` is lower triangular, too.
        let firsts: Vec<usize> = (0..start).step_by(BLOCK).collect();
        let parts: Vec<Vec<f64>> = firsts
            .par_iter()
            .map(|&first| {
                let (left, right) = (&rows[first..], &before[first * n + first..]);
                let (left, right) = (Factor::Spaced(left, n), Factor::Spaced(right, n));
                let mut sum = vec![0.0; width * BLOCK];
                multiply_add_spaced([width, start - first, BLOCK], left, right, &mut sum, BLOCK);
                let mut found = vec![0.0; width * BLOCK];
                multiply_add([width, width, BLOCK], &negative, &sum, &mut found);
                found
            })
            .collect();
        for (at, row) in own[..width * n].chunks_exact_mut(n).enumerate() {
            for (first, part) in firsts.iter().zip(&parts) {
                row[*first..first + BLOCK].copy_from_slice(&part[at * BLOCK..][..BLOCK]);
            }
            row[start..start + width].copy_from_slice(&diagonal[at * width..][..width]);
        }
    }
    inverse
}

/// Columns `start..start + width` of rows of `n` columns.
fn part(rows: &[f64], n: usize, start: usize, width: usize) -> Vec<f64> {
    rows.chunks_exact(n).flat_map(|row| &row[start..start + width]).copied().collect()
}

/// The lower Cholesky factor of one block, in place.
fn cholesky_block(a: &mut [f64], n: usize) {
    // Row by row (Cholesky-Banachiewicz): rows before `j` are those of `L` already, and only the
    // lower triangle of `a` is read.
    for j in 0..n {
        let (before, rest) = a.split_at_mut(j * n);
        let row = &mut rest[..n];
        for k in 0..j {
            let other = &before[k * n..(k + 1) * n];
            let dot: f64 = row[..k].iter().zip(&other[..k]).map(|(x, y)| x * y).sum();
            row[k] = (row[k] - dot) / other[k];
        }
        let dot: f64 = row[..j].iter().map(|x| x * x).sum();
        // Rounding may push a pivot of a nearly singular matrix to zero or below.
        row[j] = (row[j] - dot).max(1e-18).sqrt();
        row[j + 1..].fill(0.0);
    }
}

/// The inverse of one lower triangular block.
fn invert_block(l: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; n * n];
    // Forward substitution: row `i` is `(e_i - sum over k < i of l[i, k] row_k) / l[i, i]`, and
    // `row_k` ends at its diagonal.
    for i in 0..n {
        let mut row = vec![0.0; n];
        row[i] = 1.0;
        for k in 0..i {
            let factor = l[i * n + k];
            for (slot, value) in row[..=k].iter_mut().zip(&inverse[k * n..k * n + k + 1]) {
                *slot -= factor * value;
            }
        }
        for slot in &mut row[..=i] {
            *slot /= l[i * n + i];
        }
        inverse[i * n..(i + 1) * n].copy_from_slice(&row);
    }
    inverse
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// `B B^T + 1/2`, of random `B`.
    fn positive_definite(n: usize, seed: u64) -> Vec<f64> {
        let b = noise(n * n, seed);
        let mut a = vec![0.0; n * n];
        (0..n).for_each(|i| a[i * n + i] = 0.5);
        multiply_add_spaced([n, n, n], Factor::Rows(&b), Factor::Columns(&b), &mut a, n);
        a
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_factor_is_one_of_the_inverse(
            n in prop_oneof![
                1usize..7, BLOCK - 1..BLOCK + 2, 2 * BLOCK - 1..2 * BLOCK + 2, Just(3 * BLOCK + 5),
            ],
            seed: u64,
        ) {
            let a = positive_definite(n, seed);
            let u = inverse_factor(a.clone(), n);
            let (mut inverse, mut unit) = (vec![0.0; n * n], vec![0.0; n * n]);
            multiply_add_spaced([n, n, n], Factor::Columns(&u), Factor::Rows(&u), &mut inverse, n);
            multiply_add([n, n, n], &inverse, &a, &mut unit);
            for i in 0..n {
                for j in 0..n {
                    let expected = f64::from(u8::from(i == j));
                    prop_assert!((unit[i * n + j] - expected).abs() < 1e-6);
                    prop_assert!(i <= j || u[i * n + j] == 0.0);
                }
            }
        }

        #[test]
        fn blocks_find_what_the_recurrences_find(n in BLOCK + 1..3 * BLOCK, seed: u64) {
            let mut a = positive_definite(n, seed);
            let mut expected = a.clone();
            cholesky(&mut a, n);
            cholesky_block(&mut expected, n);
            let inverse = invert_lower(&a, n);
            let expected_inverse = invert_block(&expected, n);
            for (found, expected) in [(a, expected), (inverse, expected_inverse)] {
                let largest = expected.iter().fold(0.0f64, |most, v| v.abs().max(most));
                for (found, expected) in found.iter().zip(&expected) {
                    prop_assert!((found - expected).abs() < 1e-9 * largest);
                }
            }
        }
    }
}
