//! The kernels in AVX2 with fused multiplication and addition.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_setzero_ps, _mm256_storeu_ps,
};

use super::{LANES, Sweep, Tap};

/// Pixels whose cotangents and inputs stay in the first cache while weights are summed.
const BAND: usize = 128;

fn is_there() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// [`super::Number::products`]; `false` where the processor has no such instructions. The caller
/// has verified that the sweep fits.
pub(super) fn products(
    sweep: &Sweep,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32; LANES]>,
    output: &mut [f32],
) -> bool {
    if !is_there() {
        return false;
    }
    let [rows, columns] = sweep.size;
    // Null where sums start from what the output holds.
    let bias = bias.map_or(std::ptr::null(), |bias| bias.as_ptr());
    let (input, weights, output) = (input.as_ptr(), weights.as_ptr(), output.as_mut_ptr());
    for y in 0..rows {
        let mut x = 0;
        while x < columns {
            let (from, to) = (sweep.input.at(y, x), sweep.output.at(y, x));
            let strides = [sweep.input.column, sweep.output.column];
            let taps = &sweep.taps;
            // SAFETY: the features are there, and the sweep's last pixel is within the slices.
            x += unsafe {
                let (input, output) = (input.add(from), output.add(to));
                match tile(columns - x) {
                    6 => pixels::<6>(taps, input, weights, bias, output, strides),
                    4 => pixels::<4>(taps, input, weights, bias, output, strides),
                    3 => pixels::<3>(taps, input, weights, bias, output, strides),
                    2 => pixels::<2>(taps, input, weights, bias, output, strides),
                    _ => pixels::<1>(taps, input, weights, bias, output, strides),
                }
            };
        }
    }
    true
}

/// How many of the pixels left are done at once: six fill the registers, and four still hide the
/// latency. 32 columns are 6 6 6 6 4 4, and 8 are 4 4.
const fn tile(left: usize) -> usize {
    match left {
        4 | 7 | 8 => 4,
        5 => 3,
        0..=3 => left,
        _ => 6,
    }
}

/// Sixteen channels of `P` pixels; returns `P`.
///
/// # Safety
/// AVX2 and FMA; all that the taps say is readable, and the pixels of the output are writable.
#[target_feature(enable = "avx2,fma")]
unsafe fn pixels<const P: usize>(
    taps: &[Tap],
    input: *const f32,
    weights: *const f32,
    bias: *const f32,
    output: *mut f32,
    [column_in, column_out]: [usize; 2],
) -> usize {
    // SAFETY: as the caller says.
    unsafe {
        // Two registers a pixel: twelve of sixteen for six pixels, three for what is multiplied.
        let mut sums = [[_mm256_setzero_ps(); 2]; P];
        for (p, sums) in sums.iter_mut().enumerate() {
            let from = if bias.is_null() { output.add(p * column_out).cast_const() } else { bias };
            *sums = [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))];
        }
        for tap in taps {
            let (mut weights, mut input) = (weights.add(tap.weights), input.add(tap.input));
            for _ in 0..tap.channels {
                // One channel of the input meets all sixteen of the output.
                let row = [_mm256_loadu_ps(weights), _mm256_loadu_ps(weights.add(8))];
                for (p, sums) in sums.iter_mut().enumerate() {
                    let value = _mm256_broadcast_ss(&*input.add(p * column_in));
                    sums[0] = _mm256_fmadd_ps(value, row[0], sums[0]);
                    sums[1] = _mm256_fmadd_ps(value, row[1], sums[1]);
                }
                weights = weights.add(LANES);
                input = input.add(1);
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            store(output.add(p * column_out), *sums);
        }
    }
    P
}

/// [`super::Number::weight_sums`]; `false` where the processor has no such instructions. The caller
/// has verified that the sweep fits.
pub(super) fn weight_sums(
    sweep: &Sweep,
    input: &[f32],
    cotangent: &[f32],
    sums: &mut [f32],
) -> bool {
    if !is_there() {
        return false;
    }
    let [rows, columns] = sweep.size;
    let (input, cotangent, sums) = (input.as_ptr(), cotangent.as_ptr(), sums.as_mut_ptr());
    // Whole rows, as many as make some hundred pixels: of 32 columns four, of 8 sixteen.
    let band = (BAND / columns.max(1)).max(1);
    for first in (0..rows).step_by(band) {
        let band = Band { sweep, first, rows: band.min(rows - first) };
        for tap in &sweep.taps {
            let mut done = 0;
            while done < tap.channels {
                // SAFETY: the features are there, and the sweep fits: its channels, pixels and
                // weights are within the slices.
                done += unsafe {
                    let (input, sums) =
                        (input.add(tap.input + done), sums.add(tap.weights + done * LANES));
                    // 16 channels are 6 6 4, and 8 are 4 4.
                    match tap.channels - done {
                        6.. if tap.channels - done != 8 => {
                            channels::<6>(&band, input, cotangent, sums)
                        }
                        4.. => channels::<4>(&band, input, cotangent, sums),
                        3 => channels::<3>(&band, input, cotangent, sums),
                        2 => channels::<2>(&band, input, cotangent, sums),
                        _ => channels::<1>(&band, input, cotangent, sums),
                    }
                };
            }
        }
    }
    true
}

/// Some rows of a sweep.
struct Band<'a> {
    sweep: &'a Sweep,
    first: usize,
    rows: usize,
}

/// The sums of `C` channels over a band; returns `C`.
///
/// # Safety
/// AVX2 and FMA; all pixels of the band are readable, and the sums are writable.
#[target_feature(enable = "avx2,fma")]
unsafe fn channels<const C: usize>(
    band: &Band<'_>,
    input: *const f32,
    cotangent: *const f32,
    sums: *mut f32,
) -> usize {
    let Sweep { size: [_, columns], input: from, output: to, .. } = band.sweep;
    // SAFETY: as the caller says.
    unsafe {
        // Sums stay in registers for all pixels of the band.
        let mut found = [[_mm256_setzero_ps(); 2]; C];
        for y in band.first..band.first + band.rows {
            let (mut input, mut cotangent) = (input.add(from.at(y, 0)), cotangent.add(to.at(y, 0)));
            for _ in 0..*columns {
                let row = [_mm256_loadu_ps(cotangent), _mm256_loadu_ps(cotangent.add(8))];
                for (c, found) in found.iter_mut().enumerate() {
                    let value = _mm256_broadcast_ss(&*input.add(c));
                    found[0] = _mm256_fmadd_ps(value, row[0], found[0]);
                    found[1] = _mm256_fmadd_ps(value, row[1], found[1]);
                }
                // One step behind the last pixel is never read.
                input = input.wrapping_add(from.column);
                cotangent = cotangent.wrapping_add(to.column);
            }
        }
        for (c, found) in found.iter().enumerate() {
            let sums = sums.add(c * LANES);
            let one = _mm256_add_ps(_mm256_loadu_ps(sums), found[0]);
            let two = _mm256_add_ps(_mm256_loadu_ps(sums.add(8)), found[1]);
            store(sums, [one, two]);
        }
    }
    C
}

/// # Safety
/// AVX, and sixteen writable elements.
#[target_feature(enable = "avx2,fma")]
unsafe fn store(to: *mut f32, [one, two]: [__m256; 2]) {
    // SAFETY: as the caller says.
    unsafe {
        _mm256_storeu_ps(to, one);
        _mm256_storeu_ps(to.add(8), two);
    }
}
