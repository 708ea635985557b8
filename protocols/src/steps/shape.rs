//! Windows and views, and where their elements come from: public indices, the same at both parties.

use serde::{Deserialize, Serialize};

/// Pooling windows.
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

/// A strided slice with zero padding, by axis: channels, rows, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// First element taken.
    pub start: [usize; 3],
    /// Step between elements taken.
    pub stride: [usize; 3],
    /// Elements taken.
    pub len: [usize; 3],
    /// Zeros before.
    pub before: [usize; 3],
    /// Zeros after.
    pub after: [usize; 3],
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

    /// The output's shape, or `None` where no window fits.
    pub fn out_shape(&self, [channels, rows, columns]: [usize; 3]) -> Option<[usize; 3]> {
        let [top, left, bottom, right] = self.pad;
        let out_rows = self.windows(0, rows + top + bottom)?;
        Some([channels, out_rows, self.windows(1, columns + left + right)?])
    }

    /// How many windows fit one behind the other into so many padded lines; axis 0 is that of rows.
    fn windows(&self, axis: usize, padded: usize) -> Option<usize> {
        let room = padded.checked_sub(self.kernel[axis])?;
        Some(room.checked_div(self.stride[axis])? + 1)
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

impl View {
    /// The output's shape.
    pub fn out_shape(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.before[axis] + self.len[axis] + self.after[axis])
    }

    /// Whether all elements taken lie within an input of this shape.
    pub fn fits(&self, shape: [usize; 3]) -> bool {
        (0..3).all(|axis| {
            let last = self.len[axis]
                .checked_sub(1)
                .and_then(|steps| steps.checked_mul(self.stride[axis]));
            self.stride[axis] > 0
                && (self.len[axis] == 0
                    || last
                        .and_then(|last| last.checked_add(self.start[axis]))
                        .is_some_and(|at| at < shape[axis]))
        })
    }

    /// The input's line of every line of the output along one axis; `None` for zeros.
    fn gather_axis(&self, axis: usize) -> Vec<Option<usize>> {
        let mut lines = vec![None; self.before[axis]];
        lines.extend((0..self.len[axis]).map(|i| Some(self.start[axis] + i * self.stride[axis])));
        lines.resize(lines.len() + self.after[axis], None);
        lines
    }

    /// The input element of every output element, for tensors laid out
    /// `[channels][images][rows][columns]`.
    pub fn gather(&self, shape: [usize; 3], images: usize) -> Gather {
        let [channels, rows, columns] = std::array::from_fn(|axis| self.gather_axis(axis));
        let mut gather = Vec::with_capacity(channels.len() * images * rows.len() * columns.len());
        for channel in &channels {
            for image in 0..images {
                for row in &rows {
                    gather.extend(columns.iter().map(|column| {
                        let (c, y, x) = ((*channel)?, (*row)?, (*column)?);
                        Some((((c * images + image) * shape[1] + y) * shape[2] + x) as u32)
                    }));
                }
            }
        }
        gather
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
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
