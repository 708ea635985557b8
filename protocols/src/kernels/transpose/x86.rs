//! Transposition on registers of 256 and of 512 bits.
//!
//! Both do the same in every lane of 128 bits:
//! 1. Interleave the bytes of eight rows, so that every word of 64 bits holds a square: the eight
//!    rows' bits of eight columns.
//! 2. Transpose every square within its word: its byte `j` is now column `j`.
//! 3. Interleave the bytes of the squares of the same columns in all 16 groups of rows: every lane
//!    is now a column.

use std::arch::x86_64::*;

use crate::Block;
use crate::kernels::Row;

/// Whether the processor has registers of 256 bits.
pub(super) fn has_narrow() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Whether the processor has registers of 512 bits, and transposes squares by a matrix product.
pub(super) fn has_wide() -> bool {
    is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("gfni")
}

/// One kernel: the steps above for a register of `$lanes` lanes.
macro_rules! transposition {
    (
        $(#[$doc:meta])*
        $name:ident, $zero:ident, $interleave:ident, $features:literal, $register:ty,
        $lanes:literal, $load:ident, $store:ident, $squares:ident,
        [$lo8:ident, $hi8:ident, $lo16:ident, $hi16:ident,
        $lo32:ident, $hi32:ident, $lo64:ident, $hi64:ident]
    ) => {
        $(#[$doc])*
        #[target_feature(enable = $features)]
        pub(super) fn $name(rows: &[Row; 128], part: usize, output: &mut [Block; 128 * $lanes]) {
            // By the pair of byte columns that they hold, then by the group of rows, in two halves.
            // `squares[p][h][g]`: of rows `8 (8 h + g)` to `8 (8 h + g) + 7`, byte columns `2p` and
            // `2p + 1` of every lane.
            let mut squares = [[[$zero(); 8]; 2]; 8];
            for (group, rows) in rows.as_chunks::<8>().0.iter().enumerate() {
                let mut words = [$zero(); 8];
                // The last row first: the matrix product takes rows in this order.
                for (word, row) in words.iter_mut().zip(rows.iter().rev()) {
                    *word = $load(row, part);
                }
                for (pair, word) in $interleave(words).into_iter().enumerate() {
                    squares[pair][group / 8][group % 8] = $squares(word);
                }
            }
            for (pair, [first, second]) in squares.iter().enumerate() {
                // The same interleaving now joins a column's bytes: of rows 0 to 63 in `first`, of
                // rows 64 to 127 in `second`.
                let (first, second) = ($interleave(*first), $interleave(*second));
                for (at, (top, bottom)) in first.into_iter().zip(second).enumerate() {
                    let column = 16 * pair + 2 * at;
                    $store(output, column, $lo64(top, bottom));
                    $store(output, column + 1, $hi64(top, bottom));
                }
            }
        }

        /// Words whose byte `i` is a byte of input `i`: in every lane, output `p` holds those of
        /// bytes `2p` and `2p + 1`.
        #[inline]
        #[target_feature(enable = $features)]
        fn $interleave(rows: [$register; 8]) -> [$register; 8] {
            let [a, b, c, d, e, f, g, h] = rows;
            let low = [$lo8(a, b), $lo8(c, d), $lo8(e, f), $lo8(g, h)];
            let high = [$hi8(a, b), $hi8(c, d), $hi8(e, f), $hi8(g, h)];
            let mut words = [a; 8];
            for (half, [ab, cd, ef, gh]) in [low, high].into_iter().enumerate() {
                let quarters = [($lo16(ab, cd), $lo16(ef, gh)), ($hi16(ab, cd), $hi16(ef, gh))];
                for (quarter, (abcd, efgh)) in quarters.into_iter().enumerate() {
                    words[4 * half + 2 * quarter] = $lo32(abcd, efgh);
                    words[4 * half + 2 * quarter + 1] = $hi32(abcd, efgh);
                }
            }
            words
        }
    };
}

transposition!(
    /// Columns `256 part` to `256 part + 255`.
    narrow, _mm256_setzero_si256, interleave_narrow, "avx2", __m256i,
    2, load_narrow, store_narrow, squares_narrow,
    [_mm256_unpacklo_epi8, _mm256_unpackhi_epi8, _mm256_unpacklo_epi16, _mm256_unpackhi_epi16,
    _mm256_unpacklo_epi32, _mm256_unpackhi_epi32, _mm256_unpacklo_epi64, _mm256_unpackhi_epi64]
);

transposition!(
    /// Columns `512 part` to `512 part + 511`.
    wide, _mm512_setzero_si512, interleave_wide, "avx512f,avx512bw,gfni", __m512i,
    4, load_wide, store_wide, squares_wide,
    [_mm512_unpacklo_epi8, _mm512_unpackhi_epi8, _mm512_unpacklo_epi16, _mm512_unpackhi_epi16,
    _mm512_unpacklo_epi32, _mm512_unpackhi_epi32, _mm512_unpacklo_epi64, _mm512_unpackhi_epi64]
);

/// Squares whose rows come last one first, transposed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn squares_wide(words: __m512i) -> __m512i {
    // A matrix product with the unit vectors: byte j of the result is the matrix times the vector
    // of bit j alone, its column j. The instruction has row i in byte `7 - i`.
    let unit = _mm512_set1_epi64(0x8040_2010_0804_0201_u64 as i64);
    _mm512_gf2p8affine_epi64_epi8::<0>(unit, words)
}

/// Squares whose rows come last one first, transposed: bytes in the other order, then ever larger
/// off-diagonal quarters swapped.
#[inline]
#[target_feature(enable = "avx2")]
fn squares_narrow(words: __m256i) -> __m256i {
    let order = _mm256_set_epi64x(
        0x0809_0A0B_0C0D_0E0F,
        0x0001_0203_0405_0607,
        0x0809_0A0B_0C0D_0E0F,
        0x0001_0203_0405_0607,
    );
    let words = _mm256_shuffle_epi8(words, order);
    // Bit `8 r + c` is row r, column c: quarters of 1, 2 and 4 bits across are 7, 14 and 28 bits
    // apart (Hacker's Delight, 7-3).
    let words = swap::<7>(words, 0x00AA_00AA_00AA_00AA);
    let words = swap::<14>(words, 0x0000_CCCC_0000_CCCC);
    swap::<28>(words, 0x0000_0000_F0F0_F0F0)
}

#[inline]
#[target_feature(enable = "avx2")]
fn swap<const DISTANCE: i32>(words: __m256i, mask: i64) -> __m256i {
    // The exclusive or of both places, kept where the mask is, swaps them when it is added to both.
    let moved = _mm256_xor_si256(words, _mm256_srli_epi64::<DISTANCE>(words));
    let moved = _mm256_and_si256(moved, _mm256_set1_epi64x(mask));
    _mm256_xor_si256(words, _mm256_xor_si256(moved, _mm256_slli_epi64::<DISTANCE>(moved)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_narrow(row: &Row, part: usize) -> __m256i {
    let blocks: &[Block; 2] = &row.as_chunks().0[part];
    // SAFETY: two blocks have 32 bytes.
    unsafe { _mm256_loadu_si256(blocks.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_wide(row: &Row, part: usize) -> __m512i {
    let blocks: &[Block; 4] = &row.as_chunks().0[part];
    // SAFETY: four blocks have 64 bytes.
    unsafe { _mm512_loadu_si512(blocks.as_ptr().cast()) }
}

/// Stores every lane in the column of this number of its own 128 columns.
#[inline]
#[target_feature(enable = "avx2")]
fn store_narrow(output: &mut [Block; 256], column: usize, lanes: __m256i) {
    store(&mut output[column], _mm256_castsi256_si128(lanes));
    store(&mut output[column + 128], _mm256_extracti128_si256::<1>(lanes));
}

/// Stores every lane in the column of this number of its own 128 columns.
#[inline]
#[target_feature(enable = "avx512f")]
fn store_wide(output: &mut [Block; 512], column: usize, lanes: __m512i) {
    store(&mut output[column], _mm512_castsi512_si128(lanes));
    store(&mut output[column + 128], _mm512_extracti32x4_epi32::<1>(lanes));
    store(&mut output[column + 256], _mm512_extracti32x4_epi32::<2>(lanes));
    store(&mut output[column + 384], _mm512_extracti32x4_epi32::<3>(lanes));
}

#[inline]
fn store(block: &mut Block, lane: __m128i) {
    // SAFETY: a block has 16 bytes, and every x86_64 has the instruction.
    unsafe { _mm_storeu_si128(std::ptr::from_mut(block).cast(), lane) }
}
