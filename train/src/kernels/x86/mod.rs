//! The kernels in wide registers: AVX-512 where the processor has it, else AVX2.
//!
//! Either adds the products of one sum in the same order, with one rounding a product: the two have
//! the same results, bit for bit, and so has a training that continues on another machine.
#![allow(unsafe_code)]

mod avx2;
mod avx512;

use super::{LANES, Sweep, Tap};

/// Pixels whose cotangents and inputs stay in the first cache while weights are summed.
const BAND: usize = 128;

/// A set of instructions, as the kernels for it.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    /// All sums of one row of an output; see [`Row`].
    row: unsafe fn(&Row<'_>, *const f32, *mut f32),
    /// The sums of one tap over a band; the input and the sums start at the tap.
    tap: unsafe fn(&Band<'_>, usize, *const f32, *const f32, *mut f32),
}

/// What the rows of a sweep have in common.
struct Row<'a> {
    taps: &'a [Tap],
    weights: *const f32,
    /// Null where sums start from what the output holds.
    bias: *const f32,
    columns: usize,
    /// From one column to the next, of the input and of the output.
    strides: [usize; 2],
}

/// Some rows of a sweep.
struct Band<'a> {
    sweep: &'a Sweep,
    first: usize,
    rows: usize,
}

impl Kernels {
    /// AVX2 with fused multiplication and addition; `None` where the processor lacks them.
    pub(super) fn avx2() -> Option<Self> {
        let there = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        there.then_some(Self { row: avx2::row, tap: avx2::tap })
    }

    /// AVX-512; `None` where the processor lacks it.
    pub(super) fn avx512() -> Option<Self> {
        let there = is_x86_feature_detected!("avx512f");
        there.then_some(Self { row: avx512::row, tap: avx512::tap })
    }

    /// The fastest ones that the processor has.
    pub(super) fn best() -> Option<Self> {
        Self::avx512().or_else(Self::avx2)
    }

    /// [`super::Number::products`]. The caller has verified that the sweep fits.
    pub(super) fn products(
        self,
        sweep: &Sweep,
        input: &[f32],
        weights: &[f32],
        bias: Option<&[f32; LANES]>,
        output: &mut [f32],
    ) {
        let [rows, columns] = sweep.size;
        let row = Row {
            taps: &sweep.taps,
            weights: weights.as_ptr(),
            bias: bias.map_or(std::ptr::null(), |bias| bias.as_ptr()),
            columns,
            strides: [sweep.input.column, sweep.output.column],
        };
        let (input, output) = (input.as_ptr(), output.as_mut_ptr());
        for y in 0..rows {
            // SAFETY: the instructions are there, and the sweep's last pixel is within the slices.
            unsafe {
                let (input, output) =
                    (input.add(sweep.input.at(y, 0)), output.add(sweep.output.at(y, 0)));
                (self.row)(&row, input, output);
            }
        }
    }

    /// [`super::Number::weight_sums`]. The caller has verified that the sweep fits.
    pub(super) fn weight_sums(
        self,
        sweep: &Sweep,
        input: &[f32],
        cotangent: &[f32],
        sums: &mut [f32],
    ) {
        let [rows, columns] = sweep.size;
        let (input, cotangent, sums) = (input.as_ptr(), cotangent.as_ptr(), sums.as_mut_ptr());
        // Whole rows, as many as make some hundred pixels: of 32 columns four, of 8 sixteen.
        let band = (BAND / columns.max(1)).max(1);
        for first in (0..rows).step_by(band) {
            let band = Band { sweep, first, rows: band.min(rows - first) };
            for tap in &sweep.taps {
                // SAFETY: the instructions are there, and the sweep fits: its channels, pixels and
                // weights are within the slices.
                unsafe {
                    let (input, sums) = (input.add(tap.input), sums.add(tap.weights));
                    (self.tap)(&band, tap.channels, input, cotangent, sums);
                }
            }
        }
    }
}
