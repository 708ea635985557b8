//! The kernels in AVX2 with fused multiplication and addition.

use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_setzero_ps, _mm256_storeu_ps,
};

use super::{Band, LANES, Row, Sweep};

/// The sums of one row.
///
/// # Safety
/// AVX2 and FMA; all that the taps say is readable from the row's first pixel on, and the pixels of
/// the output are writable.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn row(row: &Row<'_>, mut input: *const f32, mut output: *mut f32) {
    let mut left = row.columns;
    while left > 0 {
        // SAFETY: as the caller says; no more pixels than are left.
        let done = unsafe {
            match tile(left) {
                6 => pixels::<6>(row, input, output),
                4 => pixels::<4>(row, input, output),
                3 => pixels::<3>(row, input, output),
                2 => pixels::<2>(row, input, output),
                _ => pixels::<1>(row, input, output),
            }
        };
        left -= done;
        // One step behind the last pixel is never read.
        input = input.wrapping_add(done * row.strides[0]);
        output = output.wrapping_add(done * row.strides[1]);
    }
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
/// As [`row`], of the pixels.
#[target_feature(enable = "avx2,fma")]
unsafe fn pixels<const P: usize>(row: &Row<'_>, input: *const f32, output: *mut f32) -> usize {
    let [column_in, column_out] = row.strides;
    // SAFETY: as the caller says.
    unsafe {
        // Two registers a pixel: twelve of sixteen for six pixels, three for what is multiplied.
        let mut sums = [[_mm256_setzero_ps(); 2]; P];
        for (p, sums) in sums.iter_mut().enumerate() {
            let output = output.add(p * column_out).cast_const();
            let from = if row.bias.is_null() { output } else { row.bias };
            *sums = [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))];
        }
        for tap in row.taps {
            let (mut weights, mut input) = (row.weights.add(tap.weights), input.add(tap.input));
            for _ in 0..tap.channels {
                // One channel of the input meets all sixteen of the output.
                let outputs = [_mm256_loadu_ps(weights), _mm256_loadu_ps(weights.add(8))];
                for (p, sums) in sums.iter_mut().enumerate() {
                    let value = _mm256_broadcast_ss(&*input.add(p * column_in));
                    sums[0] = _mm256_fmadd_ps(value, outputs[0], sums[0]);
                    sums[1] = _mm256_fmadd_ps(value, outputs[1], sums[1]);
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

/// The sums of one tap over a band.
///
/// # Safety
/// AVX2 and FMA; the channels of all pixels of the band are readable, and the sums are writable.
#[target_feature(enable = "avx2,fma")]
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
            // 16 channels are 6 6 4, and 8 are 4 4.
            match count - done {
                6.. if count - done != 8 => channels::<6>(band, input, cotangent, sums),
                4.. => channels::<4>(band, input, cotangent, sums),
                3 => channels::<3>(band, input, cotangent, sums),
                2 => channels::<2>(band, input, cotangent, sums),
                _ => channels::<1>(band, input, cotangent, sums),
            }
        };
    }
}

/// The sums of `C` channels over a band; returns `C`.
///
/// # Safety
/// As [`tap`], of the channels.
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
                let outputs = [_mm256_loadu_ps(cotangent), _mm256_loadu_ps(cotangent.add(8))];
                for (c, found) in found.iter_mut().enumerate() {
                    let value = _mm256_broadcast_ss(&*input.add(c));
                    found[0] = _mm256_fmadd_ps(value, outputs[0], found[0]);
                    found[1] = _mm256_fmadd_ps(value, outputs[1], found[1]);
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
