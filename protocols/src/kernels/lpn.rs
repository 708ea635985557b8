//! Multiplication by a sparse public code: every output takes in [`WEIGHT`] blocks of a table, at
//! indices that a public key expands to.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm_storeu_si128, _mm_xor_si128,
};

use super::{Key, ROW_BLOCKS, Row};
use crate::Block;

/// Blocks of the table that an output takes in.
pub(crate) const WEIGHT: usize = 10;

/// Outputs whose indices are expanded together: as many as make up whole rows of the key's stream.
const OUTPUTS: usize = 64;
const ROWS: usize = OUTPUTS * WEIGHT * size_of::<u32>() / (ROW_BLOCKS * Block::BYTES);

/// Outputs that are made between two rows of the indices of the next, so that one waits for the
/// table while the other computes.
const PART: usize = 8;

/// Blocks of a table from which on what a part takes in is fetched while the part before it is
/// summed up: 8 MiB. A shorter table is near enough that the processor's own look-ahead does as
/// well.
const FAR: usize = 1 << 19;

/// The indices of [`OUTPUTS`] outputs, before they are cut to the table's length: words of 32 bits,
/// little-endian.
type Indices = [Row; ROWS];

/// A code, named by a public key.
pub(crate) struct Code(Key);

impl Code {
    /// The code of a key.
    pub(crate) fn new(key: Block) -> Self {
        Self(Key::new(key))
    }

    /// Adds to `outputs`, of which the first is number `first` of the code, the sums of the blocks
    /// of `table` that the code names. The table's length is a power of two, `first` and the number
    /// of outputs multiples of [`OUTPUTS`]. Outputs are finished by `before`, with the position of
    /// the first of them, a moment before they are added to.
    pub(crate) fn add(
        &self,
        first: usize,
        table: &[Block],
        outputs: &mut [Block],
        before: impl Fn(usize, &mut [Block]),
    ) {
        assert!(
            table.len().is_power_of_two() && table.len() as u64 <= 1 << 32,
            "invariant: the secret of every parameter set has as many bits as a power of two"
        );
        let (groups, rest) = outputs.as_chunks_mut::<OUTPUTS>();
        assert!(
            rest.is_empty() && first.is_multiple_of(OUTPUTS),
            "invariant: trees have whole groups of leaves"
        );
        let (count, first) = (groups.len(), first / OUTPUTS);
        let (mut now, mut next) =
            (&mut [[Block::ZERO; ROW_BLOCKS]; ROWS], &mut [[Block::ZERO; ROW_BLOCKS]; ROWS]);
        // Two buffers: `now` has the indices of this group, `next` those of the next one as far as
        // they are expanded.
        (0..ROWS).for_each(|row| self.row(first, row, now));
        for (group, outputs) in groups.iter_mut().enumerate() {
            before(group * OUTPUTS, outputs);
            let indices = words(now);
            for (part, outputs) in outputs.as_chunks_mut::<PART>().0.iter_mut().enumerate() {
                let (indices, rest) = indices[part * PART..].split_at(PART);
                if table.len() >= FAR && !rest.is_empty() {
                    fetch(&rest[..PART], table);
                }
                // Eight parts, five rows: behind the fifth part all indices of the next group are
                // there.
                if part < ROWS && group + 1 < count {
                    self.row(first + group + 1, part, next);
                }
                #[cfg(target_arch = "x86_64")]
                gather(indices, table, outputs);
                #[cfg(not(target_arch = "x86_64"))]
                portable(indices, table, outputs);
            }
            std::mem::swap(&mut now, &mut next);
        }
    }

    /// The first rows of the code, at least so many, for a table of `len` blocks.
    #[cfg(test)]
    pub(crate) fn rows(&self, count: usize, len: usize) -> Vec<[usize; WEIGHT]> {
        let mut indices = [[Block::ZERO; ROW_BLOCKS]; ROWS];
        let mut rows = Vec::new();
        for group in 0..count.div_ceil(OUTPUTS) {
            (0..ROWS).for_each(|row| self.row(group, row, &mut indices));
            let cut = |index: u32| u32::from_le(index) as usize & (len - 1);
            rows.extend(words(&indices).iter().map(|row| row.map(cut)));
        }
        rows
    }

    /// One row of the indices of a group of outputs.
    fn row(&self, group: usize, row: usize, indices: &mut Indices) {
        let into = &mut indices[row];
        self.0.row((group * ROWS + row) as u64, into);
        into.iter_mut().for_each(|block| block.0 = block.0.to_le());
    }
}

/// The indices, by output.
fn words(indices: &Indices) -> &[[u32; WEIGHT]] {
    bytemuck::cast_slice(indices)
}

#[cfg_attr(all(target_arch = "x86_64", not(test)), expect(dead_code, reason = "the twin"))]
fn portable(indices: &[[u32; WEIGHT]], table: &[Block], outputs: &mut [Block]) {
    let mask = table.len() - 1;
    for (row, output) in indices.iter().zip(outputs) {
        *output = row
            .iter()
            .fold(*output, |sum, index| sum ^ table[u32::from_le(*index) as usize & mask]);
    }
}

/// The sum in a register; every x86_64 has the instructions.
#[cfg(target_arch = "x86_64")]
fn gather(indices: &[[u32; WEIGHT]], table: &[Block], outputs: &mut [Block]) {
    let mask = table.len() - 1;
    let start = table.as_ptr().cast::<__m128i>();
    for (row, output) in indices.iter().zip(outputs) {
        let output = std::ptr::from_mut(output).cast::<__m128i>();
        // SAFETY: an index that is masked lies in a table whose length is a power of two, and the
        // output is a block.
        unsafe {
            let mut sum = _mm_loadu_si128(output);
            for index in row {
                sum = _mm_xor_si128(sum, _mm_loadu_si128(start.add(*index as usize & mask)));
            }
            _mm_storeu_si128(output, sum);
        }
    }
}

/// Other processors look ahead on their own.
#[cfg(not(target_arch = "x86_64"))]
const fn fetch(_: &[[u32; WEIGHT]], _: &[Block]) {}

/// Asks for the blocks that some outputs take in.
#[cfg(target_arch = "x86_64")]
fn fetch(indices: &[[u32; WEIGHT]], table: &[Block]) {
    let mask = table.len() - 1;
    for index in indices.as_flattened() {
        let block = std::ptr::from_ref(&table[*index as usize & mask]);
        // SAFETY: every x86_64 has the instruction, which reads nothing that the program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(block.cast()) };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::kernels::aes::tests::variants;

    fn indices_of(code: &Code, group: usize) -> Indices {
        let mut indices = [[Block::ZERO; ROW_BLOCKS]; ROWS];
        (0..ROWS).for_each(|row| code.row(group, row, &mut indices));
        indices
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_kernel_multiplies_alike(
            log in 0u32..=12,
            first in 0usize..1 << 20,
            groups in 0usize..4,
            seed: u64,
        ) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let key = Block(rng.random());
            let table: Vec<Block> = (0..1 << log).map(|_| Block(rng.random())).collect();
            let start: Vec<Block> = (0..groups * OUTPUTS).map(|_| Block(rng.random())).collect();
            let mut expected = start.clone();
            let code = Code(variants(key).swap_remove(0));
            for (group, outputs) in (first..).zip(expected.as_chunks_mut::<OUTPUTS>().0) {
                outputs.iter_mut().for_each(|output| *output ^= Block(1));
                portable(words(&indices_of(&code, group)), &table, outputs);
            }
            for key in variants(key) {
                let mut outputs = start.clone();
                Code(key).add(first * OUTPUTS, &table, &mut outputs, |at, outputs| {
                    assert!(outputs == &start[at..at + outputs.len()]);
                    outputs.iter_mut().for_each(|output| *output ^= Block(1));
                });
                prop_assert!(outputs == expected);
            }
        }
    }

    #[test]
    fn a_table_that_is_far_away_is_multiplied_alike() {
        let table: Vec<Block> =
            (0..FAR as u128).map(|i| Block(i.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C))).collect();
        let code = Code::new(Block(11));
        let mut expected = vec![Block(5); 3 * OUTPUTS];
        let mut outputs = expected.clone();
        for (group, outputs) in expected.as_chunks_mut::<OUTPUTS>().0.iter_mut().enumerate() {
            portable(words(&indices_of(&code, group)), &table, outputs);
        }
        code.add(0, &table, &mut outputs, |_, _| ());
        assert!(outputs == expected);
    }

    #[test]
    fn the_indices_of_a_code_are_spread_evenly() {
        let code = Code::new(Block(7));
        let mut counts = [0u32; 16];
        for group in 0..100 {
            let indices = indices_of(&code, group);
            words(&indices)
                .as_flattened()
                .iter()
                .for_each(|index| counts[(index & 15) as usize] += 1);
        }
        // Of 64,000 indices 4,000 each, with a standard deviation of 61.
        assert!(counts.iter().all(|count| count.abs_diff(4000) < 500), "{counts:?}");
    }
}
