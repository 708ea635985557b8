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
}

impl<T> Factor<'_, T> {
    fn data(&self) -> &[T] {
        match self {
            Self::Rows(data) | Self::Columns(data) => data,
        }
    }

    /// Strides between columns and between rows of a `rows` by `columns` matrix.
    fn strides(&self, rows: usize, columns: usize) -> (isize, isize) {
        match self {
            Self::Rows(_) => (1, columns as isize),
            Self::Columns(_) => (rows as isize, 1),
        }
    }
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
    assert_eq!(lhs.data().len(), m * k, "left factor is m x k");
    assert_eq!(rhs.data().len(), k * n, "right factor is k x n");
    assert_eq!(out.len(), m * n, "product is m x n");
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
            n as isize,
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
    }
}
