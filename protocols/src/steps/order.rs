//! The same elements in another order: two neighboring axes change places. Public indices, the
//! same at both parties. Any transposition is a few of these.

use serde::{Deserialize, Serialize};

/// The elements `[outer][rows][columns][inner]` as `[outer][columns][rows][inner]`, in a new
/// shape; `outer` is what is left. With one row it is the shape alone that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Length of the axis that moves inward.
    pub rows: usize,
    /// Length of the axis that moves outward.
    pub columns: usize,
    /// Elements that stay together.
    pub inner: usize,
    /// The shape of the result, `[channels, rows, columns]`.
    pub shape: [usize; 3],
}

impl Order {
    /// The same order in another shape.
    pub const fn reshape(shape: [usize; 3]) -> Self {
        Self { rows: 1, columns: 1, inner: 1, shape }
    }

    /// Whether the order stays as it is.
    pub const fn keeps_order(&self) -> bool {
        self.rows == 1 || self.columns == 1
    }

    /// Whether this changes nothing of an input of this shape.
    pub fn is_identity(&self, shape: [usize; 3]) -> bool {
        self.keeps_order() && self.shape == shape
    }

    /// Whether an input of this shape has such axes, and as many elements as the result.
    pub fn fits(&self, shape: [usize; 3]) -> bool {
        let (elements, block) = (product(&shape), product(&[self.rows, self.columns, self.inner]));
        let whole = elements
            .zip(block)
            .is_some_and(|(elements, block)| block > 0 && elements.is_multiple_of(block));
        whole && product(&self.shape) == elements
    }

    /// First `self`, then `next`, as one; `None` where that takes two.
    pub fn then(&self, next: &Self) -> Option<Self> {
        let back = self.rows == next.columns && self.columns == next.rows;
        if self.keeps_order() || next.keeps_order() {
            let turned = if self.keeps_order() { next } else { self };
            Some(Self { shape: next.shape, ..*turned })
        } else {
            (back && self.inner == next.inner).then_some(Self::reshape(next.shape))
        }
    }

    /// Where an element of one image of the result comes from.
    pub const fn source(&self, at: usize) -> usize {
        let Self { rows, columns, inner, .. } = *self;
        // Element `[o][c][r][i]` of the result is `[o][r][c][i]` of the input.
        let (block, within) = (at / (rows * columns * inner), at % (rows * columns * inner));
        let (column, row, rest) = (within / (rows * inner), within / inner % rows, within % inner);
        ((block * rows + row) * columns + column) * inner + rest
    }

    /// The input element of every output element, in order, for tensors laid out
    /// `[channels][images][rows][columns]`.
    pub fn sources(&self, shape: [usize; 3], images: usize) -> impl Iterator<Item = usize> {
        let (order, [channels, rows, columns]) = (*self, self.shape);
        // Images lie side by side within each channel, and channels of the input and the result are
        // of different lengths: an element's place in its image is found first.
        let (from, to) = (shape[1] * shape[2], rows * columns);
        let planes = (0..channels).flat_map(move |c| (0..images).map(move |image| (c, image)));
        planes.flat_map(move |(c, image)| {
            (0..to).map(move |pixel| {
                let source = order.source(c * to + pixel);
                (source / from * images + image) * from + source % from
            })
        })
    }

    /// The elements of values that are laid out `[channels][images][rows][columns]`.
    pub fn of<T: Copy>(&self, shape: [usize; 3], images: usize, values: &[T]) -> Vec<T> {
        let mut taken = Vec::with_capacity(values.len());
        self.sources(shape, images).for_each(|source| taken.push(values[source]));
        taken
    }
}

fn product(lengths: &[usize]) -> Option<usize> {
    lengths.iter().try_fold(1usize, |product, &length| product.checked_mul(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_element_of_every_image_goes_to_its_place(
            [outer, rows, columns, inner] in prop::array::uniform4(1..4_usize),
            images in 1..4_usize,
        ) {
            let (from, shape) = ([outer * rows, columns, inner], [outer, columns * rows, inner]);
            let order = Order { rows, columns, inner, shape };
            prop_assert!(order.fits(from));
            let at = |[a, b, c]: [usize; 3], shape: [usize; 3], [x, image, y, z]: [usize; 4]| {
                debug_assert!(x < a && y < b && z < c);
                ((x * images + image) * shape[1] + y) * shape[2] + z
            };
            let values: Vec<usize> = (0..outer * rows * columns * inner * images).collect();
            let taken = order.of(from, images, &values);
            for image in 0..images {
                for o in 0..outer {
                    for (r, c) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                        for i in 0..inner {
                            let source = at(from, from, [o * rows + r, image, c, i]);
                            let place = at(shape, shape, [o, image, c * rows + r, i]);
                            prop_assert_eq!(taken[place], values[source]);
                        }
                    }
                }
            }
            let back = Order { rows: columns, columns: rows, inner, shape: from };
            prop_assert_eq!(back.of(shape, images, &taken), &values[..]);
            prop_assert!(order.then(&back).is_some_and(|both| both.is_identity(from)));
            let flat = Order::reshape([outer * rows * columns * inner, 1, 1]);
            let both = order.then(&flat).unwrap().of(from, images, &values);
            prop_assert_eq!(both, flat.of(shape, images, &taken));
        }
    }
}
