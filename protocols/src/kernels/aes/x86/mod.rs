//! AES by AES-NI, one block to a register, and by VAES, two blocks to a register or, with AVX-512,
//! four.

pub(in crate::kernels) mod bit_sums;
pub(in crate::kernels) mod middle;
pub(in crate::kernels) mod split;
pub(in crate::kernels) mod sum;

use std::arch::x86_64::*;

pub(super) use middle::has_middle;
use zeroize::Zeroize;

use crate::Block;
use crate::kernels::{Quad, ROW_BLOCKS, Row};

/// Registers of a row.
const WIDE_ROW: usize = ROW_BLOCKS / 4;

/// The round keys.
#[derive(Clone)]
pub(crate) struct Schedule([Block; 11]);

impl Drop for Schedule {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Whether the processor has AES instructions.
pub(crate) fn has_narrow() -> bool {
    is_x86_feature_detected!("aes")
}

/// Whether the processor has AES instructions on registers of 512 bits, and arithmetic on words of
/// 16 in them.
pub(crate) fn has_wide() -> bool {
    is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
}

/// The key schedule (FIPS 197, section 5.2).
#[target_feature(enable = "aes")]
pub(crate) fn expand(key: Block) -> Schedule {
    let mut keys = [key; 11];
    keys[1] = next_round_key::<0x01>(keys[0]);
    keys[2] = next_round_key::<0x02>(keys[1]);
    keys[3] = next_round_key::<0x04>(keys[2]);
    keys[4] = next_round_key::<0x08>(keys[3]);
    keys[5] = next_round_key::<0x10>(keys[4]);
    keys[6] = next_round_key::<0x20>(keys[5]);
    keys[7] = next_round_key::<0x40>(keys[6]);
    keys[8] = next_round_key::<0x80>(keys[7]);
    keys[9] = next_round_key::<0x1B>(keys[8]);
    keys[10] = next_round_key::<0x36>(keys[9]);
    Schedule(keys)
}

#[target_feature(enable = "aes")]
fn next_round_key<const RCON: i32>(previous: Block) -> Block {
    let previous = load(&previous);
    let word = _mm_shuffle_epi32::<0xFF>(_mm_aeskeygenassist_si128::<RCON>(previous));
    // Each word of the new key takes in all words before it: shifts by one word, then by two, add
    // up all four.
    let key = _mm_xor_si128(previous, _mm_slli_si128::<4>(previous));
    let key = _mm_xor_si128(key, _mm_slli_si128::<8>(key));
    let mut next = Block::ZERO;
    store(&mut next, _mm_xor_si128(key, word));
    next
}

/// The hash, eight blocks side by side.
#[target_feature(enable = "aes")]
pub(crate) fn hash_narrow(schedule: &Schedule, blocks: &mut [Block]) {
    let (groups, rest) = blocks.as_chunks_mut::<8>();
    for group in groups {
        hash_group(schedule, group);
    }
    for block in rest.as_chunks_mut::<1>().0 {
        hash_group(schedule, block);
    }
}

#[inline]
#[target_feature(enable = "aes")]
fn hash_group<const N: usize>(schedule: &Schedule, blocks: &mut [Block; N]) {
    // `σ`: the halves swapped, and the old high half once more in the high one.
    let high = _mm_set_epi64x(-1, 0);
    let inputs: [__m128i; N] = std::array::from_fn(|i| {
        let block = load(&blocks[i]);
        _mm_xor_si128(_mm_shuffle_epi32::<0x4E>(block), _mm_and_si128(block, high))
    });
    let outputs = encrypt(schedule, inputs);
    for ((block, input), output) in blocks.iter_mut().zip(inputs).zip(outputs) {
        store(block, _mm_xor_si128(input, output));
    }
}

/// A row of the stream in counter mode.
#[target_feature(enable = "aes")]
pub(crate) fn row_narrow(schedule: &Schedule, row: u64, blocks: &mut Row) {
    let start = row * ROW_BLOCKS as u64;
    for (group, blocks) in blocks.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let counters: [__m128i; 8] =
            std::array::from_fn(|i| _mm_set_epi64x(0, (start + (8 * group + i) as u64) as i64));
        for (block, output) in blocks.iter_mut().zip(encrypt(schedule, counters)) {
            store(block, output);
        }
    }
}

/// A row of the stream in counter mode, four blocks at a time.
#[target_feature(enable = "vaes,avx512f")]
pub(crate) fn row_wide(schedule: &Schedule, row: u64, blocks: &mut Row) {
    store_row(blocks, encrypt_wide(&broadcast(schedule), counters(row)));
}

#[inline]
#[target_feature(enable = "avx512f")]
fn counters(row: u64) -> [__m512i; WIDE_ROW] {
    let start = (row * ROW_BLOCKS as u64) as i64;
    std::array::from_fn(|i| {
        let at = start + 4 * i as i64;
        _mm512_set_epi64(0, at + 3, 0, at + 2, 0, at + 1, 0, at)
    })
}

#[inline]
#[target_feature(enable = "aes")]
fn encrypt<const N: usize>(schedule: &Schedule, mut states: [__m128i; N]) -> [__m128i; N] {
    let [first, rounds @ .., last] = &schedule.0;
    for state in &mut states {
        *state = _mm_xor_si128(*state, load(first));
    }
    for key in rounds {
        for state in &mut states {
            *state = _mm_aesenc_si128(*state, load(key));
        }
    }
    for state in &mut states {
        *state = _mm_aesenclast_si128(*state, load(last));
    }
    states
}

/// The hash, 32 blocks side by side.
#[target_feature(enable = "vaes,avx512f")]
pub(crate) fn hash_wide(schedule: &Schedule, blocks: &mut [Block]) {
    let keys = broadcast(schedule);
    let (groups, rest) = blocks.as_chunks_mut::<ROW_BLOCKS>();
    for group in groups {
        let inputs = load_row(group).map(|block| sigma_wide(block));
        let outputs = encrypt_wide(&keys, inputs);
        store_row(group, std::array::from_fn(|i| _mm512_xor_si512(inputs[i], outputs[i])));
    }
    for blocks in rest.chunks_mut(4) {
        let mask = ((1u16 << (2 * blocks.len())) - 1) as __mmask8;
        // SAFETY: the mask admits as many bytes as there are.
        let block = unsafe { _mm512_maskz_loadu_epi64(mask, blocks.as_ptr().cast()) };
        let input = sigma_wide(block);
        let [output] = encrypt_wide(&keys, [input]);
        let hash = _mm512_xor_si512(input, output);
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_epi64(blocks.as_mut_ptr().cast(), mask, hash) };
    }
}

#[inline]
#[target_feature(enable = "vaes,avx512f")]
fn sigma_wide(block: __m512i) -> __m512i {
    let high = _mm512_set_epi64(-1, 0, -1, 0, -1, 0, -1, 0);
    // swapped xor (block and high)
    _mm512_ternarylogic_epi64::<0x78>(_mm512_shuffle_epi32::<0x4E>(block), block, high)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(schedule: &Schedule) -> [__m512i; 11] {
    std::array::from_fn(|i| _mm512_broadcast_i32x4(load(&schedule.0[i])))
}

#[inline]
#[target_feature(enable = "vaes,avx512f")]
fn encrypt_wide<const N: usize>(keys: &[__m512i; 11], mut states: [__m512i; N]) -> [__m512i; N] {
    let [first, rounds @ .., last] = keys;
    for state in &mut states {
        *state = _mm512_xor_si512(*state, *first);
    }
    for key in rounds {
        for state in &mut states {
            *state = _mm512_aesenc_epi128(*state, *key);
        }
    }
    for state in &mut states {
        *state = _mm512_aesenclast_epi128(*state, *last);
    }
    states
}

#[inline]
fn load(block: &Block) -> __m128i {
    // SAFETY: a block has 16 bytes, and every x86_64 has the instruction.
    unsafe { _mm_loadu_si128(std::ptr::from_ref(block).cast()) }
}

#[inline]
fn store(block: &mut Block, value: __m128i) {
    // SAFETY: a block has 16 bytes, and every x86_64 has the instruction.
    unsafe { _mm_storeu_si128(std::ptr::from_mut(block).cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_row(row: &Row) -> [__m512i; WIDE_ROW] {
    // SAFETY: a row has as many blocks as its registers have.
    std::array::from_fn(|i| unsafe { _mm512_loadu_si512(row.as_ptr().add(4 * i).cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_row(row: &mut Row, values: [__m512i; WIDE_ROW]) {
    for (blocks, value) in row.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        // SAFETY: four blocks have 64 bytes.
        unsafe { _mm512_storeu_si512(blocks.as_mut_ptr().cast(), value) };
    }
}

/// See [`crate::kernels::Key::grow`].
#[target_feature(enable = "vaes,avx512f")]
pub(crate) fn grow_wide(schedule: &Schedule, nodes: &[Quad], children: &mut [Quad]) {
    let keys = broadcast(schedule);
    let (groups, rest) = nodes.as_chunks::<8>();
    let (for_groups, for_rest) = children.split_at_mut(16 * groups.len());
    for (nodes, children) in groups.iter().zip(for_groups.as_chunks_mut::<16>().0) {
        grow_group(&keys, nodes, children);
    }
    for (node, children) in rest.as_chunks::<1>().0.iter().zip(for_rest.as_chunks_mut::<2>().0) {
        grow_group(&keys, node, children);
    }
}

#[inline]
#[target_feature(enable = "vaes,avx512f")]
fn grow_group<const N: usize>(keys: &[__m512i; 11], nodes: &[Quad; N], children: &mut [Quad]) {
    let inputs: [__m512i; N] = std::array::from_fn(|i| sigma_wide(load_quad(&nodes[i])));
    let outputs = encrypt_wide(keys, inputs);
    for (i, [left, right]) in children.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let hash = _mm512_xor_si512(inputs[i], outputs[i]);
        store_quad(left, hash);
        store_quad(right, _mm512_xor_si512(hash, load_quad(&nodes[i])));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_quad(quad: &Quad) -> __m512i {
    // SAFETY: a quad has 64 bytes.
    unsafe { _mm512_loadu_si512(std::ptr::from_ref(quad).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_quad(quad: &mut Quad, value: __m512i) {
    // SAFETY: a quad has 64 bytes.
    unsafe { _mm512_storeu_si512(std::ptr::from_mut(quad).cast(), value) };
}
