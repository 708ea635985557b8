//! One correlated half-tree grown in place: no memory but that of its leaves, for trees of which
//! each leaf is used once.
//!
//! The children of node `i` of a level of `m` nodes are nodes `i` and `i + m` of the next, so bit
//! `l - 1` of a leaf's number is the side taken at level `l`. The receiver's puncture is on the
//! sides that its OTs do *not* choose: where it may be random, it is what their random
//! choices say, and the receiver sends nothing.
//!
//! The receiver's time and memory accesses do not depend on the puncture. What stands in the
//! puncture's slot is known to it (zero, and what grows from zero), so the true sum of a side tells
//! the puncture's sibling; that is corrected by a mask over all nodes while the next level grows.

use crate::Block;
use crate::kernels::patch;
use crate::ot::Hash;

/// Grows the sender's tree of `nodes.len()` leaves from its OTs' keys `K`, one a level.
/// `sums` gets what the receiver needs: `L_l xor K_l` for every level but the first, `L_l` the sum
/// of all left children.
pub(crate) fn grow_sender(
    hash: &Hash,
    delta: Block,
    keys: &[Block],
    nodes: &mut [Block],
    sums: &mut [Block],
) {
    assert_eq!(
        (nodes.len(), sums.len()),
        (1 << keys.len(), keys.len() - 1),
        "invariant: one key a level"
    );
    nodes[0] = keys[0];
    nodes[1] = keys[0] ^ delta;
    for (level, (key, sum)) in keys[1..].iter().zip(sums).enumerate() {
        // `level` counts from the second on: a level of `2 << level` nodes becomes one of twice as
        // many.
        *sum = hash.split(&mut nodes[..4 << level], 0, Block::ZERO) ^ *key;
    }
}

/// What the receiver's leaves still lack.
pub(crate) struct Puncture {
    /// The number of the puncture's leaf.
    pub at: u32,
    /// The number of its sibling.
    pub sibling: u32,
    /// To add to the sibling's slot.
    pub sibling_patch: Block,
    /// To add to the puncture's slot, which then holds `Δ` xor the hidden leaf: the sum of all
    /// others.
    pub patch: Block,
}

/// Grows the receiver's tree from its OTs' `M = K xor x Δ` and the sender's sums. All leaves
/// but two are right; the answer says which and how.
pub(crate) fn grow_receiver(
    hash: &Hash,
    ots: &[Block],
    sums: &[Block],
    nodes: &mut [Block],
) -> Puncture {
    assert_eq!(
        (nodes.len(), sums.len()),
        (1 << ots.len(), ots.len() - 1),
        "invariant: one transfer a level"
    );
    // `x = 0` is the left node itself, `M = K`; `x = 1` the right one, `K xor Δ`. The other slot is
    // the puncture's, and holds zero.
    let chosen = ots[0].lsb();
    nodes[0] = ots[0].masked(1 ^ chosen);
    nodes[1] = ots[0].masked(chosen);
    let mut puncture =
        Puncture { at: 1 ^ chosen as u32, sibling: 0, sibling_patch: Block::ZERO, patch: ots[0] };
    // What stands in the puncture's slot; `puncture.patch` is the sum of what stands in all slots.
    let mut filler = Block::ZERO;
    for (level, (transfer, sum)) in ots[1..].iter().zip(sums).enumerate() {
        let half = 2u32 << level;
        // The sibling that the last turn has found is added before its level grows. The sum of left
        // children counts what grows from the filler too.
        let left =
            hash.split(&mut nodes[..2 * half as usize], puncture.sibling, puncture.sibling_patch);
        // The two children of a node sum up to it, `H(x)` and `x xor H(x)`. So both sides together
        // are the sum of the level above.
        let sides = [left, puncture.patch ^ left];
        let mut left_filler = [filler];
        hash.apply(&mut left_filler);
        let fillers = [left_filler[0], filler ^ left_filler[0]];
        let chosen = transfer.lsb();
        // The true sum of the chosen side, less what stands there.
        let patch = *transfer ^ *sum ^ pick(sides, chosen);
        // The puncture is on the side that was not chosen, and its sibling on the other: the
        // puncture's slot keeps the filler's child.
        filler = pick(fillers, 1 ^ chosen);
        puncture = Puncture {
            at: puncture.at + half * (1 ^ chosen as u32),
            sibling: puncture.at + half * chosen as u32,
            sibling_patch: patch,
            patch: puncture.patch ^ patch,
        };
    }
    puncture
}

/// One of two blocks, without a branch or an index.
#[inline]
fn pick([zero, one]: [Block; 2], bit: u64) -> Block {
    zero ^ (zero ^ one).masked(bit)
}

impl Puncture {
    /// Corrects some leaves, the first of which is number `first`, and sets every lowest bit to
    /// whether it is the puncture's: `v xor u Δ`, `u` being 1 at the puncture.
    pub(crate) fn finish(&self, first: usize, nodes: &mut [Block]) {
        let patches = [(self.sibling, self.sibling_patch), (self.at, Block(self.patch.0 | 1))];
        patch(nodes, first as u32, patches);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;

    proptest! {
        #[test]
        fn the_two_trees_differ_by_delta_in_one_random_leaf(depth in 1usize..=13, seed: u64) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let hash = Hash::new(&rng.random());
            let delta = Block(rng.random::<u128>() | 1);
            let keys: Vec<Block> = (0..depth).map(|_| Block(rng.random::<u128>() & !1)).collect();
            let choices: Vec<u64> = (0..depth).map(|_| rng.random::<u64>() & 1).collect();
            let ots: Vec<Block> =
                keys.iter().zip(&choices).map(|(k, x)| *k ^ delta.masked(*x)).collect();
            let (mut owned, mut held) = (vec![Block(1); 1 << depth], vec![Block(2); 1 << depth]);
            let mut sums = vec![Block::ZERO; depth - 1];
            grow_sender(&hash, delta, &keys, &mut owned, &mut sums);
            let total = owned.iter().fold(Block::ZERO, |sum, leaf| sum ^ *leaf);
            prop_assert!(total == delta);
            let puncture = grow_receiver(&hash, &ots, &sums, &mut held);
            let (first, second) = held.split_at_mut(1 << (depth - 1));
            puncture.finish(0, first);
            puncture.finish(first.len(), second);
            let expected: usize =
                choices.iter().enumerate().map(|(l, x)| ((1 - x) as usize) << l).sum();
            prop_assert_eq!(puncture.at as usize, expected);
            for (i, (owned, held)) in owned.iter().zip(&held).enumerate() {
                let (key, is_hole) = (Block(owned.0 & !1), u64::from(i == expected));
                prop_assert!(*held == key ^ delta.masked(is_hole), "leaf {} of {}", i, 1 << depth);
            }
        }
    }
}
