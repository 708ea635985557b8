//! Windows, and where their elements come from: public indices, the same at both parties.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::linear::windows;

/// Pooling windows; every channel is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub pad: [usize; 4],
}

/// For every output element the input element that it takes, or zero.
pub type Gather = Vec<Option<u32>>;

impl Window {
    /// Elements of a window.
    pub const fn len(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether a window has no element.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One window over all of an image of this size.
    pub const fn global(size: [usize; 2]) -> Self {
        Self { kernel: size, stride: [1; 2], pad: [0; 4] }
    }

    /// Rows and columns of the output; 0 where no window fits.
    pub const fn out(&self, [rows, columns]: [usize; 2]) -> [usize; 2] {
        let [top, left, bottom, right] = self.pad;
        [
            windows(rows + top + bottom, self.kernel[0], 1, self.stride[0]),
            windows(columns + left + right, self.kernel[1], 1, self.stride[1]),
        ]
    }

    /// The output's shape, or `None` where no window fits.
    pub fn out_shape(&self, [channels, rows, columns]: [usize; 3]) -> Option<[usize; 3]> {
        let out = self.out([rows, columns]);
        (!out.contains(&0)).then_some([channels, out[0], out[1]])
    }

    /// Along rows (0) or columns (1), of which there are `size`: those that the windows at
    /// `position` have, padding left out.
    fn inside(&self, axis: usize, position: usize, size: usize) -> Range<usize> {
        // In coordinates of the input, `pad` less than those of the padded axis; a window on
        // padding alone is empty.
        let (start, pad) = (position * self.stride[axis], self.pad[axis]);
        let end = (start + self.kernel[axis]).saturating_sub(pad).min(size);
        start.saturating_sub(pad).min(end)..end
    }

    /// For every output element, in order, the elements of its window in
    /// `[channels][rows][columns]`, padding left out.
    pub fn elements(
        &self,
        [channels, rows, columns]: [usize; 3],
    ) -> impl Iterator<Item = impl Iterator<Item = usize>> {
        let [out_rows, out_columns] = self.out([rows, columns]);
        (0..channels * out_rows * out_columns).map(move |at| {
            let (row, column) = (at / out_columns, at % out_columns);
            let (channel, row) = (row / out_rows, row % out_rows);
            let across = self.inside(1, column, columns);
            self.inside(0, row, rows).flat_map(move |y| {
                let start = (channel * rows + y) * columns;
                start + across.start..start + across.end
            })
        })
    }

    /// For position `at` of the windows, the input row and column of every output position; `None`
    /// in the padding.
    fn sources(
        &self,
        shape: [usize; 3],
        at: usize,
    ) -> impl Iterator<Item = Option<(usize, usize)>> {
        let [_, rows, columns] = shape;
        let [_, out_rows, out_columns] = self.out_shape(shape).unwrap_or_default();
        let (dy, dx) = (at / self.kernel[1], at % self.kernel[1]);
        let window = *self;
        (0..out_rows * out_columns).map(move |p| {
            let y = unpadded(p / out_columns * window.stride[0] + dy, window.pad[0], rows)?;
            let x = unpadded(p % out_columns * window.stride[1] + dx, window.pad[1], columns)?;
            Some((y, x))
        })
    }

    /// The elements at position `at` of every window, for `planes` planes (channels times images).
    pub fn gather(&self, shape: [usize; 3], planes: usize, at: usize) -> Gather {
        let plane = shape[1] * shape[2];
        let sources: Vec<_> = self.sources(shape, at).collect();
        (0..planes)
            .flat_map(|n| {
                sources.iter().map(move |s| s.map(|(y, x)| (n * plane + y * shape[2] + x) as u32))
            })
            .collect()
    }

    /// The same, with padding replaced by an element that the window has anyway: for maxima. Every
    /// window must have one ([`Window::covers`]).
    pub fn gather_inside(&self, shape: [usize; 3], planes: usize, at: usize) -> Vec<u32> {
        let mut gather = self.gather(shape, planes, at);
        for other in 0..self.len() {
            if gather.iter().all(Option::is_some) {
                break;
            }
            for (slot, spare) in gather.iter_mut().zip(self.gather(shape, planes, other)) {
                *slot = slot.or(spare);
            }
        }
        gather
            .into_iter()
            .map(|source| source.expect("invariant: every window has an element"))
            .collect()
    }

    /// Whether every window has at least one element that is not padding.
    pub fn covers(&self, shape: [usize; 3]) -> bool {
        let Some([_, out_rows, out_columns]) = self.out_shape(shape) else { return false };
        self.covers_axis(0, out_rows, shape[1]) && self.covers_axis(1, out_columns, shape[2])
    }

    /// The same along one axis, with so many windows over an input of this size.
    fn covers_axis(&self, axis: usize, windows: usize, size: usize) -> bool {
        let (kernel, stride, pad) = (self.kernel[axis], self.stride[axis], self.pad[axis]);
        // The first window must reach beyond the padding, the last must start before it.
        kernel > pad && (windows.max(1) - 1) * stride < pad + size
    }
}

/// Where a position in a padded line is in the line; `None` in the padding.
fn unpadded(position: usize, pad: usize, size: usize) -> Option<usize> {
    position.checked_sub(pad).filter(|&p| p < size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn windows_have_the_elements_that_are_gathered(
            kernel in prop::array::uniform2(1usize..4), stride in prop::array::uniform2(1usize..4),
            pad in prop::array::uniform4(0usize..5), rows in 1usize..7, columns in 1usize..7) {
            let window = Window { kernel, stride, pad };
            let shape = [2, rows, columns];
            let elements: Vec<Vec<_>> = window.elements(shape).map(Iterator::collect).collect();
            let outputs = window.out_shape(shape).map_or(0, |shape| shape.iter().product());
            let mut gathered = vec![Vec::new(); outputs];
            for at in 0..window.len() {
                for (element, source) in gathered.iter_mut().zip(window.gather(shape, 2, at)) {
                    element.extend(source.map(|at| at as usize));
                }
            }
            prop_assert_eq!(elements, gathered);
        }

        #[test]
        fn maxima_never_see_padding(
            kernel in prop::array::uniform2(1usize..4), stride in prop::array::uniform2(1usize..4),
            pad in prop::array::uniform4(0usize..2), rows in 1usize..7, columns in 1usize..7) {
            let window = Window { kernel, stride, pad };
            let shape = [2, rows, columns];
            prop_assume!(window.covers(shape));
            let values: Vec<i64> = (0..2 * 3 * rows * columns).map(|i| -(i as i64) - 1).collect();
            let planes = 2 * 3;
            let maxima = |at| -> Vec<i64> {
                window
                    .gather_inside(shape, planes, at)
                    .iter()
                    .map(|&i| values[i as usize])
                    .collect()
            };
            let tree = (0..window.len())
                .map(maxima)
                .reduce(|a, b| a.iter().zip(&b).map(|(x, y)| *x.max(y)).collect());
            let plain = (0..window.len()).map(|at| window.gather(shape, planes, at)).fold(
                vec![i64::MIN; tree.as_ref().unwrap().len()],
                |best, gather| {
                    best.iter()
                        .zip(gather)
                        .map(|(b, s)| s.map_or(*b, |s| *b.max(&values[s as usize])))
                        .collect()
                },
            );
            prop_assert_eq!(tree.unwrap(), plain);
        }
    }
}
