//! Everything but convolution, on one image.

use crate::kernels::Element;
use crate::model::{Function, View, Window};

/// `min(max(x, 0), max)`, without the upper bound if there is none.
pub fn relu<T: Element>(input: &[T], max: Option<f32>) -> Vec<T> {
    let max = max.map_or(T::infinity(), |max| T::of(f64::from(max)));
    input.iter().map(|x| x.max(T::zero()).min(max)).collect()
}

/// The function of every element.
pub fn function<T: Element>(input: &[T], function: &Function) -> Vec<T> {
    input.iter().map(|x| T::of(function.at(x.wide()))).collect()
}

/// The sum of two values, element by element.
pub fn add<T: Element>(a: &[T], b: &[T]) -> Vec<T> {
    a.iter().zip(b).map(|(&a, &b)| a + b).collect()
}

/// The largest element of each window of a `[C, H, W]`.
pub fn max_pool<T: Element>(window: &Window, shape: [usize; 3], input: &[T]) -> Vec<T> {
    pool(window, shape, input, |values| values.fold(T::neg_infinity(), T::max))
}

/// The mean of each window of a `[C, H, W]`, padding counted as zeros.
pub fn avg_pool<T: Element>(window: &Window, shape: [usize; 3], input: &[T]) -> Vec<T> {
    let area = T::of(window.area() as f64);
    pool(window, shape, input, |values| values.sum::<T>() / area)
}

/// `reduce` of the elements of each window that are not padding.
fn pool<T: Element>(
    window: &Window,
    [_, h, w]: [usize; 3],
    input: &[T],
    reduce: impl Fn(&mut dyn Iterator<Item = T>) -> T,
) -> Vec<T> {
    let (out_h, out_w) = (window.out_h(h), window.out_w(w));
    let mut out = Vec::with_capacity(input.len() / (h * w) * out_h * out_w);
    for plane in input.chunks_exact(h * w) {
        for y in 0..out_h {
            let (top, bottom) = clip(y * window.stride_h, window.pad_top, window.kernel_h, h);
            for x in 0..out_w {
                let (left, right) = clip(x * window.stride_w, window.pad_left, window.kernel_w, w);
                let mut values = (top..bottom)
                    .flat_map(|row| plane[row * w + left..row * w + right].iter().copied());
                out.push(reduce(&mut values));
            }
        }
    }
    out
}

/// The part of a window that starts at `start` of the padded axis that lies inside `0..length`.
pub fn clip(start: usize, pad: usize, kernel: usize, length: usize) -> (usize, usize) {
    // In coordinates of the input, `pad` less than those of the padded axis; a window on padding
    // alone is empty.
    let end = (start + kernel).saturating_sub(pad).min(length);
    (start.saturating_sub(pad).min(end), end)
}

/// The elements of a `[C, H, W]` that a view takes, among its zeros.
pub fn view<T: Element>(view: &View, [_, h, w]: [usize; 3], input: &[T]) -> Vec<T> {
    let [channels, rows, columns] = &view.axes;
    let mut out = vec![T::zero(); view.out().iter().product()];
    for c in 0..channels.length {
        for y in 0..rows.length {
            // Elements that the view takes, row by row, into an output of zeros; what is not
            // written is its padding.
            let from =
                ((channels.start + c * channels.stride) * h + rows.start + y * rows.stride) * w;
            let to = ((channels.before + c) * rows.out() + rows.before + y) * columns.out()
                + columns.before;
            for x in 0..columns.length {
                out[to + x] = input[from + columns.start + x * columns.stride];
            }
        }
    }
    out
}
