//! Pooling and views of one image.

use protocols::plan::{View, Window};

use crate::axis::Axis;

/// Shape and values of an image, `[channels][rows][columns]`.
pub(crate) type Image<'a> = ([usize; 3], &'a [i64]);

/// The maximum over windows; padding is never the maximum.
pub(crate) fn max_pool(image: Image<'_>, window: &Window, shape: [usize; 3]) -> Vec<i64> {
    pool(image, window, shape, |values| values.max().unwrap_or(0))
}

/// The sum over windows modulo `2^64`; padding counts as zero.
pub(crate) fn sum_pool(image: Image<'_>, window: &Window, shape: [usize; 3]) -> Vec<i64> {
    pool(image, window, shape, |values| values.fold(0i64, i64::wrapping_add))
}

/// A strided slice with zero padding, of the `shape` that the view makes.
pub(crate) fn view((from, values): Image<'_>, view: &View, shape: [usize; 3]) -> Vec<i64> {
    let mut out = Vec::with_capacity(shape.iter().product());
    for c in (0..shape[0]).map(|c| source(view, 0, c)) {
        for y in (0..shape[1]).map(|y| source(view, 1, y)) {
            for x in (0..shape[2]).map(|x| source(view, 2, x)) {
                let at = c.zip(y).zip(x).map(|((c, y), x)| (c * from[1] + y) * from[2] + x);
                out.push(at.map_or(0, |at| values[at]));
            }
        }
    }
    out
}

/// The element that a view takes along an axis; `None` where it is padding.
fn source(view: &View, axis: usize, at: usize) -> Option<usize> {
    let at = at.checked_sub(view.before[axis]).filter(|&at| at < view.len[axis])?;
    Some(view.start[axis] + at * view.stride[axis])
}

fn pool(
    (from, values): Image<'_>,
    window: &Window,
    shape: [usize; 3],
    combine: impl Fn(&mut dyn Iterator<Item = i64>) -> i64,
) -> Vec<i64> {
    let [rows, columns] = Axis::of_window(window, [from[1], from[2]], [shape[1], shape[2]]);
    let mut out = Vec::with_capacity(shape.iter().product());
    for plane in values.chunks_exact(from[1] * from[2]) {
        for y in 0..rows.out {
            for x in 0..columns.out {
                let taps = rows.taps(y).flat_map(|(_, at_y)| {
                    columns.taps(x).map(move |(_, at_x)| plane[at_y * columns.len + at_x])
                });
                out.push(combine(&mut { taps }));
            }
        }
    }
    out
}
