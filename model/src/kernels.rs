//! Calls that need `unsafe`, behind safe functions. No other module of this crate has any.
#![allow(unsafe_code)]

/// The numbers that networks are evaluated and differentiated in: `f32`, and `f64` to check
/// gradients with.
pub trait Element:
    num_traits::Float
    + std::iter::Sum
    + std::ops::AddAssign
    + Default
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// The nearest such number.
    fn of(value: f64) -> Self;
    /// This number, exactly.
    fn wide(self) -> f64;
}

impl Element for f32 {
    fn of(value: f64) -> Self {
        value as Self
    }

    fn wide(self) -> f64 {
        f64::from(self)
    }
}

impl Element for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn wide(self) -> f64 {
        self
    }
}

/// A factor of a product, as it lies in memory.
#[derive(Clone, Copy, Debug)]
pub enum Factor<'a, T> {
    /// Row-major.
    Rows(&'a [T]),
    /// Column-major: the transpose of a row-major matrix.
    Columns(&'a [T]),
    /// Row-major, and rows start so many elements apart: part of a matrix of more columns.
    Spaced(&'a [T], usize),
}

impl<T> Factor<'_, T> {
    fn data(&self) -> &[T] {
        match self {
            Self::Rows(data) | Self::Columns(data) | Self::Spaced(data, _) => data,
        }
    }

    /// Strides between columns and between rows of a `rows` by `columns` matrix.
    fn strides(&self, rows: usize, columns: usize) -> (isize, isize) {
        match *self {
            Self::Rows(_) => (1, columns as isize),
            Self::Columns(_) => (rows as isize, 1),
            Self::Spaced(_, stride) => (1, stride as isize),
        }
    }

    /// Whether all of a `rows` by `columns` matrix is there.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        match *self {
            Self::Rows(data) | Self::Columns(data) => data.len() == rows * columns,
            Self::Spaced(data, stride) => is_spaced(data.len(), stride, rows, columns),
        }
    }
}

/// Whether so many elements hold `rows` by `columns`, rows so far apart.
fn is_spaced(len: usize, stride: usize, rows: usize, columns: usize) -> bool {
    columns <= stride && (rows == 0 || (rows - 1) * stride + columns <= len)
}

/// `out[m, n] = lhs[m, k] * rhs[k, n] + out[m, n]`, all row-major, on the calling thread.
///
/// Always the same order of additions for the same shape on the same machine.
///
/// # Panics
/// If a slice does not have the length that `[m, k, n]` says.
pub fn multiply_add<T: Element>(shape: [usize; 3], lhs: &[T], rhs: &[T], out: &mut [T]) {
    multiply_add_factors(shape, Factor::Rows(lhs), Factor::Rows(rhs), out);
}

/// As [`multiply_add`], with factors that may be transposed.
///
/// # Panics
/// If a slice does not have the length that `[m, k, n]` says.
pub fn multiply_add_factors<T: Element>(
    [m, k, n]: [usize; 3],
    lhs: Factor<'_, T>,
    rhs: Factor<'_, T>,
    out: &mut [T],
) {
    assert_eq!(out.len(), m * n, "product is m x n");
    multiply_add_spaced([m, k, n], lhs, rhs, out, n);
}

/// As [`multiply_add_factors`], with rows of the product `stride` elements apart; what lies between
/// them stays.
///
/// # Panics
/// If a slice is shorter than `[m, k, n]` and its stride say, or a factor without one is longer.
pub fn multiply_add_spaced<T: Element>(
    [m, k, n]: [usize; 3],
    lhs: Factor<'_, T>,
    rhs: Factor<'_, T>,
    out: &mut [T],
    stride: usize,
) {
    assert!(lhs.holds(m, k), "left factor is m x k");
    assert!(rhs.holds(k, n), "right factor is k x n");
    assert!(is_spaced(out.len(), stride, m, n), "product is m x n");
    let ((lhs_cs, lhs_rs), (rhs_cs, rhs_rs)) = (lhs.strides(m, k), rhs.strides(k, n));
    // SAFETY: with these strides and lengths every access is inside its slice, and `out` is
    // borrowed alone.
    unsafe {
        // In the order of `gemm`: sizes, the product with its strides between columns and rows,
        // whether it is read (it is added to), both factors, their multipliers, no conjugates, one
        // thread.
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            true,
            lhs.data().as_ptr(),
            lhs_cs,
            lhs_rs,
            rhs.data().as_ptr(),
            rhs_cs,
            rhs_rs,
            T::one(),
            T::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The portable twin.
    fn multiply_add_portable([m, k, n]: [usize; 3], lhs: &[f32], rhs: &[f32], out: &mut [f32]) {
        for i in 0..m {
            for j in 0..n {
                out[i * n + j] += (0..k).map(|l| lhs[i * k + l] * rhs[l * n + j]).sum::<f32>();
            }
        }
    }

    proptest! {
        // Integers of this size are exact in f32, whatever the order of additions.
        #[test]
        fn equals_its_portable_twin(
            m in 1..20_usize,
            k in 1..40_usize,
            n in 1..20_usize,
            seed in 0..1000_usize,
        ) {
            let fill = |len: usize, step: usize| -> Vec<f32> {
                (0..len).map(|i| ((i * step + seed) % 17) as f32 - 8.0).collect()
            };
            let (lhs, rhs, mut out) = (fill(m * k, 7), fill(k * n, 5), fill(m * n, 3));
            let mut expected = out.clone();
            multiply_add([m, k, n], &lhs, &rhs, &mut out);
            multiply_add_portable([m, k, n], &lhs, &rhs, &mut expected);
            prop_assert_eq!(out, expected);
        }

        #[test]
        fn a_transposed_factor_is_the_transpose(m in 1..9_usize, k in 1..9_usize, n in 1..9_usize) {
            let fill = |len: usize, step: usize| -> Vec<f64> {
                (0..len).map(|i| ((i * step) % 17) as f64).collect()
            };
            let transpose = |a: &[f64], rows: usize, columns: usize| -> Vec<f64> {
                (0..rows * columns).map(|i| a[i % rows * columns + i / rows]).collect()
            };
            let (lhs, rhs) = (fill(m * k, 7), fill(k * n, 5));
            let (mut expected, mut out) = (vec![0.0; m * n], vec![0.0; m * n]);
            multiply_add([m, k, n], &lhs, &rhs, &mut expected);
            let (left, right) = (transpose(&lhs, m, k), transpose(&rhs, k, n));
            multiply_add_factors(
                [m, k, n],
                Factor::Columns(&left),
                Factor::Columns(&right),
                &mut out,
            );
            prop_assert_eq!(out, expected);
        }

        #[test]
        fn parts_of_wider_matrices_are_multiplied_alone(
            m in 0..9_usize,
            k in 0..9_usize,
            n in 0..9_usize,
            more in 0..4_usize,
        ) {
            let fill = |len: usize, step: usize| -> Vec<f64> {
                (0..len).map(|i| ((i * step) % 17) as f64).collect()
            };
            let part = |wide: &[f64], columns: usize| -> Vec<f64> {
                let rows = wide.chunks_exact((columns + more).max(1));
                rows.flat_map(|row| &row[..columns]).copied().collect()
            };
            let (lhs, rhs) = (fill(m * (k + more), 7), fill(k * (n + more), 5));
            let mut out = fill(m * (n + more), 3);
            let mut expected = out.clone();
            let mut product = part(&out, n);
            multiply_add([m, k, n], &part(&lhs, k), &part(&rhs, n), &mut product);
            for (row, product) in expected.chunks_exact_mut((n + more).max(1)).zip(
                product.chunks_exact(n.max(1)),
            ) {
                row[..n].copy_from_slice(product);
            }
            let factors = [Factor::Spaced(&lhs, k + more), Factor::Spaced(&rhs, n + more)];
            multiply_add_spaced([m, k, n], factors[0], factors[1], &mut out, n + more);
            prop_assert_eq!(out, expected);
        }
    }
}
