//! The kernels in AVX-512: sixteen channels are one register.

use std::arch::x86_64::{
    _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

use super::{Band, LANES, Row, Sweep};

/// The sums of one row.
///
/// # Safety
/// AVX-512; all that the taps say is readable from the row's first pixel on, and the pixels of the
/// output are writable.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn row(row: &Row<'_>, mut input: *const f32, mut output: *mut f32) {
    let mut left = row.columns;
    while left > 0 {
        // SAFETY: as the caller says; no more pixels than are left.
        let done = unsafe {
            match left {
                8.. => pixels::<8>(row, input, output),
                4.. => pixels::<4>(row, input, output),
                2.. => pixels::<2>(row, input, output),
                _ => pixels::<1>(row, input, output),
            }
        };
        left -= done;
        // One step behind the last pixel is never read.
        input = input.wrapping_add(done * row.strides[0]);
        output = output.wrapping_add(done * row.strides[1]);
    }
}

/// Sixteen channels of `P` pixels; returns `P`.
///
/// # Safety
/// As [`row`], of the pixels.
#[target_feature(enable = "avx512f")]
unsafe fn pixels<const P: usize>(row: &Row<'_>, input: *const f32, output: *mut f32) -> usize {
    let [column_in, column_out] = row.strides;
    // SAFETY: as the caller says.
    unsafe {
        // One register a pixel, eight at the most: each product takes its value from memory.
        let mut sums = [_mm512_setzero_ps(); P];
        for (p, sum) in sums.iter_mut().enumerate() {
            let output = output.add(p * column_out).cast_const();
            *sum = _mm512_loadu_ps(if row.bias.is_null() { output } else { row.bias });
        }
        for tap in row.taps {
            let (mut weights, mut input) = (row.weights.add(tap.weights), input.add(tap.input));
            for _ in 0..tap.channels {
                // One channel of the input meets all sixteen of the output.
                let outputs = _mm512_loadu_ps(weights);
                for (p, sum) in sums.iter_mut().enumerate() {
                    let value = _mm512_set1_ps(*input.add(p * column_in));
                    *sum = _mm512_fmadd_ps(value, outputs, *sum);
                }
                weights = weights.add(LANES);
                input = input.add(1);
            }
        }
        for (p, sum) in sums.iter().enumerate() {
            _mm512_storeu_ps(output.add(p * column_out), *sum);
        }
    }
    P
}

/// The sums of one tap over a band.
///
/// # Safety
/// AVX-512; the channels of all pixels of the band are readable, and the sums are writable.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn tap(
    band: &Band<'_>,
    count: usize,
    input: *const f32,
    cotangent: *const f32,
    sums: *mut f32,
) {
    let mut done = 0;
    while done < count {
        // SAFETY: as the caller says; no more channels than are left.
        done += unsafe {
            let (input, sums) = (input.add(done), sums.add(done * LANES));
            match count - done {
                16.. => channels::<16>(band, input, cotangent, sums),
                8.. => channels::<8>(band, input, cotangent, sums),
                4.. => channels::<4>(band, input, cotangent, sums),
                2.. => channels::<2>(band, input, cotangent, sums),
                _ => channels::<1>(band, input, cotangent, sums),
            }
        };
    }
}

/// The sums of `C` channels over a band; returns `C`.
///
/// # Safety
/// As [`tap`], of the channels.
#[target_feature(enable = "avx512f")]
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
        let mut found = [_mm512_setzero_ps(); C];
        for y in band.first..band.first + band.rows {
            let (mut input, mut cotangent) = (input.add(from.at(y, 0)), cotangent.add(to.at(y, 0)));
            for _ in 0..*columns {
                let outputs = _mm512_loadu_ps(cotangent);
                for (c, found) in found.iter_mut().enumerate() {
                    let value = _mm512_set1_ps(*input.add(c));
                    *found = _mm512_fmadd_ps(value, outputs, *found);
                }
                // One step behind the last pixel is never read.
                input = input.wrapping_add(from.column);
                cotangent = cotangent.wrapping_add(to.column);
            }
        }
        for (c, found) in found.iter().enumerate() {
            let sums = sums.add(c * LANES);
            _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_loadu_ps(sums), *found));
        }
    }
    C
}
