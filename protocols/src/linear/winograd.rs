//! Winograd's convolution F(2x2, 3x3): four outputs of a 3x3 kernel from 16 products instead of 36.
//!
//! Source: Lavin, Gray, *Fast algorithms for convolutional neural networks* (CVPR 2016), section 4;
//! in two-party computation CoPriv (2023) and PrivQuant (2024), with all tiles of all images in one
//! product (tile aggregation).
//!
//! A tile is 4x4 inputs and 2x2 outputs, every two rows and columns. With
//!
//! ```text
//! B^T = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1]
//!  2G = [2 0 0; 1 1 1; 1 -1 1; 0 0 2]
//! A^T = [1 1 1 0; 0 1 -1 -1]
//! ```
//!
//! the outputs are `A^T [U . (B^T d B)] A`, summed over input channels, where `.` multiplies each
//! of 16 positions. So a convolution is a matrix product for every position: a convolution of 16
//! groups with a 1x1 kernel over tiles, between two transforms that are integer-linear, local on
//! shares, and exact modulo `2^l` whatever overflows in between.
//!
//! - *Exact* ([`Algorithm::WinogradExact`]): `U = (2G) g (2G)^T` makes four times the convolution
//!   with `g`. The products are computed in `Z_{2^(l+2)}`; of shares `s + c = 4 y` there, the
//!   server's `ceil(s / 4)` and the client's `floor(c / 4)` are shares of `y` in `Z_{2^l}`: with `c
//!   = 4 q + r` and `0 <= r < 4`, `s = 4 p - r` for some `p`, which is the server's, and `4 (p + q)
//!   = s + c`. Nothing is assumed of the value, and the input may be any representative modulo
//!   `2^l`: nothing but the products lives in the wider ring. The corners of `U` are multiples of
//!   4, the edges of 2: the factor is a shift of those products, which leaves them shorter.
//! - *In the domain* ([`Algorithm::Winograd`]): the network is defined by its `U`, which is
//!   quantized itself.

use num_traits::{WrappingAdd, WrappingSub, Zero};
use zeroize::Zeroizing;

use super::{Algorithm, Geometry, Layer};
use crate::{Bits, Role};

/// Positions of a tile in the domain.
pub const POSITIONS: usize = 16;

/// Rows and columns of a tile's outputs.
const STEP: usize = 2;

const INPUT: [[i8; 4]; 4] = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]];
const KERNEL: [[i8; 3]; 4] = [[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]];
const OUTPUT: [[i8; 4]; 2] = [[1, 1, 1, 0], [0, 1, -1, -1]];

/// Sums of three that an entry of `U` is made of: 0 at the corners, 1 at the edges, 2 at the
/// centers.
const fn sums(position: usize) -> u32 {
    const fn inner(index: usize) -> u32 {
        if index == 1 || index == 2 { 1 } else { 0 }
    }
    inner(position / 4) + inner(position % 4)
}

/// What is wrong with a geometry for this algorithm, if anything.
pub(super) fn check(g: &Geometry) -> Result<(), String> {
    let kernel = [g.kernel_h, g.kernel_w];
    let steps = [g.stride_h, g.stride_w, g.dilation_h, g.dilation_w];
    if kernel == [3, 3] && steps == [1; 4] {
        return Ok(());
    }
    Err(format!("a 3x3 kernel, stride 1 and dilation 1 for Winograd's convolution, found {g:?}"))
}

/// Whether a convolution can be computed this way.
pub fn applies(geometry: &Geometry) -> bool {
    check(geometry).is_ok()
}

/// The products: a convolution with a 1x1 kernel over tiles, in groups of 16 positions. Channels
/// are `[position][channel]`.
pub const fn products(g: &Geometry) -> Geometry {
    Geometry {
        in_h: g.out_h().div_ceil(STEP),
        in_w: g.out_w().div_ceil(STEP),
        groups: POSITIONS * g.groups,
        ..Geometry::dense(POSITIONS * g.in_channels, POSITIONS * g.out_channels)
    }
}

/// The layer of the products.
pub(super) fn layer(layer: &Layer) -> Layer {
    let channels = layer.geometry.out_channels;
    let exact = layer.algorithm == Algorithm::WinogradExact;
    Layer {
        geometry: products(&layer.geometry),
        weight_bits: layer.weight_bits,
        shifts: if exact {
            // Channels of the products are `[position][channel]`. Four times the result is wanted:
            // what the weights leave out of the factor 4 is a shift.
            (0..POSITIONS * channels)
                .map(|at| 2 - sums(at / channels) as u8 + layer.shift(at % channels) as u8)
                .collect()
        } else {
            layer.shifts.clone()
        },
        ring: if exact { Bits::of(layer.ring.get() + 2) } else { layer.ring },
        algorithm: Algorithm::Direct,
        protocol: layer.protocol,
        number: layer.number,
    }
}

/// Width of the weights of a group of the products of an exact layer.
pub(super) const fn exact_bits(weight_bits: u32, group: usize, groups: usize) -> u32 {
    weight_bits + 2 * sums(group / (groups / POSITIONS))
}

/// `U` of an exact layer without the factors that are shifts, `[position][channel][fan-in]`, from
/// `[channel][fan-in][3][3]`.
///
/// # Panics
/// Where an entry needs more than 8 bits: layers are checked before.
pub(super) fn exact_weights(weights: &[i8]) -> Zeroizing<Vec<i8>> {
    let kernels = weights.as_chunks::<9>().0;
    // As many as there are, so that none are moved and left behind.
    let mut derived = Zeroizing::new(Vec::with_capacity(POSITIONS * kernels.len()));
    derived.extend(
        (0..POSITIONS)
            .flat_map(|position| kernels.iter().map(move |kernel| exact_entry(position, kernel))),
    );
    derived
}

/// One entry of [`exact_weights`].
fn exact_entry(position: usize, kernel: &[i8; 9]) -> i8 {
    let (left, right) = (KERNEL[position / 4], KERNEL[position % 4]);
    let sum: i32 = (0..9)
        .map(|at: usize| i32::from(left[at / 3]) * i32::from(right[at % 3]) * i32::from(kernel[at]))
        .sum();
    // The right shift is exact: rows 0 and 3 of `2G` are even, and a corner is the product of two
    // of them. At 4 bits no entry is beyond a center's nine times 8.
    i8::try_from(sum >> (2 - sums(position)))
        .expect("invariant: an exact layer's weights have 4 bits at most")
}

/// `U = (2G) g (2G)^T` of one kernel, by position.
pub fn kernel(g: &[f64; 9]) -> [f64; POSITIONS] {
    std::array::from_fn(|position| {
        let (left, right) = (KERNEL[position / 4], KERNEL[position % 4]);
        (0..9).map(|at| f64::from(left[at / 3]) * f64::from(right[at % 3]) * g[at]).sum()
    })
}

/// A ring, or the integers.
pub trait Number: Copy + Zero + WrappingAdd + WrappingSub {}

impl<T: Copy + Zero + WrappingAdd + WrappingSub> Number for T {}

/// `sum coefficients[i] values[i]`, for coefficients of -1, 0 and 1.
fn combine<T: Number>(coefficients: &[i8; 4], values: [T; 4]) -> T {
    let terms = coefficients.iter().zip(values);
    terms.fold(T::zero(), |sum, (coefficient, value)| match coefficient {
        1 => sum.wrapping_add(&value),
        -1 => sum.wrapping_sub(&value),
        _ => sum,
    })
}

/// `M v M^T` for a 4x4 matrix `v`.
fn conjugate<T: Number, const N: usize>(matrix: &[[i8; 4]; N], v: &[[T; 4]; 4]) -> [[T; N]; N] {
    let down =
        matrix.map(|row| [0, 1, 2, 3].map(|column| combine(&row, v.map(|line| line[column]))));
    down.map(|line| matrix.map(|row| combine(&row, line)))
}

/// `B^T d B` of every tile, `[position][channel][image][tile]`, from
/// `[channel][image][row][column]`; padding, and what is beyond it, reads as zero.
pub fn transform_input<T: Number>(g: &Geometry, images: usize, x: &[T]) -> Vec<T> {
    let tiles = products(g);
    let (plane, count) = (g.in_h * g.in_w, tiles.positions());
    let stride = g.in_channels * images * count;
    let mut out = vec![T::zero(); POSITIONS * stride];
    for (at, x) in x.chunks_exact(plane).enumerate() {
        for tile in 0..count {
            // Tiles of 4x4 overlap by two rows and columns. Their places count from the padding's
            // corner.
            let (row, column) = (tile / tiles.in_w * STEP, tile % tiles.in_w * STEP);
            let d: [[T; 4]; 4] = std::array::from_fn(|r| {
                std::array::from_fn(|s| {
                    // Above and left of the image the difference wraps to a huge number, so one
                    // comparison finds both sides of the padding.
                    let (y, x_at) =
                        ((row + r).wrapping_sub(g.pad_top), (column + s).wrapping_sub(g.pad_left));
                    if y < g.in_h && x_at < g.in_w { x[y * g.in_w + x_at] } else { T::zero() }
                })
            });
            let transformed = conjugate(&INPUT, &d);
            for (position, value) in transformed.as_flattened().iter().enumerate() {
                out[position * stride + at * count + tile] = *value;
            }
        }
    }
    out
}

/// `A^T m A` of every tile, `[channel][image][row][column]`, from
/// `[position][channel][image][tile]`.
pub fn transform_output<T: Number>(g: &Geometry, images: usize, products_of: &[T]) -> Vec<T> {
    let tiles = products(g);
    let (rows, columns, count) = (g.out_h(), g.out_w(), tiles.positions());
    let stride = g.out_channels * images * count;
    let mut out = vec![T::zero(); g.out_channels * images * rows * columns];
    for (at, out) in out.chunks_exact_mut(rows * columns).enumerate() {
        for tile in 0..count {
            let m: [[T; 4]; 4] = std::array::from_fn(|p| {
                std::array::from_fn(|q| products_of[(4 * p + q) * stride + at * count + tile])
            });
            // The last tiles reach beyond an output of odd height or width: those lines are
            // dropped.
            let (row, column) = (tile / tiles.in_w * STEP, tile % tiles.in_w * STEP);
            for (i, line) in
                conjugate(&OUTPUT, &m).iter().enumerate().filter(|(i, _)| row + i < rows)
            {
                for (j, value) in line.iter().enumerate().filter(|(j, _)| column + j < columns) {
                    out[(row + i) * columns + column + j] = *value;
                }
            }
        }
    }
    out
}

/// A party's share of an exact layer's result, from its share of four times that, in a ring of two
/// bits more.
pub(super) fn quarter(role: Role, ring: Bits, share: u64) -> u64 {
    // The server's share is divided by 4 rounding up, the client's rounding down: the remainders
    // add up to 0 or 4.
    let up = if role == Role::Server { 3 } else { 0 };
    ring.reduce(share).wrapping_add(up) >> 2
}

/// The part that entry `position` of `U` has in the weight of input `tap` in output `output` of a
/// tile: 1, -1 or 0. All three count row by row. `A^T [U . (B^T d B)] A` is linear in `d`: the
/// weights are `sum over p, q of A[p] A[q] B[p][r] B[q][s] U[p, q]`.
const fn coefficient(output: usize, tap: usize, position: usize) -> i8 {
    let (p, q) = (position / 4, position % 4);
    let (left, right) = (OUTPUT[output / STEP][p], OUTPUT[output % STEP][q]);
    left * right * INPUT[p][tap / 4] * INPUT[q][tap % 4]
}

/// The 4x4 kernels that `U` amounts to, one for each of a tile's four outputs: of one output
/// channel, as sums of positive and of negative entries. `entries` are that channel's,
/// `[position][fan-in]`, each with its left shift.
pub(crate) fn effective(fan_in: usize, entry: impl Fn(usize, usize) -> i128) -> [(i128, i128); 4] {
    let mut sums = [(0i128, 0i128); 4];
    for input in 0..fan_in {
        let u: [i128; POSITIONS] = std::array::from_fn(|position| entry(position, input));
        for (output, (negative, positive)) in sums.iter_mut().enumerate() {
            for at in 0..POSITIONS {
                let value: i128 = (0..POSITIONS)
                    .map(|position| i128::from(coefficient(output, at, position)) * u[position])
                    .sum();
                *(if value < 0 { &mut *negative } else { &mut *positive }) += value;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linear::testing::any_three_by_three;
    use crate::linear::{Protocol, multiply};

    proptest! {
        #[test]
        fn the_exact_transform_is_four_times_the_convolution(
            geometry in any_three_by_three(),
            images in 1usize..3,
            weights in prop::collection::vec(-8i8..8, 400),
            x in prop::collection::vec(any::<u64>(), 1200),
            split in any::<u64>(),
        ) {
            let direct = Layer {
                geometry,
                weight_bits: 4,
                shifts: Vec::new(),
                ring: Bits::of(20),
                algorithm: Algorithm::Direct,
                protocol: Protocol::Cot,
            number: 0,
            };
            let weights = &weights[..geometry.weights()];
            let x = &x[..geometry.in_shape().iter().product::<usize>() * images];
            let exact = Layer { algorithm: Algorithm::WinogradExact, ..direct.clone() };
            prop_assert!(exact.check().is_ok());
            let inner = layer(&exact);
            let tiles = transform_input(&geometry, images, x);
            let products = multiply(&inner, &exact_weights(weights), images, &tiles);
            let four = transform_output(&geometry, images, &products);
            let expected = multiply(&direct, weights, images, x);
            for (four, expected) in four.iter().zip(expected) {
                prop_assert_eq!(inner.ring.reduce(*four), expected << 2);
                let shares = (
                    quarter(Role::Server, inner.ring, split),
                    quarter(Role::Client, inner.ring, four.wrapping_sub(&split)),
                );
                prop_assert_eq!(direct.ring.reduce(shares.0.wrapping_add(shares.1)), expected);
            }
        }

        #[test]
        fn effective_kernels_bound_what_a_layer_makes(
            geometry in any_three_by_three(),
            u in prop::collection::vec(-8i8..8, 800),
            high in 1i64..16,
            seed in any::<u64>(),
        ) {
            let domain = Layer {
                geometry,
                weight_bits: 4,
                shifts: Vec::new(),
                ring: Bits::of(40),
                algorithm: Algorithm::Winograd,
                protocol: Protocol::Cot,
            number: 0,
            };
            let u = &u[..domain.weights()];
            let count = geometry.in_shape().iter().product::<usize>();
            let fan_in = geometry.in_channels / geometry.groups;
            let x: Vec<u64> = (0..count)
                .map(|i| if seed >> (i % 64) & 1 == 1 { high as u64 } else { 0 })
                .collect();
            let outputs = multiply(&domain, u, 1, &x);
            for (channel, out) in outputs.chunks_exact(geometry.positions()).enumerate() {
                let bounds = effective(fan_in, |position, input| {
                    u[(position * geometry.out_channels + channel) * fan_in + input].into()
                });
                let low = bounds.iter().map(|(low, _)| low * i128::from(high)).min().unwrap();
                let top = bounds.iter().map(|(_, top)| top * i128::from(high)).max().unwrap();
                for value in out {
                    let value = i128::from(domain.ring.decode(*value));
                    prop_assert!(low <= value && value <= top, "{low} <= {value} <= {top}");
                }
            }
        }
    }
}
