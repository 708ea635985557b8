//! Punctured trees: a pseudorandom function on `2^d` leaves, all of which its sender knows, and all
//! but one its peer.
//!
//! **Functionality.** The sender gets `2^d` random leaves; the peer, for a point `α` of its choice,
//! the leaves other than `α`, the one for `y` in slot `y xor α` and zero in slot 0.
//!
//! **Protocol** (the tree of Goldreich, Goldwasser and Micali, punctured as in Roy: SoftSpokenOT,
//! Crypto 2022, without the consistency check), from `d` base OTs, of which the peer has
//! chosen number `j` by the complement of bit `j` of `α`, most significant bit first:
//! 1. The two nodes of the first level are the two keys of the first base OT.
//! 2. A node `s` has the children `H(s)` and `H(s xor 1)`.
//! 3. For every further level the sender sends the exclusive or of all left children and that of
//!    all right children, each encrypted under the key of this level's base OT.
//! 4. The peer, who knows all nodes of the level above but one, knows all children but two; with
//!    the sum of the side on which `α` is not, it gets one of these.
//!
//! The peer stores nodes relative to `α`: the unknown one is always in slot 0, so that no index and
//! no branch depends on `α`; only which child goes left is selected by masks.
//!
//! **Cost:** 32 bytes for every level but the first, from the sender.
//!
//! **Security:** `H` is a correlation-robust hash, hence a length-doubling generator on random
//! nodes; of the two sums of a level the peer can decrypt one. A tree has a hash key of its own,
//! for fewer than `2^(d + 1)` calls: 2^119 evaluations of the cipher to hit one of those of the
//! deepest tree.

use zeroize::Zeroizing;

use super::Hash;
use crate::Block;

/// Blocks that the sender of a tree of `depth` levels sends.
pub(super) const fn corrections(depth: usize) -> usize {
    2 * (depth - 1)
}

/// The sender's leaves, and the corrections that it sends.
pub(super) fn grow(hash: &Hash, pairs: &[[Block; 2]]) -> (Zeroizing<Vec<Block>>, Vec<Block>) {
    let mut nodes = Zeroizing::new(pairs[0].to_vec());
    let mut message = Vec::with_capacity(corrections(pairs.len()));
    for pair in &pairs[1..] {
        nodes = double(hash, &nodes);
        // Left children have even places: the sum from place 0 on is theirs, from place 1 on that
        // of the right ones.
        message.extend((0..2).map(|side| sum(&nodes[side..]) ^ pair[side]));
    }
    (nodes, message)
}

/// The peer's leaves, relative to the point whose bits are `point`, most significant first.
pub(super) fn puncture(
    hash: &Hash,
    point: &[u64],
    chosen: &[Block],
    corrections: &[Block],
) -> Zeroizing<Vec<Block>> {
    // Slot s holds node `s xor α`, α being cut to its high bits of the levels so far. So the
    // unknown node is in slot 0, and slot 1 is its sibling.
    let mut nodes = Zeroizing::new(vec![Block::ZERO, chosen[0]]);
    for (level, (&bit, &key)) in point.iter().zip(chosen).enumerate().skip(1) {
        nodes = double(hash, &nodes);
        // A parent's slot keeps its place; its children swap where α goes right, so that the side
        // of α has the even slots.
        for [left, right] in nodes.as_chunks_mut::<2>().0 {
            let swap = (*left ^ *right).masked(bit);
            *left ^= swap;
            *right ^= swap;
        }
        nodes[..2].fill(Block::ZERO);
        let [left, right] = [corrections[2 * level - 2], corrections[2 * level - 1]];
        // The odd slots are the side on which α is not. Its sum less all that is known of it is the
        // one that is missing, in slot 1.
        let other_side = right ^ (left ^ right).masked(bit);
        nodes[1] = other_side ^ key ^ sum(&nodes[1..]);
    }
    nodes
}

/// The children of every node.
fn double(hash: &Hash, nodes: &[Block]) -> Zeroizing<Vec<Block>> {
    let mut children = Zeroizing::new(Vec::with_capacity(2 * nodes.len()));
    children.extend(nodes.iter().flat_map(|node| [*node, *node ^ Block(1)]));
    hash.apply(&mut children);
    children
}

/// The exclusive or of every other node, from the first on.
fn sum(nodes: &[Block]) -> Block {
    nodes.iter().step_by(2).fold(Block::ZERO, |sum, node| sum ^ *node)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_peer_knows_every_leaf_but_one(
            pairs in prop::collection::vec(any::<[u128; 2]>(), 1..=8),
            point: usize,
            key: [u8; 32],
        ) {
            let depth = pairs.len();
            let point = point % (1 << depth);
            let hash = Hash::new(&key);
            let pairs: Vec<[Block; 2]> = pairs.iter().map(|pair| pair.map(Block)).collect();
            let bits: Vec<u64> = (0..depth).rev().map(|bit| (point >> bit) as u64 & 1).collect();
            let chosen: Vec<Block> =
                pairs.iter().zip(&bits).map(|(p, bit)| p[1 - *bit as usize]).collect();
            let (leaves, message) = grow(&hash, &pairs);
            prop_assert_eq!(message.len(), corrections(depth));
            let punctured = puncture(&hash, &bits, &chosen, &message);
            prop_assert!(punctured[0] == Block::ZERO);
            for (y, leaf) in leaves.iter().enumerate().filter(|(y, _)| *y != point) {
                prop_assert!(punctured[y ^ point] == *leaf, "leaf {} of {}", y, leaves.len());
            }
        }
    }
}
