//! Everything but convolution, on one image.

use crate::model::{View, Window};

pub(super) fn relu(input: &[f32], max: Option<f32>) -> Vec<f32> {
    let max = max.unwrap_or(f32::INFINITY);
    input.iter().map(|x| x.max(0.0).min(max)).collect()
}

pub(super) fn add(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

pub(super) fn max_pool(window: &Window, shape: [usize; 3], input: &[f32]) -> Vec<f32> {
    pool(window, shape, input, |values| values.fold(f32::NEG_INFINITY, f32::max))
}

pub(super) fn avg_pool(window: &Window, shape: [usize; 3], input: &[f32]) -> Vec<f32> {
    let area = window.area() as f32;
    pool(window, shape, input, |values| values.sum::<f32>() / area)
}

/// `reduce` of the elements of each window that are not padding.
fn pool(
    window: &Window,
    [_, h, w]: [usize; 3],
    input: &[f32],
    reduce: impl Fn(&mut dyn Iterator<Item = f32>) -> f32,
) -> Vec<f32> {
    let (out_h, out_w) = (window.out_h(h), window.out_w(w));
    let mut out = Vec::with_capacity(input.len() / (h * w) * out_h * out_w);
    for plane in input.chunks_exact(h * w) {
        for y in 0..out_h {
            let (top, bottom) = clip(y * window.stride_h, window.pad_top, window.kernel_h, h);
            for x in 0..out_w {
                let (left, right) = clip(x * window.stride_w, window.pad_left, window.kernel_w, w);
                let mut values =
                    (top..bottom).flat_map(|row| plane[row * w + left..row * w + right].iter().copied());
                out.push(reduce(&mut values));
            }
        }
    }
    out
}

/// The part of a window that starts at `start` of the padded axis that lies inside `0..length`.
fn clip(start: usize, pad: usize, kernel: usize, length: usize) -> (usize, usize) {
    let end = (start + kernel).saturating_sub(pad).min(length);
    (start.saturating_sub(pad).min(end), end)
}

pub(super) fn view(view: &View, [_, h, w]: [usize; 3], input: &[f32]) -> Vec<f32> {
    let [channels, rows, columns] = &view.axes;
    let mut out = vec![0.0; view.out().iter().product()];
    for c in 0..channels.length {
        for y in 0..rows.length {
            let from = ((channels.start + c * channels.stride) * h + rows.start + y * rows.stride) * w;
            let to = ((channels.before + c) * rows.out() + rows.before + y) * columns.out() + columns.before;
            for x in 0..columns.length {
                out[to + x] = input[from + columns.start + x * columns.stride];
            }
        }
    }
    out
}
