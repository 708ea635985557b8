//! The streams of a tree's leaves, and their sums.

use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use super::{ROW_BLOCKS, Row};
use crate::Block;

/// The streams of the leaves of one tree: AES in counter mode, a leaf being the key.
pub(crate) struct Streams {
    leaves: Vec<Aes128Enc>,
}

impl Streams {
    /// The streams of these leaves.
    pub(crate) fn new(leaves: &[Block]) -> Self {
        Self { leaves: leaves.iter().map(|leaf| Aes128Enc::new(&leaf.to_bytes().into())).collect() }
    }

    /// Sets `total` to the sum of the streams of all leaves from `first` on, at the position `row`, and `planes[b]` to the
    /// sum of those of them in whose number bit `b` is 1.
    pub(crate) fn sum(&self, first: usize, row: u64, planes: &mut [Row], total: &mut Row) {
        self.portable(first, row, planes, total);
    }

    fn portable(&self, first: usize, row: u64, planes: &mut [Row], total: &mut Row) {
        total.fill(Block::ZERO);
        planes.as_flattened_mut().fill(Block::ZERO);
        let start = u128::from(row) * ROW_BLOCKS as u128;
        for (number, leaf) in self.leaves.iter().enumerate().skip(first) {
            let mut stream: [_; ROW_BLOCKS] =
                std::array::from_fn(|block| Array((start + block as u128).to_le_bytes()));
            leaf.encrypt_blocks(&mut stream);
            let touched = planes.iter_mut().enumerate().filter(|(bit, _)| number >> bit & 1 == 1);
            for row in touched.map(|(_, plane)| plane).chain([&mut *total]) {
                for (sum, block) in row.iter_mut().zip(&stream) {
                    *sum ^= Block::from_bytes(block.0);
                }
            }
        }
    }
}
