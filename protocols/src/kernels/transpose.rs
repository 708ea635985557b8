//! Transposition of a matrix of 128 rows of bits.

use super::{ROW_BITS, Row};
use crate::Block;

/// Block `j` of the output is column `j` of the matrix: its bit `i` is bit `j` of row `i`. An output that is shorter than
/// the rows gets the first columns.
pub(crate) fn transpose(rows: &[Row; 128], output: &mut [Block]) {
    assert!(
        output.len() <= ROW_BITS,
        "invariant: a matrix has at most as many columns as its rows have bits"
    );
    portable(rows, output);
}

fn portable(rows: &[Row; 128], output: &mut [Block]) {
    for (tile, output) in output.chunks_mut(128).enumerate() {
        let mut square: [u128; 128] = std::array::from_fn(|row| rows[row][tile].0);
        transpose_square(&mut square);
        for (block, column) in output.iter_mut().zip(square) {
            *block = Block(column);
        }
    }
}

/// Swaps ever smaller off-diagonal quarters (Warren: Hacker's Delight, 2nd edition, section 7-3).
fn transpose_square(square: &mut [u128; 128]) {
    let mut width = 64;
    let mut mask = u128::from(u64::MAX);
    while width > 0 {
        for row in (0..128).filter(|row| row & width == 0) {
            let (above, below) = (square[row], square[row + width]);
            let swap = ((above >> width) ^ below) & mask;
            square[row] = above ^ swap << width;
            square[row + width] = below ^ swap;
        }
        width /= 2;
        mask ^= mask << width;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn bit_i_of_column_j_is_bit_j_of_row_i(seed: u64, columns in 0..=ROW_BITS) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let rows: Box<[Row; 128]> =
                Box::new(std::array::from_fn(|_| std::array::from_fn(|_| Block(rng.random()))));
            let mut output = vec![Block::ZERO; columns];
            transpose(&rows, &mut output);
            for (j, column) in output.iter().enumerate() {
                let expected = (0..128).fold(0, |sum, i| sum | (rows[i][j / 128].0 >> (j % 128) & 1) << i);
                prop_assert_eq!(column.0, expected);
            }
        }
    }
}
