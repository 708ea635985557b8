//! The transposed derivative of every operation, on one image.

use super::{Element, Parameters};
use model::float::conv::{columns_are_input, fill_columns, inside};
use model::kernels::{Factor, multiply_add_factors};
use model::{Function, Mask, Order, View, Window};
use protocols::linear::Geometry;

/// With `Y = W X + b` on im2col matrices: `dW += dY X^T`, `db += dY 1`, and the result is `dX = W^T
/// dY`, summed back onto the pixels that the columns were taken from.
pub(super) fn convolution<T: Element>(
    g: &Geometry,
    weight: &[T],
    input: &[T],
    cotangent: &[T],
    gradient: &mut Parameters<T>,
) -> Vec<T> {
    let pixels = g.out_h() * g.out_w();
    let (channels, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
    let taps = channels * g.kernel_h * g.kernel_w;
    let plane = channels * g.in_h * g.in_w;
    for (sum, row) in gradient.bias.iter_mut().zip(cotangent.chunks_exact(pixels)) {
        *sum += row.iter().copied().sum();
    }
    let mut back = vec![T::zero(); input.len()];
    let mut columns = Vec::new();
    // Of a group: `dY` is `[outputs, pixels]`, `X` is `[taps, pixels]`, `W` is `[outputs, taps]`.
    for group in 0..g.groups {
        let input = &input[group * plane..][..plane];
        let back = &mut back[group * plane..][..plane];
        let range = group * outputs * taps..(group + 1) * outputs * taps;
        let rows = Factor::Rows(&cotangent[group * outputs * pixels..][..outputs * pixels]);
        let transposed = Factor::Columns(&weight[range.clone()]);
        let sum = &mut gradient.weight[range];
        if columns_are_input(g) {
            multiply_add_factors([outputs, pixels, taps], rows, Factor::Columns(input), sum);
            multiply_add_factors([taps, outputs, pixels], transposed, rows, back);
        } else {
            fill_columns(g, channels, input, &mut columns);
            multiply_add_factors([outputs, pixels, taps], rows, Factor::Columns(&columns), sum);
            // The same buffer then holds `W^T dY`, `[taps, pixels]`: the columns are not needed any
            // more.
            columns.fill(T::zero());
            multiply_add_factors([taps, outputs, pixels], transposed, rows, &mut columns);
            sum_columns(g, &columns, back);
        }
    }
    back
}

/// Of a value times gates, one for so many elements of it each: those of both.
pub(super) fn product<T: Element>(input: &[T], gates: &[T], cotangent: &[T]) -> (Vec<T>, Vec<T>) {
    // Each gate gets the sum over all that it multiplies.
    let each = (input.len() / gates.len().max(1)).max(1);
    let channels = input.chunks(each).zip(cotangent.chunks(each));
    let of_gates =
        channels.map(|(input, back)| input.iter().zip(back).map(|(&x, &y)| x * y).sum()).collect();
    (model::float::ops::multiply(cotangent, gates), of_gates)
}

/// The transpose of [`fill_columns`].
fn sum_columns<T: Element>(g: &Geometry, columns: &[T], image: &mut [T]) {
    let (out_h, out_w) = (g.out_h(), g.out_w());
    // Rows of the image of each tap come in the order `[channel][tap][y]`, `out_w` long: one
    // iterator runs through all of them.
    let mut rows = columns.chunks_exact(out_w);
    for plane in image.chunks_exact_mut(g.in_h * g.in_w) {
        for tap in 0..g.kernel_h * g.kernel_w {
            let (kh, kw) = (tap / g.kernel_w, tap % g.kernel_w);
            // Outputs `first..end` of a row read inside the image at this tap; others read padding,
            // which has no cotangent.
            let (first, end) = inside(kw * g.dilation_w, g.pad_left, g.stride_w, g.in_w, out_w);
            for (y, row) in rows.by_ref().take(out_h).enumerate() {
                let Some(y) = (y * g.stride_h + kh * g.dilation_h).checked_sub(g.pad_top) else {
                    continue;
                };
                if y >= g.in_h || first >= end {
                    continue;
                }
                let start = y * g.in_w + first * g.stride_w + kw * g.dilation_w - g.pad_left;
                let sums = plane[start..].iter_mut().step_by(g.stride_w);
                for (sum, &more) in sums.zip(&row[first..end]) {
                    *sum += more;
                }
            }
        }
    }
}

pub(super) fn function<T: Element>(
    input: &[T],
    function: &Function,
    mut cotangent: Vec<T>,
) -> Vec<T> {
    for (cotangent, value) in cotangent.iter_mut().zip(input) {
        *cotangent = *cotangent * T::of(function.slope(value.wide()));
    }
    cotangent
}

pub(super) fn relu<T: Element>(input: &[T], max: Option<f32>, mut cotangent: Vec<T>) -> Vec<T> {
    let max = max.map_or(T::infinity(), |max| T::of(f64::from(max)));
    for (cotangent, &value) in cotangent.iter_mut().zip(input) {
        // At the kinks themselves the slope is taken to be zero.
        if value <= T::zero() || value >= max {
            *cotangent = T::zero();
        }
    }
    cotangent
}

pub(super) fn part_relu<T: Element>(input: &[T], mask: &Mask, mut cotangent: Vec<T>) -> Vec<T> {
    let each = cotangent.iter_mut().zip(input).zip(mask.iter());
    for ((cotangent, &value), held) in each {
        if held && value <= T::zero() {
            *cotangent = T::zero();
        }
    }
    cotangent
}

/// The first largest element of each window has the window's cotangent.
pub(super) fn max_pool<T: Element>(
    window: &Window,
    shape: [usize; 3],
    input: &[T],
    cotangent: &[T],
) -> Vec<T> {
    let mut back = vec![T::zero(); input.len()];
    for (elements, &cotangent) in window.elements(shape).zip(cotangent) {
        let largest = elements.fold(None, |best, at| match best {
            Some(best) if input[best] >= input[at] => Some(best),
            _ => Some(at),
        });
        if let Some(largest) = largest {
            back[largest] += cotangent;
        }
    }
    back
}

pub(super) fn avg_pool<T: Element>(window: &Window, shape: [usize; 3], cotangent: &[T]) -> Vec<T> {
    let mut back = vec![T::zero(); shape.iter().product()];
    let area = T::of(window.len() as f64);
    for (elements, &cotangent) in window.elements(shape).zip(cotangent) {
        for at in elements {
            back[at] += cotangent / area;
        }
    }
    back
}

pub(super) fn reorder<T: Element>(order: &Order, shape: [usize; 3], cotangent: &[T]) -> Vec<T> {
    let mut back = vec![T::zero(); cotangent.len()];
    for (source, &cotangent) in order.sources(shape, 1).zip(cotangent) {
        back[source] += cotangent;
    }
    back
}

pub(super) fn view<T: Element>(view: &View, shape: [usize; 3], cotangent: &[T]) -> Vec<T> {
    let mut back = vec![T::zero(); shape.iter().product()];
    for (source, &cotangent) in view.sources(shape, 1).zip(cotangent) {
        // A view copies, so its transpose adds each element back to where it came from; padding
        // goes nowhere.
        if let Some(source) = source {
            back[source] += cotangent;
        }
    }
    back
}
