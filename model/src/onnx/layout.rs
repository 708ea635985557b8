//! How the graph sees a value: its axes over the elements that the network stores.
//!
//! The network stores a value as `[C, H, W]`. The graph transposes and reshapes it, which moves
//! nothing here: an axis of the graph is a number in a mixed radix, each digit with a stride in
//! what is stored. `[8, 8, 3]` read as an image of three channels is stored as it is, and its axes
//! are `3 (1)`, `8 (24)`, `8 (3)`. Elements move where an operator needs them in another order.

/// The axes, the batch apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Digits of each axis, the most significant first; none of length 1.
    axes: Vec<Vec<Digit>>,
}

/// A part of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digit {
    pub(super) length: usize,
    /// From one to the next, in what is stored.
    pub(super) stride: usize,
}

impl Layout {
    /// Axes of these lengths, in the order of what is stored.
    pub(super) fn natural(lengths: &[usize]) -> Self {
        let mut stride = 1;
        let mut axes: Vec<Vec<Digit>> = Vec::with_capacity(lengths.len());
        for &length in lengths.iter().rev() {
            axes.push(digits(vec![Digit { length, stride }]));
            stride *= length;
        }
        axes.reverse();
        Self { axes }
    }

    /// The lengths of all axes.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.iter().map(|digit| digit.length).product()).collect()
    }

    pub(super) fn rank(&self) -> usize {
        self.axes.len()
    }

    /// Whether its elements come in the order of what is stored.
    pub(super) fn is_natural(&self) -> bool {
        matches!(self.digits()[..], [] | [Digit { stride: 1, .. }])
    }

    /// All digits, the most significant first, neighbors joined where they are one.
    pub(super) fn digits(&self) -> Vec<Digit> {
        digits(self.axes.concat())
    }

    /// The same elements with their axes in another order.
    pub(super) fn transposed(&self, order: &[usize]) -> Self {
        Self { axes: order.iter().map(|&axis| self.axes[axis].clone()).collect() }
    }

    /// The same elements, in the same order, as axes of other lengths; `None` where that is no
    /// regular choice of what is stored.
    pub(super) fn reshaped(&self, lengths: &[usize]) -> Option<Self> {
        // Digits are dealt out to the new axes, the most significant first. Of 6 = [2, 3] read as
        // [3, 2], neither divides the other: that is no regular choice.
        let mut rest = self.digits().into_iter();
        let mut next = rest.next();
        let mut axes = Vec::with_capacity(lengths.len());
        for &length in lengths {
            let (mut axis, mut wanted) = (Vec::new(), length);
            while wanted > 1 {
                let digit = next?;
                if wanted.is_multiple_of(digit.length) {
                    axis.push(digit);
                    wanted /= digit.length;
                    next = rest.next();
                } else if digit.length.is_multiple_of(wanted) {
                    // The upper part of the digit is the rest of this axis.
                    let inner = digit.length / wanted;
                    axis.push(Digit { length: wanted, stride: digit.stride * inner });
                    next = Some(Digit { length: inner, ..digit });
                    wanted = 1;
                } else {
                    return None;
                }
            }
            axes.push(digits(axis));
        }
        (next.is_none() && lengths.iter().all(|&length| length > 0)).then_some(Self { axes })
    }

    /// Where the axis stands in a `[C, H, W]`, if it is one of its axes, whole and alone.
    pub(super) fn stored_axis(&self, axis: usize, shape: [usize; 3]) -> Option<usize> {
        let strides = [shape[1] * shape[2], shape[2], 1];
        match self.axes[axis][..] {
            [digit] => (0..3).find(|&at| digit == Digit { length: shape[at], stride: strides[at] }),
            // An axis of one element is any of length one that lies within no digit.
            [] => (0..3).find(|&at| shape[at] == 1 && self.splits(strides[at])),
            _ => None,
        }
    }

    /// Whether no digit reaches across a stride.
    fn splits(&self, stride: usize) -> bool {
        let mut digits = self.axes.iter().flatten();
        digits.all(|digit| digit.stride >= stride || digit.stride * digit.length <= stride)
    }

    /// The same after the stored axis `at` of a `[C, H, W]`, which is `axis` here, has got another
    /// length.
    pub(super) fn resized(&self, axis: usize, at: usize, shape: [usize; 3], length: usize) -> Self {
        let stride: usize = shape[at + 1..].iter().product();
        let mut axes = self.axes.clone();
        for digit in axes.iter_mut().flatten() {
            // Digits beyond the axis are as much further apart.
            if digit.stride >= stride * shape[at] {
                digit.stride = digit.stride / shape[at] * length;
            }
        }
        axes[axis] = digits(vec![Digit { length, stride }]);
        Self { axes }
    }

    /// The index along an axis of the element that is stored at a place.
    pub(super) fn index(&self, axis: usize, place: usize) -> usize {
        let digits = self.axes[axis].iter();
        digits.fold(0, |index, digit| index * digit.length + place / digit.stride % digit.length)
    }

    /// Where each element is stored, in order.
    pub(super) fn places(&self) -> Vec<usize> {
        self.digits().iter().fold(vec![0], |outer, digit| {
            let inner = (0..digit.length).map(|i| i * digit.stride);
            outer.iter().flat_map(|base| inner.clone().map(move |offset| base + offset)).collect()
        })
    }

    /// Whether an axis tells apart only what `unit` elements lie between.
    pub(super) fn is_beyond(&self, axis: usize, unit: usize) -> bool {
        self.axes[axis].iter().all(|digit| digit.stride.is_multiple_of(unit))
    }

    /// With axes of length 1 at these places of the result, in ascending order.
    pub(super) fn with(&self, places: &[usize]) -> Self {
        let mut axes = self.axes.clone();
        for &place in places {
            axes.insert(place.min(axes.len()), Vec::new());
        }
        Self { axes }
    }

    /// Without these axes, of length 1.
    pub(super) fn without(&self, gone: &[usize]) -> Self {
        let kept = self.axes.iter().enumerate().filter(|(axis, _)| !gone.contains(axis));
        Self { axes: kept.map(|(_, axis)| axis.clone()).collect() }
    }
}

/// Digits without those of length 1, neighbors joined where they are one.
fn digits(all: Vec<Digit>) -> Vec<Digit> {
    let mut joined: Vec<Digit> = Vec::with_capacity(all.len());
    for digit in all.into_iter().filter(|digit| digit.length > 1) {
        match joined.last_mut() {
            Some(last) if last.stride == digit.stride * digit.length => {
                last.length *= digit.length;
                last.stride = digit.stride;
            }
            _ => joined.push(digit),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn transposing_there_and_back_is_natural_and_reshapes_split_axes() {
        let stored = Layout::natural(&[8, 6, 3]);
        let image = stored.transposed(&[2, 0, 1]);
        assert_eq!(image.lengths(), [3, 8, 6]);
        assert!(!image.is_natural() && image.transposed(&[1, 2, 0]).is_natural());
        assert_eq!(image.reshaped(&[144]).unwrap().places()[..3], [0, 3, 6]);
        assert_eq!(image.stored_axis(0, [8, 6, 3]), Some(2));
        let shuffled = Layout::natural(&[6, 4]).reshaped(&[2, 3, 4]).unwrap();
        let shuffled = shuffled.transposed(&[1, 0, 2]).reshaped(&[6, 4]).unwrap();
        assert_eq!(shuffled.places()[..8], [0, 1, 2, 3, 12, 13, 14, 15]);
        // Rows of five across a border of four are no regular choice.
        assert!(Layout::natural(&[4, 5]).transposed(&[1, 0]).reshaped(&[10, 2]).is_some());
        assert!(Layout::natural(&[4, 5]).transposed(&[1, 0]).reshaped(&[2, 10]).is_none());
    }

    proptest! {
        #[test]
        fn axes_tell_where_every_element_is(
            lengths in prop::collection::vec(1..5_usize, 3),
            order in Just(vec![0, 1, 2]).prop_shuffle(),
        ) {
            let layout = Layout::natural(&lengths).transposed(&order);
            let rank = layout.rank();
            for (at, &place) in layout.places().iter().enumerate() {
                let found = (0..rank).fold(0, |flat, axis| {
                    flat * layout.lengths()[axis] + layout.index(axis, place)
                });
                prop_assert_eq!(found, at);
            }
        }

        #[test]
        fn an_axis_that_grows_leaves_the_others_where_they_belong(
            shape in prop::array::uniform3(1..5_usize),
            order in Just(vec![0, 1, 2]).prop_shuffle(),
            (axis, length) in (0..3_usize, 1..6_usize),
        ) {
            let layout = Layout::natural(&shape).transposed(&order);
            let mut grown = shape;
            grown[order[axis]] = length;
            let found = layout.resized(axis, order[axis], shape, length);
            prop_assert_eq!(found, Layout::natural(&grown).transposed(&order));
        }
    }
}
