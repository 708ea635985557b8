//! Convolution of one image: im2col and a matrix product for each group.

use crate::kernels::{Element, multiply_add};
use protocols::linear::Geometry;

/// `[out_channels, out_h, out_w]` of `[in_channels, in_h, in_w]`; `scratch` is reused between
/// calls.
pub fn convolve<T: Element>(
    g: &Geometry,
    weight: &[T],
    bias: &[T],
    input: &[T],
    scratch: &mut Vec<T>,
) -> Vec<T> {
    let pixels = g.out_h() * g.out_w();
    let mut out = Vec::with_capacity(g.out_channels * pixels);
    for &b in bias {
        // The output starts as its bias, `[out_channels, pixels]`: the product is added to it.
        out.resize(out.len() + pixels, b);
    }
    let (in_channels, out_channels) = (g.in_channels / g.groups, g.out_channels / g.groups);
    let taps = in_channels * g.kernel_h * g.kernel_w;
    for group in 0..g.groups {
        let input =
            &input[group * in_channels * g.in_h * g.in_w..][..in_channels * g.in_h * g.in_w];
        let weight = &weight[group * out_channels * taps..][..out_channels * taps];
        let out = &mut out[group * out_channels * pixels..][..out_channels * pixels];
        if columns_are_input(g) {
            multiply_add([out_channels, taps, pixels], weight, input, out);
        } else {
            fill_columns(g, in_channels, input, scratch);
            multiply_add([out_channels, taps, pixels], weight, scratch, out);
        }
    }
    out
}

/// Whether im2col would copy the input as it is: one tap, or one window.
pub fn columns_are_input(g: &Geometry) -> bool {
    let unpadded = g.pad_top + g.pad_left + g.pad_bottom + g.pad_right == 0;
    let one_tap = g.kernel_h * g.kernel_w == 1 && g.stride_h == 1 && g.stride_w == 1;
    let one_window =
        g.kernel_h == g.in_h && g.kernel_w == g.in_w && g.dilation_h == 1 && g.dilation_w == 1;
    unpadded && (one_tap || one_window)
}

/// The matrix `[channels * kernel_h * kernel_w, out_h * out_w]` whose columns are the windows.
pub fn fill_columns<T: Element>(g: &Geometry, channels: usize, input: &[T], columns: &mut Vec<T>) {
    let (out_h, out_w) = (g.out_h(), g.out_w());
    columns.clear();
    columns.resize(channels * g.kernel_h * g.kernel_w * out_h * out_w, T::zero());
    // Row `(channel, tap)` of the matrix is `out_h` lines of `out_w` windows each: one iterator
    // runs through all lines in that order. Padding stays zero, as `resize` has left it.
    let mut rows = columns.chunks_exact_mut(out_w);
    for plane in input.chunks_exact(g.in_h * g.in_w) {
        for tap in 0..g.kernel_h * g.kernel_w {
            let (kh, kw) = (tap / g.kernel_w, tap % g.kernel_w);
            let (first, end) = inside(kw * g.dilation_w, g.pad_left, g.stride_w, g.in_w, out_w);
            for (y, row) in rows.by_ref().take(out_h).enumerate() {
                // The row of the input under this tap; above and below it is padding.
                let Some(y) = (y * g.stride_h + kh * g.dilation_h).checked_sub(g.pad_top) else {
                    continue;
                };
                if y >= g.in_h || first >= end {
                    continue;
                }
                let source = &plane[y * g.in_w..][..g.in_w];
                let start = first * g.stride_w + kw * g.dilation_w - g.pad_left;
                if g.stride_w == 1 {
                    row[first..end].copy_from_slice(&source[start..start + end - first]);
                } else {
                    let taken = source[start..].iter().step_by(g.stride_w);
                    for (x, &value) in row[first..end].iter_mut().zip(taken) {
                        *x = value;
                    }
                }
            }
        }
    }
}

/// The range of outputs whose tap at `offset` is not padding.
pub fn inside(
    offset: usize,
    pad: usize,
    stride: usize,
    input: usize,
    outputs: usize,
) -> (usize, usize) {
    // Output `x` reads `x * stride + offset - pad`, which must be in `0..input`. With a pad of 1,
    // stride 2 and 5 inputs, tap 0 is inside from `x = 1` on, and before `x = 3`.
    let first = pad.saturating_sub(offset).div_ceil(stride);
    let end = (input + pad).saturating_sub(offset).div_ceil(stride).min(outputs);
    (first, end)
}
