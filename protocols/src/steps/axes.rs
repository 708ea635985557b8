//! Slicing and zero padding, in one operation that is closed under composition, and where its
//! elements come from: public indices, the same at both parties.

use serde::{Deserialize, Serialize};

/// A choice of elements of `[channels][rows][columns]`, surrounded by zeros: what ONNX's Slice and
/// Pad do, in any sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// What happens along channels, rows and columns.
    pub axes: [Axis; 3],
}

/// A [`View`] along one axis: `before` zeros, the elements `start, start + stride, ...` (`length`
/// of them), `after` zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// The first element that is taken.
    pub start: usize,
    /// The distance between elements that are taken; at least 1.
    pub stride: usize,
    /// How many are taken; the last is inside the input.
    pub length: usize,
    /// Zeros before them.
    pub before: usize,
    /// Zeros after them.
    pub after: usize,
}

impl Axis {
    /// All elements of an axis of this length.
    pub const fn all(length: usize) -> Self {
        Self { start: 0, stride: 1, length, before: 0, after: 0 }
    }

    /// The length of the result.
    pub const fn out(&self) -> usize {
        self.before + self.length + self.after
    }

    /// The source of element `i` of the result, `None` if it is a zero.
    pub fn source(&self, i: usize) -> Option<usize> {
        let taken = i.checked_sub(self.before)?;
        (taken < self.length).then(|| self.start + taken * self.stride)
    }

    /// First `self`, then `next`, as one.
    pub fn then(&self, next: &Self) -> Self {
        // Element i of `next` is element next.start + i * next.stride of `self`; those inside
        // `self`'s taken elements are consecutive.
        let first = self.before.saturating_sub(next.start).div_ceil(next.stride);
        let end = (self.before + self.length)
            .saturating_sub(next.start)
            .div_ceil(next.stride)
            .min(next.length);
        let first = first.min(end);
        let length = end - first;
        let start = if length == 0 {
            0
        } else {
            self.start + (next.start + first * next.stride - self.before) * self.stride
        };
        Self {
            start,
            stride: if length > 1 { self.stride * next.stride } else { 1 },
            length,
            before: next.before + first,
            after: next.after + next.length - end,
        }
    }

    /// Whether only zeros are added, if anything, to an axis of length `input`.
    pub const fn only_pads(&self, input: usize) -> bool {
        self.start == 0 && self.length == input && (self.stride == 1 || input <= 1)
    }

    /// Whether all elements taken lie within an axis of length `input`.
    pub fn fits(&self, input: usize) -> bool {
        let Some(steps) = self.length.checked_sub(1) else { return self.stride > 0 };
        let last = steps.checked_mul(self.stride).and_then(|last| last.checked_add(self.start));
        self.stride > 0 && last.is_some_and(|last| last < input)
    }
}

impl View {
    /// All elements of an input of this shape.
    pub fn all(shape: [usize; 3]) -> Self {
        Self { axes: shape.map(Axis::all) }
    }

    /// The output's shape.
    pub fn out_shape(&self) -> [usize; 3] {
        self.axes.map(|axis| axis.out())
    }

    /// First `self`, then `next`, as one.
    pub fn then(&self, next: &Self) -> Self {
        Self { axes: std::array::from_fn(|i| self.axes[i].then(&next.axes[i])) }
    }

    /// Whether all elements taken lie within an input of this shape.
    pub fn fits(&self, shape: [usize; 3]) -> bool {
        self.axes.iter().zip(shape).all(|(axis, n)| axis.fits(n))
    }

    /// Whether this changes nothing of an input of this shape.
    pub fn is_identity(&self, shape: [usize; 3]) -> bool {
        self.axes.iter().zip(shape).all(|(axis, n)| axis.only_pads(n) && axis.out() == n)
    }

    /// The input element of every output element, in order, for tensors laid out
    /// `[channels][images][rows][columns]`; `None` where it is a zero.
    pub fn sources(&self, shape: [usize; 3], images: usize) -> impl Iterator<Item = Option<usize>> {
        let [channels, rows, columns] = &self.axes;
        let planes = (0..channels.out())
            .flat_map(move |c| (0..images).map(move |i| Some(channels.source(c)? * images + i)));
        let lines = planes.flat_map(move |plane| {
            (0..rows.out()).map(move |y| Some(plane? * shape[1] + rows.source(y)?))
        });
        lines.flat_map(move |line| {
            (0..columns.out()).map(move |x| Some(line? * shape[2] + columns.source(x)?))
        })
    }

    /// The view of values that are laid out `[channels][images][rows][columns]`.
    pub fn of<T: Copy + Default>(&self, shape: [usize; 3], images: usize, values: &[T]) -> Vec<T> {
        let elements = self.out_shape().iter().product::<usize>();
        let mut taken = Vec::with_capacity(images * elements);
        // Unlike `extend`, this is a loop for each axis.
        self.sources(shape, images)
            .for_each(|source| taken.push(source.map_or_else(T::default, |at| values[at])));
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn axis(input: usize) -> impl Strategy<Value = Axis> {
        (0..=input, 1..4_usize, 0..4_usize, 0..4_usize).prop_flat_map(
            move |(start, stride, before, after)| {
                (0..=(input - start).div_ceil(stride)).prop_map(move |length| Axis {
                    start,
                    stride,
                    length,
                    before,
                    after,
                })
            },
        )
    }

    proptest! {
        #[test]
        fn composition_equals_one_after_the_other(
            (first, next) in (0..9_usize)
                .prop_flat_map(axis)
                .prop_flat_map(|a| (Just(a), axis(a.out()))),
        ) {
            let both = first.then(&next);
            prop_assert_eq!(both.out(), next.out());
            for i in 0..next.out() {
                prop_assert_eq!(both.source(i), next.source(i).and_then(|j| first.source(j)));
            }
        }

        #[test]
        fn a_view_has_every_axis_of_every_image(
            axes in prop::array::uniform3(axis(3)), images in 1..4_usize,
        ) {
            let view = View { axes };
            prop_assert!(view.fits([3; 3]));
            let values: Vec<usize> = (1..=27 * images).collect();
            let taken = view.of([3; 3], images, &values);
            let [channels, rows, columns] = view.out_shape();
            prop_assert_eq!(taken.len(), channels * images * rows * columns);
            for (at, &value) in taken.iter().enumerate() {
                let (line, x) = (at / columns, axes[2].source(at % columns));
                let (plane, y) = (line / rows, axes[1].source(line % rows));
                let (c, image) = (axes[0].source(plane / images), plane % images);
                let source = c.zip(y).zip(x);
                let expected = source
                    .map_or(0, |((c, y), x)| values[((c * images + image) * 3 + y) * 3 + x]);
                prop_assert_eq!(value, expected);
            }
        }
    }
}
