//! Digit-weighted sums of hashed leaves: see [`crate::kernels::digits`].

use std::arch::x86_64::*;

use super::{Schedule, broadcast, encrypt, encrypt_wide, load, load_quad, store, store_quad};
use crate::kernels::Quad;
use crate::kernels::digits::{Digits, MAX_DEPTH};
use crate::linear::Word;

/// Four trees to a register.
#[target_feature(enable = "vaes,avx512f,avx512bw")]
pub(in crate::kernels) fn wide<W: Word>(
    key: &Schedule,
    digits: Digits,
    leaves: &[Quad],
    sums: &mut [Quad],
    weighted: &mut [Quad],
) {
    match digits.depth() {
        1 => wide_by::<W, 2>(key, digits, leaves, sums, weighted),
        2 => wide_by::<W, 4>(key, digits, leaves, sums, weighted),
        _ => wide_by::<W, 8>(key, digits, leaves, sums, weighted),
    }
}

/// `N` leaves of each tree at a time: the levels within them are added up in registers.
#[target_feature(enable = "vaes,avx512f,avx512bw")]
fn wide_by<W: Word, const N: usize>(
    key: &Schedule,
    digits: Digits,
    leaves: &[Quad],
    sums: &mut [Quad],
    weighted: &mut [Quad],
) {
    let (keys, depth, low) = (broadcast(key), digits.depth(), N.trailing_zeros() as usize);
    let trees = leaves.chunks_exact(1 << depth).zip(sums);
    for ((leaves, sum), weighted) in trees.zip(weighted.chunks_exact_mut(digits.count)) {
        let mut bits = [_mm512_setzero_si512(); MAX_DEPTH];
        let mut total = _mm512_setzero_si512();
        for (number, leaves) in leaves.as_chunks::<N>().0.iter().enumerate() {
            let inputs: [__m512i; N] = std::array::from_fn(|i| load_quad(&leaves[i]));
            let outputs = encrypt_wide(&keys, inputs);
            let mut nodes: [__m512i; N] = std::array::from_fn(|i| _mm512_xor_si512(inputs[i], outputs[i]));
            for (level, bit) in bits[..low].iter_mut().enumerate() {
                for parent in 0..N >> (level + 1) {
                    let [left, right] = [nodes[2 * parent], nodes[2 * parent + 1]];
                    *bit = add_wide::<W>(*bit, right);
                    nodes[parent] = add_wide::<W>(left, right);
                }
            }
            total = add_wide::<W>(total, nodes[0]);
            // Which leaves these are is public.
            for (level, bit) in bits[low..depth].iter_mut().enumerate() {
                if number >> level & 1 == 1 {
                    *bit = add_wide::<W>(*bit, nodes[0]);
                }
            }
        }
        store_quad(sum, total);
        for (slot, bits) in weighted.iter_mut().zip(bits.chunks_exact(digits.width)) {
            let [lower @ .., top] = bits else { continue };
            let zero = _mm512_setzero_si512();
            let mut digit = if digits.signed { subtract_wide::<W>(zero, *top) } else { *top };
            for bit in lower.iter().rev() {
                digit = add_wide::<W>(add_wide::<W>(digit, digit), *bit);
            }
            store_quad(slot, digit);
        }
    }
}

/// Four trees in four registers.
#[target_feature(enable = "aes")]
pub(in crate::kernels) fn narrow<W: Word>(
    key: &Schedule,
    digits: Digits,
    leaves: &[Quad],
    sums: &mut [Quad],
    weighted: &mut [Quad],
) {
    let depth = digits.depth();
    let trees = leaves.chunks_exact(1 << depth).zip(sums);
    for ((leaves, sum), weighted) in trees.zip(weighted.chunks_exact_mut(digits.count)) {
        let mut bits = [[_mm_setzero_si128(); 4]; MAX_DEPTH];
        let mut total = [_mm_setzero_si128(); 4];
        for (number, [left, right]) in leaves.as_chunks::<2>().0.iter().enumerate() {
            let inputs: [__m128i; 8] =
                std::array::from_fn(|i| load(&if i < 4 { left } else { right }.0[i % 4]));
            let outputs = encrypt(key, inputs);
            let hashes: [__m128i; 8] = std::array::from_fn(|i| _mm_xor_si128(inputs[i], outputs[i]));
            for tree in 0..4 {
                bits[0][tree] = add::<W>(bits[0][tree], hashes[4 + tree]);
                let both = add::<W>(hashes[tree], hashes[4 + tree]);
                total[tree] = add::<W>(total[tree], both);
                for (level, bit) in bits[1..depth].iter_mut().enumerate() {
                    if number >> level & 1 == 1 {
                        bit[tree] = add::<W>(bit[tree], both);
                    }
                }
            }
        }
        for tree in 0..4 {
            store(&mut sum.0[tree], total[tree]);
            for (slot, bits) in weighted.iter_mut().zip(bits.chunks_exact(digits.width)) {
                let [lower @ .., top] = bits else { continue };
                let zero = _mm_setzero_si128();
                let mut digit = if digits.signed { subtract::<W>(zero, top[tree]) } else { top[tree] };
                for bit in lower.iter().rev() {
                    digit = add::<W>(add::<W>(digit, digit), bit[tree]);
                }
                store(&mut slot.0[tree], digit);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn add_wide<W: Word>(a: __m512i, b: __m512i) -> __m512i {
    match W::BITS {
        16 => _mm512_add_epi16(a, b),
        32 => _mm512_add_epi32(a, b),
        _ => _mm512_add_epi64(a, b),
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn subtract_wide<W: Word>(a: __m512i, b: __m512i) -> __m512i {
    match W::BITS {
        16 => _mm512_sub_epi16(a, b),
        32 => _mm512_sub_epi32(a, b),
        _ => _mm512_sub_epi64(a, b),
    }
}

#[target_feature(enable = "sse2")]
fn add<W: Word>(a: __m128i, b: __m128i) -> __m128i {
    match W::BITS {
        16 => _mm_add_epi16(a, b),
        32 => _mm_add_epi32(a, b),
        _ => _mm_add_epi64(a, b),
    }
}

#[target_feature(enable = "sse2")]
fn subtract<W: Word>(a: __m128i, b: __m128i) -> __m128i {
    match W::BITS {
        16 => _mm_sub_epi16(a, b),
        32 => _mm_sub_epi32(a, b),
        _ => _mm_sub_epi64(a, b),
    }
}
