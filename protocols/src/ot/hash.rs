//! The correlation-robust hash `H(x) = AES_key(σ(x)) xor σ(x)`, `σ(x_high, x_low) = (x_high xor
//! x_low, x_high)` (Guo, Katz, Wang, Yu: Efficient and secure multiparty computation from fixed-key
//! block ciphers, S&P 2020), circular correlation robust in the ideal-cipher model; re-keyed as in
//! MITCCRH (Guo, Katz, Wang, Weng, Yu, Crypto 2020). Each call site draws a fresh public key, or a
//! [`Series`] of them where it makes many calls: whoever evaluates the cipher `2^a` times hits one
//! of `2^b` calls under a key with probability `2^(a + b - 128)`, so what counts is the calls under
//! *one* key.

use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use crate::Block;
use crate::bits::Word;
use crate::kernels::{Expansion, Key, Quad, sigma_all};

/// The hash under one public key.
#[derive(Clone)]
pub(crate) struct Hash(Key);

impl Hash {
    /// The hash under the first 16 bytes of a derived key.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let mut first = [0; 16];
        first.copy_from_slice(&key[..16]);
        Self(Key::new(Block::from_bytes(first)))
    }

    /// The hashes under the first `count` keys of a [`Series`].
    pub(crate) fn series(key: &[u8; 32], count: usize) -> Vec<Self> {
        let series = Series::new(key);
        (0..count).map(|number| series.hash(number)).collect()
    }

    /// Hashes every block in place.
    pub(crate) fn apply(&self, blocks: &mut [Block]) {
        self.0.hash(blocks);
    }

    /// Twice as many nodes: behind each other the hash of each and its sum with it.
    pub(crate) fn grow(&self, nodes: &[Quad]) -> Vec<Quad> {
        let mut children = vec![Quad::ZERO; 2 * nodes.len()];
        self.0.grow(nodes, &mut children);
        children
    }

    /// The sums of the hashes of leaves that [`sigma`] has been applied to: see [`Key::bit_sums`].
    pub(crate) fn bit_sums<W: Word>(
        &self,
        of: Expansion<'_>,
        sums: &mut [Quad],
        slots: &mut [Quad],
    ) {
        self.0.bit_sums::<W>(of, sums, slots);
    }

    /// One level of a half-tree: see [`Key::split`].
    pub(crate) fn split(&self, nodes: &mut [Block], at: u32, patch: Block) -> Block {
        self.0.split(nodes, at, patch)
    }
}

/// Public keys of hashes, numbered: the blocks of AES in counter mode under the second half of a
/// derived key. No two are alike.
pub(crate) struct Series(Aes128Enc);

impl Series {
    /// The keys that a derived key expands to.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let mut second = [0; 16];
        second.copy_from_slice(&key[16..]);
        Self(Aes128Enc::new(&second.into()))
    }

    /// The hash under key `number`.
    pub(crate) fn hash(&self, number: usize) -> Hash {
        let mut derived = Array((number as u128).to_le_bytes());
        self.0.encrypt_block(&mut derived);
        Hash(Key::new(Block::from_bytes(derived.0)))
    }
}

/// The first half of every hash, which is the same under all keys: `σ` of every block.
pub(crate) fn sigma(blocks: &mut [Quad]) {
    sigma_all(bytemuck::cast_slice_mut(blocks));
}
