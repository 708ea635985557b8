//! Butterflies, eight at a time.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_blend_epi32, _mm256_loadu_si256, _mm256_min_epu32,
    _mm256_mul_epu32, _mm256_mullo_epi32, _mm256_permute2x128_si256, _mm256_set1_epi32,
    _mm256_set1_epi64x, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_storeu_si256,
    _mm256_sub_epi32, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
    _mm256_unpacklo_epi64,
};

use super::{Constant, Constants, DEGREE, PRIME, RECIPROCAL, Residues};

pub(super) fn has_wide() -> bool {
    is_x86_feature_detected!("avx2")
}

type Lanes = [u32; 8];

/// A factor and its quotient in every lane.
#[derive(Clone, Copy)]
struct Factors(__m256i, __m256i);

#[target_feature(enable = "avx2")]
fn load(lanes: &Lanes) -> __m256i {
    // SAFETY: eight words are 32 bytes.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn store(lanes: &mut Lanes, value: __m256i) {
    // SAFETY: as above.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), value) }
}

#[target_feature(enable = "avx2")]
fn all(value: u32) -> __m256i {
    _mm256_set1_epi32(value as i32)
}

#[target_feature(enable = "avx2")]
fn same(constant: Constant) -> Factors {
    Factors(all(constant.factor), all(constant.quotient))
}

#[target_feature(enable = "avx2")]
fn of_lanes([factors, quotients]: &[Lanes; 2]) -> Factors {
    Factors(load(factors), load(quotients))
}

/// The high words of products.
#[target_feature(enable = "avx2")]
fn high(a: __m256i, b: __m256i) -> __m256i {
    let even = _mm256_mul_epu32(a, b);
    let odd = _mm256_mul_epu32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
    _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<32>(even), odd)
}

/// The product modulo the prime, below twice the prime, whatever the value.
#[target_feature(enable = "avx2")]
fn times(value: __m256i, by: Factors) -> __m256i {
    let quotient = high(value, by.1);
    let product = _mm256_mullo_epi32(value, by.0);
    _mm256_sub_epi32(product, _mm256_mullo_epi32(quotient, all(PRIME)))
}

/// A value below twice another one, less that where it is not below it.
#[target_feature(enable = "avx2")]
fn below(value: __m256i, other: __m256i) -> __m256i {
    _mm256_min_epu32(value, _mm256_sub_epi32(value, other))
}

#[target_feature(enable = "avx2")]
fn apart(a: &mut __m256i, b: &mut __m256i, by: Factors) {
    let twice = all(2 * PRIME);
    let (sum, product) = (below(*a, twice), times(*b, by));
    *a = _mm256_add_epi32(sum, product);
    *b = _mm256_sub_epi32(_mm256_add_epi32(sum, twice), product);
}

#[target_feature(enable = "avx2")]
fn together(a: &mut __m256i, b: &mut __m256i, by: Factors) {
    let twice = all(2 * PRIME);
    let (x, y) = (*a, *b);
    *a = below(_mm256_add_epi32(x, y), twice);
    *b = times(_mm256_sub_epi32(_mm256_add_epi32(x, twice), y), by);
}

/// Where the three levels within eight residues have their constants, and their pairs.
const PAIRS: [[(usize, usize, usize); 4]; 3] = [
    [(0, 4, 0), (1, 5, 0), (2, 6, 0), (3, 7, 0)],
    [(0, 2, 1), (1, 3, 1), (4, 6, 2), (5, 7, 2)],
    [(0, 1, 3), (2, 3, 4), (4, 5, 5), (6, 7, 6)],
];

#[target_feature(enable = "avx2")]
pub(super) fn forward(constants: &Constants, values: &mut Residues) {
    let lanes = values.as_chunks_mut::<8>().0;
    let (mut half, mut blocks) = (DEGREE / 16, 1);
    while half > 0 {
        for (block, lanes) in lanes.chunks_exact_mut(2 * half).enumerate() {
            let by = same(constants.get(blocks + block));
            let (low, high) = lanes.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                let (mut a, mut b) = (load(low), load(high));
                apart(&mut a, &mut b, by);
                store(low, a);
                store(high, b);
            }
        }
        (half, blocks) = (half / 2, 2 * blocks);
    }
    let (once, twice) = (all(PRIME), all(2 * PRIME));
    for (square, constants) in lanes.as_chunks_mut::<8>().0.iter_mut().zip(&constants.last) {
        let mut rows = transposed(loaded(square));
        for level in PAIRS {
            for (a, b, constant) in level {
                let by = of_lanes(&constants[constant]);
                let (mut low, mut high) = (rows[a], rows[b]);
                apart(&mut low, &mut high, by);
                (rows[a], rows[b]) = (low, high);
            }
        }
        for (lanes, row) in square.iter_mut().zip(transposed(rows)) {
            store(lanes, below(below(row, twice), once));
        }
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn inverse(constants: &Constants, scale: Constant, values: &mut Residues) {
    let lanes = values.as_chunks_mut::<8>().0;
    for (square, constants) in lanes.as_chunks_mut::<8>().0.iter_mut().zip(&constants.last) {
        let mut rows = transposed(loaded(square));
        for level in PAIRS.into_iter().rev() {
            for (a, b, constant) in level {
                let by = of_lanes(&constants[constant]);
                let (mut low, mut high) = (rows[a], rows[b]);
                together(&mut low, &mut high, by);
                (rows[a], rows[b]) = (low, high);
            }
        }
        for (lanes, row) in square.iter_mut().zip(transposed(rows)) {
            store(lanes, row);
        }
    }
    let (mut half, mut blocks) = (1, DEGREE / 16);
    while blocks > 0 {
        for (block, lanes) in lanes.chunks_exact_mut(2 * half).enumerate() {
            let by = same(constants.get(blocks + block));
            let (low, high) = lanes.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                let (mut a, mut b) = (load(low), load(high));
                together(&mut a, &mut b, by);
                store(low, a);
                store(high, b);
            }
        }
        (half, blocks) = (2 * half, blocks / 2);
    }
    let (scale, once) = (same(scale), all(PRIME));
    for lanes in lanes {
        store(lanes, below(times(load(lanes), scale), once));
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn multiply(a: &Residues, b: &Residues, products: &mut Residues) {
    let factors = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let twice = all(2 * PRIME);
    for ((a, b), product) in factors.zip(products.as_chunks_mut::<8>().0) {
        let (a, b) = (load(a), load(b));
        let even = remainder(_mm256_mul_epu32(a, b));
        let odd = _mm256_mul_epu32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
        let odd = _mm256_slli_epi64::<32>(remainder(odd));
        store(product, below(_mm256_blend_epi32::<0b1010_1010>(even, odd), twice));
    }
}

/// The low words of products less almost all multiples of the prime, below four times it.
#[target_feature(enable = "avx2")]
fn remainder(product: __m256i) -> __m256i {
    let reciprocal = _mm256_set1_epi64x(RECIPROCAL as i64);
    let quotient = _mm256_mul_epu32(_mm256_srli_epi64::<29>(product), reciprocal);
    let multiple = _mm256_mul_epu32(_mm256_srli_epi64::<32>(quotient), all(PRIME));
    _mm256_sub_epi32(product, multiple)
}

#[target_feature(enable = "avx2")]
fn loaded(square: &[Lanes; 8]) -> [__m256i; 8] {
    let [a, b, c, d, e, f, g, h] = square;
    [load(a), load(b), load(c), load(d), load(e), load(f), load(g), load(h)]
}

/// Lane `i` of row `j` becomes lane `j` of row `i`.
#[target_feature(enable = "avx2")]
fn transposed([a, b, c, d, e, f, g, h]: [__m256i; 8]) -> [__m256i; 8] {
    let pairs = [
        [_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)],
        [_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d)],
        [_mm256_unpacklo_epi32(e, f), _mm256_unpackhi_epi32(e, f)],
        [_mm256_unpacklo_epi32(g, h), _mm256_unpackhi_epi32(g, h)],
    ];
    let [[ab, ba], [cd, dc], [ef, fe], [gh, hg]] = pairs;
    let low = [
        _mm256_unpacklo_epi64(ab, cd),
        _mm256_unpackhi_epi64(ab, cd),
        _mm256_unpacklo_epi64(ba, dc),
        _mm256_unpackhi_epi64(ba, dc),
    ];
    let high = [
        _mm256_unpacklo_epi64(ef, gh),
        _mm256_unpackhi_epi64(ef, gh),
        _mm256_unpacklo_epi64(fe, hg),
        _mm256_unpackhi_epi64(fe, hg),
    ];
    [
        _mm256_permute2x128_si256::<0x20>(low[0], high[0]),
        _mm256_permute2x128_si256::<0x20>(low[1], high[1]),
        _mm256_permute2x128_si256::<0x20>(low[2], high[2]),
        _mm256_permute2x128_si256::<0x20>(low[3], high[3]),
        _mm256_permute2x128_si256::<0x31>(low[0], high[0]),
        _mm256_permute2x128_si256::<0x31>(low[1], high[1]),
        _mm256_permute2x128_si256::<0x31>(low[2], high[2]),
        _mm256_permute2x128_si256::<0x31>(low[3], high[3]),
    ]
}
