//! The correlation-robust hash `H(x) = AES_key(σ(x)) xor σ(x)`, `σ(x_high, x_low) = (x_high xor x_low, x_high)`
//! (Guo, Katz, Wang, Yu: MITCCRH, Crypto 2020, section 5), circular correlation robust in the ideal-cipher model. Each
//! call site draws a fresh public key, so one key schedule serves thousands of calls and none serves 2^40.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use crate::Block;

/// Blocks that are encrypted together: enough for the widest pipelines that `aes` picks at run time.
const WIDTH: usize = 64;

/// The hash under one public key.
#[derive(Clone)]
pub(crate) struct Hash(Aes128);

impl Hash {
    /// The hash under the first 16 bytes of a derived key.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let mut first = [0; 16];
        first.copy_from_slice(&key[..16]);
        Self(Aes128::new(&first.into()))
    }

    /// The hashes under `count` keys, numbered by `block`, derived from one.
    pub(crate) fn series(key: &[u8; 32], count: usize) -> Vec<Self> {
        let root = Aes128::new(
            &{
                let mut second = [0; 16];
                second.copy_from_slice(&key[16..]);
                second
            }
            .into(),
        );
        (0..count)
            .map(|block| {
                let mut derived = Array((block as u128).to_le_bytes());
                root.encrypt_block(&mut derived);
                Self(Aes128::new(&derived))
            })
            .collect()
    }

    /// Hashes every block in place.
    pub(crate) fn apply(&self, blocks: &mut [Block]) {
        let mut buffer = [Array([0; 16]); WIDTH];
        for chunk in blocks.chunks_mut(WIDTH) {
            let buffer = &mut buffer[..chunk.len()];
            for (slot, block) in buffer.iter_mut().zip(chunk.iter_mut()) {
                *block = sigma(*block);
                slot.0 = block.to_bytes();
            }
            self.0.encrypt_blocks(buffer);
            for (slot, block) in buffer.iter().zip(chunk.iter_mut()) {
                *block ^= Block::from_bytes(slot.0);
            }
        }
    }

    /// The hashes of some blocks.
    pub(crate) fn of(&self, blocks: &[Block]) -> Vec<Block> {
        let mut hashes = blocks.to_vec();
        self.apply(&mut hashes);
        hashes
    }
}

/// The linear orthomorphism.
const fn sigma(block: Block) -> Block {
    let (high, low) = (block.0 >> 64, block.0 & u64::MAX as u128);
    Block((high ^ low) << 64 | high)
}
