//! AES by VAES on registers of 256 bits, two blocks to a register: where there are no registers of
//! 512 bits.

use std::arch::x86_64::*;

use super::{Schedule, load};
use crate::Block;
use crate::kernels::{ROW_BLOCKS, Row};

/// Blocks that are encrypted side by side, and their registers.
const GROUP: usize = 16;
const REGISTERS: usize = GROUP / 2;

/// Whether the processor has AES instructions on registers of 256 bits.
pub(crate) fn has_middle() -> bool {
    is_x86_feature_detected!("vaes") && is_x86_feature_detected!("avx2")
}

/// The hash, 16 blocks side by side.
#[target_feature(enable = "vaes,avx2")]
pub(crate) fn hash(schedule: &Schedule, blocks: &mut [Block]) {
    let (groups, rest) = blocks.as_chunks_mut::<GROUP>();
    for group in groups {
        hash_group(schedule, group);
    }
    if !rest.is_empty() && rest.len() <= 4 {
        return super::hash_narrow(schedule, rest);
    }
    if !rest.is_empty() {
        let mut group = [Block::ZERO; GROUP];
        group[..rest.len()].copy_from_slice(rest);
        hash_group(schedule, &mut group);
        rest.copy_from_slice(&group[..rest.len()]);
    }
}

#[inline]
#[target_feature(enable = "vaes,avx2")]
fn hash_group(schedule: &Schedule, group: &mut [Block; GROUP]) {
    let inputs = load_group(group).map(|blocks| sigma(blocks));
    let outputs = encrypt(schedule, inputs);
    store_group(group, std::array::from_fn(|i| _mm256_xor_si256(inputs[i], outputs[i])));
}

/// A row of the stream in counter mode.
#[target_feature(enable = "vaes,avx2")]
pub(crate) fn row(schedule: &Schedule, row: u64, blocks: &mut Row) {
    let start = (row * ROW_BLOCKS as u64) as i64;
    for (number, group) in blocks.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let at = start + (number * GROUP) as i64;
        let counters = std::array::from_fn(|i| {
            let at = at + 2 * i as i64;
            _mm256_set_epi64x(0, at + 1, 0, at)
        });
        store_group(group, encrypt(schedule, counters));
    }
}

/// One level of a half-tree, see [`crate::kernels::Key::split`]: whole groups of nodes.
#[target_feature(enable = "vaes,avx2")]
pub(in crate::kernels) fn split(
    schedule: &Schedule,
    low: &mut [Block],
    high: &mut [Block],
    at: u32,
    patch: Block,
) -> Block {
    let patch = _mm256_broadcastsi128_si256(load(&patch));
    let at = _mm256_set1_epi64x(i64::from(at));
    let mut index = _mm256_set_epi64x(1, 1, 0, 0);
    let mut sum = _mm256_setzero_si256();
    let groups = low.as_chunks_mut::<GROUP>().0.iter_mut().zip(high.as_chunks_mut::<GROUP>().0);
    for (low, high) in groups {
        let mut nodes = load_group(low);
        for node in &mut nodes {
            let patch = _mm256_and_si256(_mm256_cmpeq_epi64(index, at), patch);
            *node = _mm256_xor_si256(*node, patch);
            index = _mm256_add_epi64(index, _mm256_set1_epi64x(2));
        }
        let inputs = nodes.map(|node| sigma(node));
        let outputs = encrypt(schedule, inputs);
        let left: [__m256i; REGISTERS] =
            std::array::from_fn(|i| _mm256_xor_si256(inputs[i], outputs[i]));
        store_group(low, left);
        store_group(high, std::array::from_fn(|i| _mm256_xor_si256(nodes[i], left[i])));
        sum = left.iter().fold(sum, |sum, left| _mm256_xor_si256(sum, *left));
    }
    let mut sums = [Block::ZERO; 2];
    // SAFETY: two blocks have 32 bytes.
    unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), sum) };
    sums[0] ^ sums[1]
}

#[inline]
#[target_feature(enable = "avx2")]
fn sigma(blocks: __m256i) -> __m256i {
    let high = _mm256_set_epi64x(-1, 0, -1, 0);
    _mm256_xor_si256(_mm256_shuffle_epi32::<0x4E>(blocks), _mm256_and_si256(blocks, high))
}

#[inline]
#[target_feature(enable = "vaes,avx2")]
fn encrypt(schedule: &Schedule, mut states: [__m256i; REGISTERS]) -> [__m256i; REGISTERS] {
    let [first, rounds @ .., last] = &schedule.0;
    let first = _mm256_broadcastsi128_si256(load(first));
    for state in &mut states {
        *state = _mm256_xor_si256(*state, first);
    }
    for key in rounds {
        let key = _mm256_broadcastsi128_si256(load(key));
        for state in &mut states {
            *state = _mm256_aesenc_epi128(*state, key);
        }
    }
    let last = _mm256_broadcastsi128_si256(load(last));
    for state in &mut states {
        *state = _mm256_aesenclast_epi128(*state, last);
    }
    states
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_group(group: &[Block; GROUP]) -> [__m256i; REGISTERS] {
    // SAFETY: a group has as many blocks as its registers have.
    std::array::from_fn(|i| unsafe { _mm256_loadu_si256(group.as_ptr().add(2 * i).cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_group(group: &mut [Block; GROUP], values: [__m256i; REGISTERS]) {
    for (blocks, value) in group.as_chunks_mut::<2>().0.iter_mut().zip(values) {
        // SAFETY: two blocks have 32 bytes.
        unsafe { _mm256_storeu_si256(blocks.as_mut_ptr().cast(), value) };
    }
}
