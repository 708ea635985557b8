//! Pooling of one image.

use protocols::plan::Window;

/// Shape and values of an image, `[channels][rows][columns]`.
pub(crate) type Image<'a> = ([usize; 3], &'a [i64]);

/// The maximum over windows; padding is never the maximum.
pub(crate) fn max_pool((shape, values): Image<'_>, window: &Window) -> Vec<i64> {
    window.elements(shape).map(|at| at.map(|i| values[i]).max().unwrap_or(0)).collect()
}

/// The sum over windows modulo `2^64`; padding counts as zero.
pub(crate) fn sum_pool((shape, values): Image<'_>, window: &Window) -> Vec<i64> {
    let windows = window.elements(shape);
    windows.map(|at| at.map(|i| values[i]).fold(0, i64::wrapping_add)).collect()
}
