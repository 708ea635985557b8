//! The arithmetic of one batch of transfers, both sides of it.

use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use super::TreeDepth;
use crate::Block;
use crate::kernels::{Partial, ROW_BITS, ROW_BLOCKS, Row, Streams, transpose};

/// Transfers of a batch: one row of every stream. Batches depend on their position alone, so the cores share them.
pub(super) const BATCH: usize = ROW_BITS;

/// What one party keeps of the set-up.
pub(crate) struct Extension {
    pub(super) depth: TreeDepth,
    /// For the transfers of which this party is the sender.
    pub(super) sent: Sent,
    /// For the transfers of which this party is the receiver.
    pub(super) received: Received,
}

/// The sender's `Δ` and its punctured trees, their leaves relative to the digits of `Δ`: the unknown ones come first.
pub(super) struct Sent {
    depth: TreeDepth,
    delta: Zeroizing<Block>,
    trees: Vec<Streams>,
    /// The next row of the streams.
    next: u64,
}

/// The receiver's trees.
pub(super) struct Received {
    depth: TreeDepth,
    trees: Vec<Streams>,
    /// The next row of the streams.
    next: u64,
}

impl Sent {
    pub(super) fn new(depth: TreeDepth, delta: Block, trees: &[Zeroizing<Vec<Block>>]) -> Self {
        let delta = Zeroizing::new(delta);
        Self { depth, delta, trees: trees.iter().map(|leaves| Streams::new(leaves)).collect(), next: 0 }
    }

    /// Fills `keys` with the next transfers, with the receiver's corrections.
    pub(super) fn extend(&mut self, keys: &mut [Block], corrections: &[u8]) {
        let first = self.next;
        self.next += keys.len().div_ceil(BATCH) as u64;
        let this = &*self;
        let corrections = corrections.par_chunks(corrections_len(this.depth, BATCH));
        let batches = keys.par_chunks_mut(BATCH).zip(corrections).enumerate();
        batches.for_each_init(Workspace::new, |work, (i, (keys, corrections))| {
            this.batch(first + i as u64, corrections, keys, work);
        });
    }

    fn batch(&self, position: u64, corrections: &[u8], keys: &mut [Block], work: &mut Workspace) {
        let corrections = corrections.chunks(keys.len().div_ceil(8)).map(Some);
        // The first tree has no correction.
        let corrections = std::iter::once(None).chain(corrections);
        for ((tree, digit), correction) in self.trees.iter().zip(self.depth.digits()).zip(corrections) {
            tree.sum(1, position, &mut work.matrix[digit.clone()], &mut work.partial);
            let Some(correction) = correction else { continue };
            let correction = row_from(correction);
            for bit in digit {
                let mask = Block(u128::MAX).masked((self.delta.0 >> bit) as u64);
                add(&mut work.matrix[bit], correction.map(|block| block & mask));
            }
        }
        work.matrix[0].fill(Block::ZERO);
        transpose(&work.matrix, keys);
    }
}

impl Received {
    pub(super) fn new(depth: TreeDepth, trees: &[Zeroizing<Vec<Block>>]) -> Self {
        Self { depth, trees: trees.iter().map(|leaves| Streams::new(leaves)).collect(), next: 0 }
    }

    /// Fills `keys` with the next transfers, and `message` with the corrections that the sender needs.
    pub(super) fn extend(&mut self, keys: &mut [Block], message: &mut [u8]) {
        let first = self.next;
        self.next += keys.len().div_ceil(BATCH) as u64;
        let this = &*self;
        let corrections = message.par_chunks_mut(corrections_len(this.depth, BATCH));
        let batches = keys.par_chunks_mut(BATCH).zip(corrections).enumerate();
        batches.for_each_init(Workspace::new, |work, (i, (keys, corrections))| {
            this.batch(first + i as u64, corrections, keys, work);
        });
    }

    fn batch(&self, position: u64, corrections: &mut [u8], keys: &mut [Block], work: &mut Workspace) {
        let mut trees = self.trees.iter().zip(self.depth.digits());
        if let Some((tree, digit)) = trees.next() {
            work.choices = *tree.sum(0, position, &mut work.matrix[digit], &mut work.partial);
        }
        for ((tree, digit), correction) in trees.zip(corrections.chunks_mut(keys.len().div_ceil(8))) {
            let total = tree.sum(0, position, &mut work.matrix[digit], &mut work.partial);
            row_into(total.iter().zip(&work.choices).map(|(u, x)| *u ^ *x), correction);
        }
        work.matrix[0] = work.choices;
        transpose(&work.matrix, keys);
    }
}

/// Bytes of the corrections of `count` transfers.
pub(super) const fn corrections_len(depth: TreeDepth, count: usize) -> usize {
    (depth.trees() - 1) * count.div_ceil(8)
}

/// The memory that a batch takes: as many rows as `Δ` has bits.
struct Workspace {
    matrix: Box<[Row; 128]>,
    choices: Row,
    partial: Box<Partial>,
}

impl Workspace {
    fn new() -> Self {
        let zeros = [Block::ZERO; ROW_BLOCKS];
        Self { matrix: Box::new([zeros; 128]), choices: zeros, partial: Box::new([zeros; _]) }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.matrix.as_flattened_mut().zeroize();
        self.choices.zeroize();
        self.partial.as_flattened_mut().zeroize();
    }
}

fn add(row: &mut Row, other: Row) {
    for (block, other) in row.iter_mut().zip(other) {
        *block ^= other;
    }
}

/// A row that starts with these bytes.
fn row_from(bytes: &[u8]) -> Row {
    let mut row = [Block::ZERO; ROW_BLOCKS];
    for (block, bytes) in row.iter_mut().zip(bytes.chunks(Block::BYTES)) {
        let mut whole = [0; Block::BYTES];
        whole[..bytes.len()].copy_from_slice(bytes);
        *block = Block::from_bytes(whole);
    }
    row
}

/// The first bytes of a row.
fn row_into(row: impl Iterator<Item = Block>, bytes: &mut [u8]) {
    for (bytes, block) in bytes.chunks_mut(Block::BYTES).zip(row) {
        bytes.copy_from_slice(&block.to_bytes()[..bytes.len()]);
    }
}
