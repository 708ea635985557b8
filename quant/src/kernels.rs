//! Calls that need `unsafe`, behind safe functions. No other module of this crate has any.
#![allow(unsafe_code)]

/// `out[m, n] = lhs[m, k] * rhs[k, n] + out[m, n]`, all row-major, on the calling thread.
///
/// Always the same order of additions for the same shape on the same machine.
///
/// # Panics
/// If a slice does not have the length that `[m, k, n]` says.
pub(crate) fn multiply_add([m, k, n]: [usize; 3], lhs: &[f32], rhs: &[f32], out: &mut [f32]) {
    assert_eq!(lhs.len(), m * k, "left factor is m x k");
    assert_eq!(rhs.len(), k * n, "right factor is k x n");
    assert_eq!(out.len(), m * n, "product is m x n");
    // SAFETY: with these row strides and lengths every access is inside its slice, and `out` is borrowed alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            true,
            lhs.as_ptr(),
            1,
            k as isize,
            rhs.as_ptr(),
            1,
            n as isize,
            1.0,
            1.0,
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
        fn equals_its_portable_twin(m in 1..20_usize, k in 1..40_usize, n in 1..20_usize, seed in 0..1000_usize) {
            let fill = |len: usize, step: usize| -> Vec<f32> {
                (0..len).map(|i| ((i * step + seed) % 17) as f32 - 8.0).collect()
            };
            let (lhs, rhs, mut out) = (fill(m * k, 7), fill(k * n, 5), fill(m * n, 3));
            let mut expected = out.clone();
            multiply_add([m, k, n], &lhs, &rhs, &mut out);
            multiply_add_portable([m, k, n], &lhs, &rhs, &mut expected);
            prop_assert_eq!(out, expected);
        }
    }
}
