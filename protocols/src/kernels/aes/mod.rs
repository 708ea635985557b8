//! AES-128: the hash of many blocks under one key, and rows of a stream in counter mode.
//!
//! The `aes` crate is the portable twin, and what runs where the processor has no AES instructions.
//! It encrypts as fast as these kernels, but its callers have to move every block in and out of its
//! buffers, which costs more than the encryption.

#[cfg(target_arch = "x86_64")]
pub(super) mod x86;

use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use super::{Quad, ROW_BLOCKS, Row};
use crate::Block;

/// An expanded key, and how to encrypt with it on this machine.
#[derive(Clone)]
pub(crate) enum Key {
    /// By the `aes` crate.
    Portable(Box<Aes128Enc>),
    /// By AES instructions, one block at a time.
    #[cfg(target_arch = "x86_64")]
    Narrow(x86::Schedule),
    /// By AES instructions, two blocks at a time.
    #[cfg(target_arch = "x86_64")]
    Middle(x86::Schedule),
    /// By AES instructions, four blocks at a time.
    #[cfg(target_arch = "x86_64")]
    Wide(x86::Schedule),
}

impl Key {
    /// Expands a key for the best instructions of this machine.
    pub(crate) fn new(key: Block) -> Self {
        #[cfg(target_arch = "x86_64")]
        if x86::has_narrow() {
            // SAFETY: the processor has what `has_narrow` looks for.
            let schedule = unsafe { x86::expand(key) };
            return match () {
                () if x86::has_wide() => Self::Wide(schedule),
                () if x86::has_middle() => Self::Middle(schedule),
                () => Self::Narrow(schedule),
            };
        }
        Self::portable(key)
    }

    fn portable(key: Block) -> Self {
        Self::Portable(Box::new(Aes128Enc::new(&key.to_bytes().into())))
    }

    /// Replaces every block `x` by `AES(σ(x)) xor σ(x)` with `σ(high, low) = (high xor low, high)`.
    pub(crate) fn hash(&self, blocks: &mut [Block]) {
        match self {
            Self::Portable(key) => hash(key, blocks),
            // SAFETY: `Key::new` makes this variant only where the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Narrow(schedule) => unsafe { x86::hash_narrow(schedule, blocks) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Middle(schedule) => unsafe { x86::middle::hash(schedule, blocks) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Wide(schedule) => unsafe { x86::hash_wide(schedule, blocks) },
        }
    }

    /// Sets `children[2 i]` to the hash of node `i`, and `children[2 i + 1]` to its sum with the
    /// node.
    pub(crate) fn grow(&self, nodes: &[Quad], children: &mut [Quad]) {
        assert_eq!(children.len(), 2 * nodes.len(), "invariant: a node has two children");
        match self {
            // SAFETY: `Key::new` makes this variant only where the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Wide(schedule) => unsafe { x86::grow_wide(schedule, nodes, children) },
            #[cfg(target_arch = "x86_64")]
            Self::Narrow(_) | Self::Middle(_) => self.grow_by_hash(nodes, children),
            Self::Portable(_) => self.grow_by_hash(nodes, children),
        }
    }

    fn grow_by_hash(&self, nodes: &[Quad], children: &mut [Quad]) {
        let mut hashes = [Quad::ZERO; 16];
        for (nodes, children) in nodes.chunks(16).zip(children.chunks_mut(32)) {
            let hashes = &mut hashes[..nodes.len()];
            hashes.copy_from_slice(nodes);
            self.hash(bytemuck::cast_slice_mut(hashes));
            for ((node, hash), children) in
                nodes.iter().zip(hashes).zip(children.as_chunks_mut::<2>().0)
            {
                *children = [*hash, *node ^ *hash];
            }
        }
    }

    /// Sets a row to number `row` of the stream in counter mode.
    pub(crate) fn row(&self, row: u64, into: &mut Row) {
        match self {
            Self::Portable(key) => *into = stream(key, row),
            // SAFETY: `Key::new` makes this variant only where the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Narrow(schedule) => unsafe { x86::row_narrow(schedule, row, into) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Middle(schedule) => unsafe { x86::middle::row(schedule, row, into) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Wide(schedule) => unsafe { x86::row_wide(schedule, row, into) },
        }
    }
}

fn hash(key: &Aes128Enc, blocks: &mut [Block]) {
    sigma_all(blocks);
    encrypt_and_add(key, blocks);
}

/// Replaces every block `x` by `AES(x) xor x`.
pub(super) fn encrypt_and_add(key: &Aes128Enc, blocks: &mut [Block]) {
    // Enough for the widest pipelines that the crate picks.
    let mut buffer = [Array([0; 16]); 64];
    for chunk in blocks.chunks_mut(64) {
        let buffer = &mut buffer[..chunk.len()];
        for (slot, block) in buffer.iter_mut().zip(chunk.iter()) {
            slot.0 = block.to_bytes();
        }
        key.encrypt_blocks(buffer);
        for (slot, block) in buffer.iter().zip(chunk.iter_mut()) {
            *block ^= Block::from_bytes(slot.0);
        }
    }
}

/// Applies `σ` to every block.
pub(crate) fn sigma_all(blocks: &mut [Block]) {
    for block in blocks {
        *block = sigma(*block);
    }
}

/// The linear orthomorphism.
const fn sigma(block: Block) -> Block {
    let (high, low) = (block.0 >> 64, block.0 & u64::MAX as u128);
    Block((high ^ low) << 64 | high)
}

fn stream(key: &Aes128Enc, row: u64) -> Row {
    let start = row * ROW_BLOCKS as u64;
    let mut blocks: [_; ROW_BLOCKS] =
        std::array::from_fn(|block| Array(u128::from(start + block as u64).to_le_bytes()));
    key.encrypt_blocks(&mut blocks);
    blocks.map(|block| Block::from_bytes(block.0))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The key for every kernel that this machine can run, the portable twin first.
    pub(in crate::kernels) fn variants(key: Block) -> Vec<Key> {
        let mut keys = vec![Key::portable(key)];
        #[cfg(target_arch = "x86_64")]
        if x86::has_narrow() {
            let expand = || unsafe { x86::expand(key) };
            keys.push(Key::Narrow(expand()));
            if x86::has_middle() {
                keys.push(Key::Middle(expand()));
            }
            if x86::has_wide() {
                keys.push(Key::Wide(expand()));
            }
        }
        keys
    }

    fn row_of(key: &Key, row: u64) -> Row {
        let mut blocks = [Block::ZERO; ROW_BLOCKS];
        key.row(row, &mut blocks);
        blocks
    }

    proptest! {
        #[test]
        fn every_kernel_hashes_alike(
            key: u128,
            blocks in prop::collection::vec(any::<u128>(), 0..200),
        ) {
            let blocks: Vec<Block> = blocks.into_iter().map(Block).collect();
            let hashes = variants(Block(key)).into_iter().map(|key| {
                let mut hashes = blocks.clone();
                key.hash(&mut hashes);
                hashes
            });
            let hashes: Vec<_> = hashes.collect();
            prop_assert!(hashes.iter().all(|other| *other == hashes[0]));
        }

        #[test]
        fn every_kernel_grows_trees_alike(
            key: u128,
            blocks in prop::collection::vec(any::<[u128; 4]>(), 0..40),
        ) {
            let nodes: Vec<Quad> = blocks.into_iter().map(|four| Quad(four.map(Block))).collect();
            let grown = variants(Block(key)).into_iter().map(|key| {
                let mut children = vec![Quad::ZERO; 2 * nodes.len()];
                key.grow(&nodes, &mut children);
                children
            });
            let grown: Vec<_> = grown.collect();
            prop_assert!(grown.iter().all(|other| *other == grown[0]));
        }

        #[test]
        fn every_kernel_streams_alike(key: u128, row in 0..u64::MAX / ROW_BLOCKS as u64) {
            let rows: Vec<_> = variants(Block(key)).iter().map(|key| row_of(key, row)).collect();
            prop_assert!(rows.iter().all(|other| *other == rows[0]));
        }
    }

    #[test]
    fn encryption_is_that_of_the_standard() {
        // Of the block zero, which σ maps to itself, under the key of FIPS 197, appendix C.1.
        let mut blocks = [Block::ZERO];
        let key = u128::from_le_bytes(std::array::from_fn(|i| i as u8));
        for variant in variants(Block(key)) {
            blocks[0] = Block::ZERO;
            variant.hash(&mut blocks);
            assert_eq!(blocks[0], row_of(&variant, 0)[0]);
            assert_eq!(blocks[0].to_bytes()[..4], [0xc6, 0xa1, 0x3b, 0x37]);
        }
    }
}
