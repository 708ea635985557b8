//! The arithmetic of one batch of OTs, both sides of it.

use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use super::TreeDepth;
use crate::Block;
use crate::kernels::{Partial, ROW_BITS, ROW_BLOCKS, Row, Streams, transpose};

/// OTs of a batch: one row of every stream. Batches depend on their position alone, so the
/// cores share them.
pub(super) const BATCH: usize = ROW_BITS;

/// What one party keeps of the set-up.
pub(crate) struct SoftSpoken {
    pub(super) depth: TreeDepth,
    /// For the OTs of which this party is the sender.
    pub(super) sent: Sent,
    /// For the OTs of which this party is the receiver.
    pub(super) received: Received,
}

/// The sender's `Δ` and its punctured trees, their leaves relative to the digits of `Δ`: the
/// unknown ones come first.
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
        Self {
            depth,
            delta,
            trees: trees.iter().map(|leaves| Streams::new(leaves)).collect(),
            next: 0,
        }
    }

    /// Fills `keys` with the next OTs, with the receiver's corrections.
    pub(super) fn extend(&mut self, keys: &mut [Block], corrections: &[u8]) {
        let first = self.next;
        self.next += keys.len().div_ceil(BATCH) as u64;
        let (this, keys_len) = (&*self, keys.len());
        // A message is batch by batch, and in each tree by tree from the second on: a bit a
        // OT, in whole bytes. The last batch may be shorter.
        let corrections = corrections.par_chunks(corrections_len(this.depth, BATCH));
        let batches = keys.par_chunks_mut(BATCH).zip(corrections).enumerate();
        let batches = batches.with_min_len(per_workspace(keys_len));
        batches.for_each_init(Workspace::new, |work, (i, (keys, corrections))| {
            this.batch(first + i as u64, corrections, keys, work);
        });
    }

    fn batch(&self, position: u64, corrections: &[u8], keys: &mut [Block], work: &mut Workspace) {
        let corrections = corrections.chunks(keys.len().div_ceil(8)).map(Some);
        // The first tree has no correction.
        let corrections = std::iter::once(None).chain(corrections);
        for ((tree, digit), correction) in
            self.trees.iter().zip(self.depth.digits()).zip(corrections)
        {
            // Row b of the matrix is bit b of `K` for all OTs. Slot 0 is the unknown leaf;
            // slot numbers are `y xor Δ_i`, so the sums are `w_ib`.
            tree.sum(1, position, &mut work.matrix[digit.clone()], &mut work.partial);
            let Some(correction) = correction else { continue };
            for bit in digit {
                add_masked(&mut work.matrix[bit], correction, (self.delta.0 >> bit) as u64);
            }
        }
        // Row 0 would be `v_0 xor x`, since bit 0 of `Δ` is 1. In its place `K` has 0 and `M` has
        // `x`: still `M = K xor x Δ`.
        work.matrix[0].fill(Block::ZERO);
        transpose(&work.matrix, keys);
    }
}

impl Received {
    pub(super) fn new(depth: TreeDepth, trees: &[Zeroizing<Vec<Block>>]) -> Self {
        Self { depth, trees: trees.iter().map(|leaves| Streams::new(leaves)).collect(), next: 0 }
    }

    /// Fills `keys` with the next OTs, and `message` with the corrections that the sender
    /// needs.
    pub(super) fn extend(&mut self, keys: &mut [Block], message: &mut [u8]) {
        let first = self.next;
        self.next += keys.len().div_ceil(BATCH) as u64;
        let (this, keys_len) = (&*self, keys.len());
        let corrections = message.par_chunks_mut(corrections_len(this.depth, BATCH));
        let batches = keys.par_chunks_mut(BATCH).zip(corrections).enumerate();
        let batches = batches.with_min_len(per_workspace(keys_len));
        batches.for_each_init(Workspace::new, |work, (i, (keys, corrections))| {
            this.batch(first + i as u64, corrections, keys, work);
        });
    }

    fn batch(
        &self,
        position: u64,
        corrections: &mut [u8],
        keys: &mut [Block],
        work: &mut Workspace,
    ) {
        // Row b of the matrix is bit b of `M`: the sums `v_ib`. The first tree's sum of all leaves
        // is the choices themselves, and needs no correction.
        let mut trees = self.trees.iter().zip(self.depth.digits());
        if let Some((tree, digit)) = trees.next() {
            work.choices = *tree.sum(0, position, &mut work.matrix[digit], &mut work.partial);
        }
        for ((tree, digit), correction) in trees.zip(corrections.chunks_mut(keys.len().div_ceil(8)))
        {
            let total = tree.sum(0, position, &mut work.matrix[digit], &mut work.partial);
            // `c_i = u_i xor x`: the unknown leaf's stream in `u_i` hides `x` from the sender.
            row_into(total.iter().zip(&work.choices).map(|(u, x)| *u ^ *x), correction);
        }
        work.matrix[0] = work.choices;
        transpose(&work.matrix, keys);
    }
}

/// Bytes of the corrections of `count` OTs.
pub(super) const fn corrections_len(depth: TreeDepth, count: usize) -> usize {
    (depth.trees() - 1) * count.div_ceil(8)
}

/// Batches in a row that share a workspace, of so many OTs: to make and to wipe one costs as
/// much as half a batch.
fn per_workspace(ots: usize) -> usize {
    ots.div_ceil(BATCH).div_ceil(rayon::current_num_threads()).max(1)
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

/// Adds bytes to the first of a row where `bit` is 1, in constant time.
fn add_masked(row: &mut Row, bytes: &[u8], bit: u64) {
    // Blocks of a length that the compiler knows are not worth a call each.
    let (whole, rest) = bytes.as_chunks::<{ Block::BYTES }>();
    for (block, bytes) in row.iter_mut().zip(whole) {
        *block ^= Block::from_bytes(*bytes).masked(bit);
    }
    if !rest.is_empty() {
        let mut last = [0; Block::BYTES];
        last[..rest.len()].copy_from_slice(rest);
        row[whole.len()] ^= Block::from_bytes(last).masked(bit);
    }
}

/// The first bytes of a row.
fn row_into(mut row: impl Iterator<Item = Block>, bytes: &mut [u8]) {
    let (whole, rest) = bytes.as_chunks_mut::<{ Block::BYTES }>();
    for (bytes, block) in whole.iter_mut().zip(row.by_ref()) {
        *bytes = block.to_bytes();
    }
    if let Some(last) = row.next() {
        rest.copy_from_slice(&last.to_bytes()[..rest.len()]);
    }
}
