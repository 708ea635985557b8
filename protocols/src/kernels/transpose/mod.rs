//! Transposition of a matrix of 128 rows of bits.

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
use zeroize::Zeroizing;

use super::{ROW_BITS, Row};
use crate::Block;

/// Block `j` of the output is column `j` of the matrix: its bit `i` is bit `j` of row `i`. An
/// output that is shorter than the rows gets the first columns.
pub(crate) fn transpose(rows: &[Row; 128], output: &mut [Block]) {
    Kernel::best().run(rows, output);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Narrow,
    #[cfg(target_arch = "x86_64")]
    Wide,
}

impl Kernel {
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if x86::has_wide() {
            return Self::Wide;
        } else if x86::has_narrow() {
            return Self::Narrow;
        }
        Self::Portable
    }

    fn run(self, rows: &[Row; 128], output: &mut [Block]) {
        assert!(
            output.len() <= ROW_BITS,
            "invariant: a matrix has at most as many columns as its rows have bits"
        );
        match self {
            Self::Portable => portable(rows, output),
            // SAFETY: `Kernel::best` has found the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Narrow => {
                in_parts(output, |part, columns| unsafe { x86::narrow(rows, part, columns) })
            }
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Wide => {
                in_parts(output, |part, columns| unsafe { x86::wide(rows, part, columns) })
            }
        }
    }
}

/// Gives `N` columns at a time to a kernel, the last of them by way of a buffer.
#[cfg(target_arch = "x86_64")]
fn in_parts<const N: usize>(output: &mut [Block], kernel: impl Fn(usize, &mut [Block; N])) {
    let (parts, rest) = output.as_chunks_mut::<N>();
    let whole = parts.len();
    for (part, columns) in parts.iter_mut().enumerate() {
        kernel(part, columns);
    }
    if !rest.is_empty() {
        let mut columns = Zeroizing::new([Block::ZERO; N]);
        kernel(whole, &mut columns);
        rest.copy_from_slice(&columns[..rest.len()]);
    }
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
        // Squares of `2 width` rows and columns trade their upper right quarter for the lower left
        // one. The mask has the left half of every such square.
        for row in (0..128).filter(|row| row & width == 0) {
            let (above, below) = (square[row], square[row + width]);
            let swap = ((above >> width) ^ below) & mask;
            square[row] = above ^ swap << width;
            square[row + width] = below ^ swap;
        }
        width /= 2;
        // From the left halves to the left quarters, at the new width.
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
            let rows = random_rows(seed);
            let mut output = vec![Block::ZERO; columns];
            portable(&rows, &mut output);
            for (j, column) in output.iter().enumerate() {
                let expected =
                    (0..128).fold(0, |sum, i| sum | (rows[i][j / 128].0 >> (j % 128) & 1) << i);
                prop_assert_eq!(column.0, expected);
            }
        }

        #[test]
        fn every_kernel_transposes_alike(seed: u64, columns in 0..=ROW_BITS) {
            let rows = random_rows(seed);
            let transposed = |kernel: Kernel| {
                let mut output = vec![Block::ZERO; columns];
                kernel.run(&rows, &mut output);
                output
            };
            let portable = transposed(Kernel::Portable);
            for kernel in available() {
                prop_assert!(transposed(kernel) == portable, "{:?}", kernel);
            }
        }
    }

    fn random_rows(seed: u64) -> Box<[Row; 128]> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        Box::new(std::array::from_fn(|_| std::array::from_fn(|_| Block(rng.random()))))
    }

    fn available() -> Vec<Kernel> {
        let mut kernels = vec![Kernel::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(x86::has_narrow().then_some(Kernel::Narrow));
            kernels.extend(x86::has_wide().then_some(Kernel::Wide));
        }
        kernels
    }
}
