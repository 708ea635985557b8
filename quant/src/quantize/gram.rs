//! Sums of `x x^T`, of which half is computed: they are symmetric.

use model::kernels::{Factor, multiply_add_factors};
use rayon::prelude::*;

/// Rows that are multiplied together. Matrices of no more rows are computed whole.
const BLOCK: usize = 512;

/// A sum of `x x^T`, `[rows, rows]`: of every block of rows what ends with its diagonal block.
pub(super) struct Gram {
    rows: usize,
    blocks: Vec<Vec<f32>>,
}

impl Gram {
    /// Zero.
    pub(super) fn zeros(rows: usize) -> Self {
        let blocks = extents(rows).map(|(start, end)| vec![0.0; (end - start) * end]);
        Self { rows, blocks: blocks.collect() }
    }

    /// Adds `x x^T`, of `x` `[rows, columns]`.
    pub(super) fn add(&mut self, x: &[f32], columns: usize) {
        let extents: Vec<(usize, usize)> = extents(self.rows).collect();
        self.blocks.par_iter_mut().zip(extents).for_each(|(block, (start, end))| {
            // `x` read by columns is `x^T`; its first `end` rows are consecutive.
            let left = Factor::Rows(&x[start * columns..end * columns]);
            let right = Factor::Columns(&x[..end * columns]);
            multiply_add_factors([end - start, columns, end], left, right, block);
        });
    }

    /// Adds this to another sum, `[rows, rows]`, but for what [`mirror`] fills in.
    pub(super) fn add_to(&self, sum: &mut [f64]) {
        let sums = sum.par_chunks_mut((BLOCK * self.rows).max(1));
        sums.zip(&self.blocks).zip(extents(self.rows).collect::<Vec<_>>()).for_each(
            |((sums, block), (_, end))| {
                let rows = sums.chunks_exact_mut(self.rows).zip(block.chunks_exact(end));
                for (sums, row) in rows {
                    sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
                }
            },
        );
    }
}

/// Fills in what lies beyond the diagonal blocks of a sum, `[rows, rows]`.
pub(super) fn mirror(sum: &mut [f64], rows: usize) {
    for (start, end) in extents(rows) {
        for (row, column) in (start..end).flat_map(|row| (end..rows).map(move |c| (row, c))) {
            sum[row * rows + column] = sum[column * rows + row];
        }
    }
}

/// The first row of every block, and the one behind it.
fn extents(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(BLOCK).map(move |start| (start, rows.min(start + BLOCK)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        // Integers of this size are exact in f32, whatever the order of additions.
        #[test]
        fn halves_and_their_mirror_are_the_whole(
            rows in prop_oneof![1..9_usize, BLOCK - 1..BLOCK + 2, 2 * BLOCK - 1..2 * BLOCK + 2],
            columns in 1..5_usize,
            seed in 0..1000_usize,
        ) {
            let x: Vec<f32> =
                (0..rows * columns).map(|i| ((i * 7 + seed) % 17) as f32 - 8.0).collect();
            let mut gram = Gram::zeros(rows);
            gram.add(&x, columns);
            gram.add(&x, columns);
            let mut found = vec![0.0; rows * rows];
            gram.add_to(&mut found);
            mirror(&mut found, rows);
            for i in 0..rows {
                for j in 0..rows {
                    let pairs = x[i * columns..][..columns].iter().zip(&x[j * columns..]);
                    let expected: f32 = pairs.map(|(a, b)| 2.0 * a * b).sum();
                    prop_assert_eq!(found[i * rows + j], f64::from(expected));
                }
            }
        }
    }
}
