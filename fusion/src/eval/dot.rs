//! Rows of weights times patches, in 16-bit products and 32-bit sums: with AVX2 where the machine
//! has it, else in the shape that compilers turn into multiply-add instructions of the baseline
//! instruction set.

/// Rows of weights that are multiplied together.
pub(super) const ROWS: usize = 4;

/// Rows of weights and patches are padded with zeros to a multiple of this.
pub(super) const LANES: usize = 16;

/// Rows of `length` elements, a multiple of [`LANES`]: weights, a multiple of [`ROWS`] of them, and
/// patches. No partial sum may leave 32 bits.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    pub length: usize,
    pub weights: &'a [i16],
    pub patches: &'a [i16],
}

impl Tile<'_> {
    /// Gives the products of every [`ROWS`] rows with a patch to `take`, with the first row and the
    /// patch.
    pub(super) fn products(self, mut take: impl FnMut(usize, usize, [i32; ROWS])) {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            simd.vectorize(
                #[inline(always)]
                || avx2::products(simd, self, take),
            );
            return;
        }
        self.portable(&mut take);
    }

    /// The portable twin.
    fn portable(self, take: &mut impl FnMut(usize, usize, [i32; ROWS])) {
        for (block, rows) in self.weights.chunks_exact(ROWS * self.length).enumerate() {
            for (at, patch) in self.patches.chunks_exact(self.length).enumerate() {
                let mut sums = [0; ROWS];
                for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(self.length)) {
                    *sum = patch.iter().zip(row).map(|(&x, &w)| i32::from(x) * i32::from(w)).sum();
                }
                take(block * ROWS, at, sums);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{__m128i, __m256i};
    use std::array::from_fn;

    use pulp::x86::V3;
    use pulp::{as_arrays, cast};

    use super::{LANES, ROWS, Tile};

    /// Patches that are multiplied together: with four rows, eight sums stay in registers.
    const PATCHES: usize = 2;

    #[inline(always)]
    pub(super) fn products(
        simd: V3,
        tile: Tile<'_>,
        mut take: impl FnMut(usize, usize, [i32; ROWS]),
    ) {
        let length = tile.length;
        for (block, rows) in tile.weights.chunks_exact(ROWS * length).enumerate() {
            let pairs = tile.patches.chunks_exact(PATCHES * length);
            let (rest, count) = (pairs.remainder(), pairs.len());
            for (pair, patches) in pairs.enumerate() {
                let sums = block_sums::<PATCHES>(simd, rows, patches, length);
                for (at, sums) in sums.into_iter().enumerate() {
                    take(block * ROWS, pair * PATCHES + at, sums);
                }
            }
            if !rest.is_empty() {
                let [sums] = block_sums::<1>(simd, rows, rest, length);
                take(block * ROWS, count * PATCHES, sums);
            }
        }
    }

    /// Of every patch the products with all rows.
    #[inline(always)]
    fn block_sums<const PATCHES: usize>(
        simd: V3,
        rows: &[i16],
        patches: &[i16],
        length: usize,
    ) -> [[i32; ROWS]; PATCHES] {
        let steps = length / LANES;
        let (rows, _) = as_arrays::<LANES, i16>(rows);
        let (patches, _) = as_arrays::<LANES, i16>(patches);
        let rows: [&[[i16; LANES]]; ROWS] = from_fn(|at| &rows[at * steps..][..steps]);
        let patches: [&[[i16; LANES]]; PATCHES] = from_fn(|at| &patches[at * steps..][..steps]);
        let zero: __m256i = cast([0i32; 8]);
        let mut sums = [[zero; ROWS]; PATCHES];
        for step in 0..steps {
            let weights: [__m256i; ROWS] = from_fn(|row| cast(rows[row][step]));
            for (sums, patch) in sums.iter_mut().zip(patches) {
                let patch: __m256i = cast(patch[step]);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    let products = simd.avx2._mm256_madd_epi16(patch, weights);
                    *sum = simd.avx2._mm256_add_epi32(*sum, products);
                }
            }
        }
        sums.map(|sums| horizontal(simd, sums))
    }

    /// The sum of every register's lanes.
    #[inline(always)]
    fn horizontal(simd: V3, [a, b, c, d]: [__m256i; ROWS]) -> [i32; ROWS] {
        let (ab, cd) = (simd.avx2._mm256_hadd_epi32(a, b), simd.avx2._mm256_hadd_epi32(c, d));
        // Either half has parts of all four.
        let [low, high]: [__m128i; 2] = cast(simd.avx2._mm256_hadd_epi32(ab, cd));
        cast(simd.sse2._mm_add_epi32(low, high))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_its_portable_twin(
            blocks in 0..4_usize,
            patches in 0..6_usize,
            steps in 1..5_usize,
            values in prop::collection::vec(-3000i16..3000, 16 * 4 * 6 * 4),
        ) {
            let length = steps * LANES;
            let tile = Tile {
                length,
                weights: &values[..blocks * ROWS * length],
                patches: &values[values.len() - patches * length..],
            };
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            tile.products(|row, patch, sums| found.push((row, patch, sums)));
            tile.portable(&mut |row, patch, sums| expected.push((row, patch, sums)));
            prop_assert_eq!(found, expected);
        }
    }
}
