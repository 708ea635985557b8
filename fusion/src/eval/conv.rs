//! A linear layer on one image, exactly.

use protocols::linear::{Geometry, winograd};
use zeroize::Zeroizing;

use super::packed::Packed;
use crate::sliding::SlidingAxis;
use crate::{Interval, Kernel, LayerWeights};

/// A layer ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    geometry: Geometry,
    kernel: Kernel,
    /// The matrix products: the convolution itself, or those over a Winograd layer's tiles.
    products: Products,
    /// One for each channel of the products, or none.
    shifts: Vec<u8>,
    bias: Vec<i64>,
}

impl Layer {
    pub(crate) fn new(
        kernel: Kernel,
        geometry: Geometry,
        shifts: &[u8],
        layer: &LayerWeights,
    ) -> Self {
        let products = match kernel {
            Kernel::Spatial => geometry,
            Kernel::Winograd => winograd::products(&geometry),
        };
        let products = Products::new(products, &layer.weights);
        Self { geometry, kernel, products, shifts: shifts.to_vec(), bias: layer.bias.clone() }
    }

    /// `(W x)[c] << shifts[c] + bias[c]` for one image, modulo `2^64`.
    pub(crate) fn run(&self, image: &[i64]) -> Vec<i64> {
        let mut sums = match self.kernel {
            Kernel::Spatial => self.shifted(image),
            Kernel::Winograd => {
                let tiles = winograd::transform_input(&self.geometry, 1, image);
                winograd::transform_output(&self.geometry, 1, &self.shifted(&tiles))
            }
        };
        for (sums, bias) in sums.chunks_exact_mut(self.geometry.positions()).zip(&self.bias) {
            sums.iter_mut().for_each(|sum| *sum = sum.wrapping_add(*bias));
        }
        sums
    }

    fn shifted(&self, image: &[i64]) -> Vec<i64> {
        let mut sums = self.products.run(image);
        let channels = sums.chunks_exact_mut(self.products.geometry.positions());
        for (sums, shift) in channels.zip(&self.shifts) {
            sums.iter_mut().for_each(|sum| *sum <<= shift);
        }
        sums
    }
}

/// `W x`: packed for 16-bit inputs and 32-bit sums where exact bounds allow it, plain otherwise.
#[derive(Clone, Debug)]
struct Products {
    geometry: Geometry,
    packed: Packed,
    weights: Zeroizing<Vec<i8>>,
}

impl Products {
    fn new(geometry: Geometry, weights: &[i8]) -> Self {
        Self { geometry, packed: Packed::new(geometry, weights), weights: weights.to_vec().into() }
    }

    fn run(&self, image: &[i64]) -> Vec<i64> {
        // The image's own interval, with zero for padding, decides: it is narrower than what the
        // wire may hold.
        let (lo, hi) = image.iter().fold((0, 0), |(lo, hi), &value| (value.min(lo), value.max(hi)));
        if self.packed.holds(Interval { lo, hi }) {
            return self.packed.run(image);
        }
        plain(&self.geometry, &self.weights, image)
    }
}

/// `W x` modulo `2^64`, as the definition says it: the twin that [`Packed`] is tested against.
fn plain(geometry: &Geometry, weights: &[i8], image: &[i64]) -> Vec<i64> {
    let [rows, columns] = SlidingAxis::of_geometry(geometry);
    let (inputs, outputs) =
        (geometry.in_channels / geometry.groups, geometry.out_channels / geometry.groups);
    let mut sums = vec![0i64; geometry.out_channels * geometry.positions()];
    for (channel, sums) in sums.chunks_exact_mut(geometry.positions()).enumerate() {
        let group = channel / outputs;
        for (index, sum) in sums.iter_mut().enumerate() {
            // Weights are `[output][input of the group][tap row][tap column]`; values
            // `[channel][row][column]`.
            let (y, x) = (index / columns.out, index % columns.out);
            for c in 0..inputs {
                let kernel = (channel * inputs + c) * rows.kernel;
                for (tap_y, at_y) in rows.taps(y) {
                    for (tap_x, at_x) in columns.taps(x) {
                        let weight = i64::from(weights[(kernel + tap_y) * columns.kernel + tap_x]);
                        let value =
                            image[((group * inputs + c) * rows.len + at_y) * columns.len + at_x];
                        *sum = sum.wrapping_add(weight.wrapping_mul(value));
                    }
                }
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn geometries() -> impl Strategy<Value = Geometry> {
        let sizes = (1usize..3, 1usize..4, 1usize..6, 1usize..8, 1usize..8);
        let kernel = (1usize..4, 1usize..4, 1usize..3, 1usize..3, 1usize..3, 1usize..3);
        let pads = (0usize..3, 0usize..3, 0usize..3, 0usize..3);
        let geometry = |(
            (groups, c, k, in_h, in_w),
            (kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w),
            pads,
        )| {
            let (pad_top, pad_left, pad_bottom, pad_right): (usize, usize, usize, usize) = pads;
            Geometry {
                in_channels: c * groups,
                in_h,
                in_w,
                out_channels: k * groups,
                kernel_h,
                kernel_w,
                stride_h,
                stride_w,
                dilation_h,
                dilation_w,
                pad_top,
                pad_left,
                pad_bottom,
                pad_right,
                groups,
            }
        };
        (sizes, kernel, pads)
            .prop_map(geometry)
            .prop_filter("a kernel that fits", |g| g.check().is_ok())
    }

    proptest! {
        #[test]
        fn packed_and_plain_agree(
            geometry in geometries(), weights in prop::collection::vec(any::<i8>(), 300),
            values in prop::collection::vec(-2000i64..2000, 500)) {
            let weights = &weights[..geometry.weights()];
            let image = &values[..geometry.in_shape().iter().product()];
            let expected = plain(&geometry, weights, image);
            prop_assert_eq!(Packed::new(geometry, weights).run(image), expected);
        }
    }
}
