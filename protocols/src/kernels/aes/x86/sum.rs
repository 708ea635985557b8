//! Sums of the streams of a tree's leaves by VAES with AVX-512: see
//! [`crate::kernels::Streams::sum`].
//!
//! Four leaves at a time are added up in registers, so that the two lowest levels, in which most
//! additions are, cost one load and one store each for all four.

use std::arch::x86_64::*;

use super::{WIDE_ROW, broadcast, counters, encrypt_wide, load_row, store_row};
use crate::kernels::{Key, Row};

type Registers = [__m512i; WIDE_ROW];

/// The sums of `2^d` leaves, `d` being the number of planes, whose contents are replaced; that of
/// all is in `partial[d]`. All keys are wide, and leaves below `first` count as zero.
#[target_feature(enable = "vaes,avx512f")]
pub(in crate::kernels) fn wide(
    leaves: &[Key],
    first: usize,
    row: u64,
    planes: &mut [Row],
    partial: &mut [Row],
) {
    let counters = counters(row);
    if let [plane] = planes {
        let odd = stream(&leaves[1], 1, first, &counters);
        store_row(plane, odd);
        store_row(&mut partial[1], add(stream(&leaves[0], 0, first, &counters), odd));
        return;
    }
    let [plane_0, plane_1, planes @ ..] = planes else { return };
    // As the portable carry, with four leaves as one digit: `partial[2 + i]` is the left subtree of
    // `4 2^i` leaves that waits.
    for (at, [a, b, c, d]) in leaves.as_chunks::<4>().0.iter().enumerate() {
        let number = 4 * at;
        let odd = stream(b, number + 1, first, &counters);
        let left = add(stream(a, number, first, &counters), odd);
        let last = stream(d, number + 3, first, &counters);
        let low = add(odd, last);
        let high = add(stream(c, number + 2, first, &counters), last);
        let mut sum = add(left, high);
        put(plane_0, low, at == 0);
        put(plane_1, high, at == 0);
        let level = at.trailing_ones() as usize;
        for (i, (plane, left)) in planes.iter_mut().zip(&partial[2..]).take(level).enumerate() {
            put(plane, sum, at + 1 == 2 << i);
            sum = add(load_row(left), sum);
        }
        store_row(&mut partial[2 + level], sum);
    }
}

#[inline]
#[target_feature(enable = "vaes,avx512f")]
fn stream(leaf: &Key, number: usize, first: usize, counters: &Registers) -> Registers {
    if number < first {
        return [_mm512_setzero_si512(); WIDE_ROW];
    }
    let Key::Wide(schedule) = leaf else {
        unreachable!("invariant: the keys of a tree are of one kind")
    };
    encrypt_wide(&broadcast(schedule), *counters)
}

/// Adds to a plane, or sets it.
#[inline]
#[target_feature(enable = "avx512f")]
fn put(plane: &mut Row, sum: Registers, set: bool) {
    let sum = if set { sum } else { add(load_row(plane), sum) };
    store_row(plane, sum);
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: Registers, b: Registers) -> Registers {
    std::array::from_fn(|i| _mm512_xor_si512(a[i], b[i]))
}
