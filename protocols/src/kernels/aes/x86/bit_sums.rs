//! Sums of hashed leaves: see [`crate::kernels::bit_sums`].

use std::arch::x86_64::*;

use super::{Schedule, broadcast, encrypt, encrypt_wide, load, load_quad, store, store_quad};
use crate::bits::Word;
use crate::kernels::Quad;
use crate::kernels::bit_sums::{Expansion, MAX_DEPTH};

/// Four trees to a register.
#[target_feature(enable = "vaes,avx512f,avx512bw")]
pub(in crate::kernels) fn wide<W: Word>(
    key: &Schedule,
    of: Expansion<'_>,
    sums: &mut [Quad],
    slots: &mut [Quad],
) {
    match of.depth {
        1 => wide_by::<W, 2>(key, of, sums, slots),
        2 => wide_by::<W, 4>(key, of, sums, slots),
        _ => wide_by::<W, 8>(key, of, sums, slots),
    }
}

/// `N` leaves of each tree at a time: the levels within them are added up in registers.
#[target_feature(enable = "vaes,avx512f,avx512bw")]
fn wide_by<W: Word, const N: usize>(
    key: &Schedule,
    of: Expansion<'_>,
    sums: &mut [Quad],
    slots: &mut [Quad],
) {
    let (keys, depth, low) = (broadcast(key), of.depth, N.trailing_zeros() as usize);
    // `slot` is the quad's number modulo the period.
    let (last, period) = (sums.len().wrapping_sub(1), slots.len() / depth);
    let mut slot = 0;
    for (at, (leaves, sum)) in of.leaves.chunks_exact(1 << depth).zip(sums).enumerate() {
        let mut bits = [_mm512_setzero_si512(); MAX_DEPTH];
        let mut total = _mm512_setzero_si512();
        // Groups of `N` leaves, which differ in the low bits of their numbers; `number` is the high
        // ones.
        for (number, leaves) in leaves.as_chunks::<N>().0.iter().enumerate() {
            let inputs: [__m512i; N] = std::array::from_fn(|i| load_quad(&leaves[i]));
            let outputs = encrypt_wide(&keys, inputs);
            let mut nodes: [__m512i; N] =
                std::array::from_fn(|i| _mm512_xor_si512(inputs[i], outputs[i]));
            // A butterfly: before the turn of a level, `nodes` holds the sums of subtrees of
            // `2^level` leaves. The right ones of two have the level's bit set.
            for (level, bit) in bits[..low].iter_mut().enumerate() {
                for parent in 0..N >> (level + 1) {
                    let [left, right] = [nodes[2 * parent], nodes[2 * parent + 1]];
                    *bit = add_wide::<W>(*bit, right);
                    nodes[parent] = add_wide::<W>(left, right);
                }
            }
            // `nodes[0]` is now the sum of all leaves of the group, which share the high bits.
            total = add_wide::<W>(total, nodes[0]);
            // Which leaves these are is public.
            for (level, bit) in bits[low..depth].iter_mut().enumerate() {
                if number >> level & 1 == 1 {
                    *bit = add_wide::<W>(*bit, nodes[0]);
                }
            }
        }
        // Words of trees that only fill the last quad: nothing of them reaches a slot that another
        // quad shares.
        if at == last {
            total = _mm512_maskz_mov_epi64(of.tail(), total);
            bits.iter_mut().for_each(|bit| *bit = _mm512_maskz_mov_epi64(of.tail(), *bit));
        }
        let slots = slots[slot * depth..][..depth].iter_mut().zip(&bits);
        slot = if slot + 1 == period { 0 } else { slot + 1 };
        if let Some(punctures) = of.punctures {
            // `b (c + S) - v` for bit b of the puncture. With their place values, these of all
            // levels are `q (c + S) - V`.
            let value = add_wide::<W>(load_quad(sum), total);
            store_quad(sum, value);
            for ((slot, bit), &puncture) in slots.zip(&punctures[at * depth..][..depth]) {
                let term = subtract_wide::<W>(_mm512_maskz_mov_epi64(puncture, value), *bit);
                let joined = add_wide::<W>(load_quad(slot), term);
                store_quad(slot, joined);
            }
        } else {
            store_quad(sum, total);
            for (slot, bit) in slots {
                let joined = add_wide::<W>(load_quad(slot), *bit);
                store_quad(slot, joined);
            }
        }
    }
}

/// Four trees in four registers.
#[target_feature(enable = "aes")]
pub(in crate::kernels) fn narrow<W: Word>(
    key: &Schedule,
    of: Expansion<'_>,
    sums: &mut [Quad],
    slots: &mut [Quad],
) {
    let (depth, period) = (of.depth, slots.len() / of.depth);
    for (at, (leaves, sum)) in of.leaves.chunks_exact(1 << depth).zip(sums).enumerate() {
        let mut bits = [[_mm_setzero_si128(); 4]; MAX_DEPTH];
        let mut total = [_mm_setzero_si128(); 4];
        for (number, [left, right]) in leaves.as_chunks::<2>().0.iter().enumerate() {
            // Two leaves that differ in the lowest bit, each of four trees: the left one's blocks
            // first.
            let inputs: [__m128i; 8] =
                std::array::from_fn(|i| load(&if i < 4 { left } else { right }.0[i % 4]));
            let outputs = encrypt(key, inputs);
            let hashes: [__m128i; 8] =
                std::array::from_fn(|i| _mm_xor_si128(inputs[i], outputs[i]));
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
        let slots = &mut slots[at % period * depth..][..depth];
        for tree in 0..(of.trees - 4 * at).min(4) {
            let held =
                if of.punctures.is_some() { load(&sum.0[tree]) } else { _mm_setzero_si128() };
            let value = add::<W>(held, total[tree]);
            store(&mut sum.0[tree], value);
            for (level, (slot, bits)) in slots.iter_mut().zip(&bits).enumerate() {
                let term = match of.punctures {
                    None => bits[tree],
                    Some(punctures) => {
                        // The negative of a bit is a mask, so the puncture selects no branch.
                        let bit = i64::from(punctures[at * depth + level] >> (2 * tree) & 1);
                        subtract::<W>(_mm_and_si128(value, _mm_set1_epi64x(-bit)), bits[tree])
                    }
                };
                let joined = add::<W>(load(&slot.0[tree]), term);
                store(&mut slot.0[tree], joined);
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
