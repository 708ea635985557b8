//! Slicing and zero padding, in one operation that is closed under composition.

use serde::{Deserialize, Serialize};

/// A choice of elements of `[C, H, W]`, surrounded by zeros: what ONNX's Slice and Pad do, in any
/// sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// What happens along C, H and W.
    pub axes: [Axis; 3],
}

/// A [`View`] along one axis: `before` zeros, the elements `start, start + stride, ...` (`length`
/// of them), `after` zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    #[must_use]
    pub fn all(length: usize) -> Self {
        Self { start: 0, stride: 1, length, before: 0, after: 0 }
    }

    /// The length of the result.
    #[must_use]
    pub fn out(&self) -> usize {
        self.before + self.length + self.after
    }

    /// The source of element `i` of the result, `None` if it is a zero.
    #[must_use]
    pub fn source(&self, i: usize) -> Option<usize> {
        let taken = i.checked_sub(self.before)?;
        (taken < self.length).then(|| self.start + taken * self.stride)
    }

    /// First `self`, then `next`, as one.
    #[must_use]
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
    pub(crate) fn only_pads(&self, input: usize) -> bool {
        self.start == 0 && self.length == input && (self.stride == 1 || input <= 1)
    }
}

impl View {
    /// All elements of `[C, H, W]`.
    #[must_use]
    pub fn all(shape: [usize; 3]) -> Self {
        Self { axes: shape.map(Axis::all) }
    }

    /// The shape of the result, `[C, H, W]`.
    #[must_use]
    pub fn out(&self) -> [usize; 3] {
        self.axes.map(|axis| axis.out())
    }

    /// First `self`, then `next`, as one.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        Self { axes: std::array::from_fn(|i| self.axes[i].then(&next.axes[i])) }
    }

    /// Whether this changes nothing of an input of this shape.
    #[must_use]
    pub fn is_identity(&self, shape: [usize; 3]) -> bool {
        self.axes.iter().zip(shape).all(|(axis, n)| axis.only_pads(n) && axis.out() == n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    }
}
