//! One level of a half-tree by VAES with AVX-512: see [`crate::kernels::Key::split`].

use std::arch::x86_64::*;

use super::{Schedule, WIDE_ROW, broadcast, encrypt_wide, load, load_row, sigma_wide, store_row};
use crate::Block;
use crate::kernels::ROW_BLOCKS;

/// Whole rows of nodes.
#[target_feature(enable = "vaes,avx512f")]
pub(in crate::kernels) fn wide(
    schedule: &Schedule,
    low: &mut [Block],
    high: &mut [Block],
    at: u32,
    patch: Block,
) -> Block {
    let keys = broadcast(schedule);
    let patch = _mm512_broadcast_i32x4(load(&patch));
    let at = _mm512_set1_epi64(i64::from(at));
    // Each block's number, in both of its words: every node is compared with `at`, and none is an
    // index.
    let mut index = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
    let mut sum = _mm512_setzero_si512();
    let rows =
        low.as_chunks_mut::<ROW_BLOCKS>().0.iter_mut().zip(high.as_chunks_mut::<ROW_BLOCKS>().0);
    for (low, high) in rows {
        let mut nodes = load_row(low);
        for node in &mut nodes {
            *node = _mm512_mask_xor_epi64(*node, _mm512_cmpeq_epi64_mask(index, at), *node, patch);
            index = _mm512_add_epi64(index, _mm512_set1_epi64(4));
        }
        let inputs = nodes.map(|node| sigma_wide(node));
        let outputs = encrypt_wide(&keys, inputs);
        let left: [__m512i; WIDE_ROW] =
            std::array::from_fn(|i| _mm512_xor_si512(inputs[i], outputs[i]));
        store_row(low, left);
        store_row(high, std::array::from_fn(|i| _mm512_xor_si512(nodes[i], left[i])));
        sum = left.iter().fold(sum, |sum, left| _mm512_xor_si512(sum, *left));
    }
    let mut sums = [Block::ZERO; 4];
    // SAFETY: four blocks have 64 bytes.
    unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), sum) };
    sums.into_iter().fold(Block::ZERO, |sum, part| sum ^ part)
}
