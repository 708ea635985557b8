//! Correlated half-trees (Guo, Yang, Wang, Zhang, Xie, Liu, Zhao: Half-Tree, Eurocrypt 2023, section 3): puncturable
//! pseudorandom functions whose levels all sum up to the owner's `Δ`, so that each level of a puncturing is one
//! correlated transfer and one block.
//!
//! Node `x` has the children `H(x)` and `x xor H(x)`. The two nodes of level one are a correlated transfer itself,
//! `K` and `K xor Δ`: that level costs no block, and a tree of depth one is just the transfer.
//!
//! 1. For level `i` the holder takes the side that its hole is *not* on, `b_i = 1 - α_i`; its transfer holds
//!    `M_i = K_i xor b_i Δ`.
//! 2. The owner sends `c_i = L_i xor K_i`, `L_i` the sum of all left children of the level, for `i >= 2`.
//! 3. `M_i xor c_i = L_i xor b_i Δ` is the sum of side `b_i`. The holder knows all nodes of that side but the hole's
//!    sibling, which the sum gives.
//!
//! Security: pseudorandom but for the correlation: the hidden leaf is `Δ` xor all known ones. So leaves are only used
//! through a hash that is circular correlation robust, in a domain of their own. Circular correlation robustness of `H`
//! (ideal cipher).
//!
//! The holder's hole is secret from everybody else on its machine too: it is never an index, nodes are scanned whole.

pub(crate) mod in_place;

use super::Hash;
use crate::Block;

/// The owner's leaves, `[tree][2^depth]`, from each tree's left node of level one.
pub(crate) fn owner_leaves(hash: &Hash, roots: &[Block], delta: Block, depth: u32) -> Vec<Block> {
    let mut nodes = first_level(roots, delta);
    for _ in 1..depth {
        nodes = grow(hash, &nodes);
    }
    nodes
}

/// The owner's sums of left children, `[tree][level 2..=depth]`.
pub(crate) fn owner_sums(hash: &Hash, roots: &[Block], delta: Block, depth: u32) -> Vec<Block> {
    let levels = depth as usize - 1;
    let mut sums = vec![Block::ZERO; roots.len() * levels];
    let mut nodes = first_level(roots, delta);
    for level in 0..levels {
        nodes = grow(hash, &nodes);
        for (tree, nodes) in nodes.chunks_exact(4 << level).enumerate() {
            let left = nodes.iter().step_by(2);
            sums[tree * levels + level] = left.fold(Block::ZERO, |sum, node| sum ^ *node);
        }
    }
    sums
}

/// The holder's co-paths, `[tree][depth]`: the siblings of the nodes above its hole, from the transfers `M_1` of the
/// first level and the sums `M_i xor c_i` of the others, `[tree][level 2..=depth]`.
pub(crate) fn holder_copaths(
    hash: &Hash,
    holes: &[u32],
    first: &[Block],
    sums: &[Block],
    depth: u32,
) -> Vec<Block> {
    let (trees, depth) = (holes.len(), depth as usize);
    let mut copaths = vec![Block::ZERO; trees * depth];
    let mut nodes = vec![Block::ZERO; 2 * trees];
    for tree in 0..trees {
        copaths[tree * depth] = first[tree];
        let hole = holes[tree] >> (depth - 1);
        place(&mut nodes[2 * tree..][..2], hole, first[tree]);
    }
    for level in 1..depth {
        nodes = grow(hash, &nodes);
        for (tree, nodes) in nodes.chunks_exact_mut(2 << level).enumerate() {
            let hole = holes[tree] >> (depth - 1 - level);
            let sum = sums[tree * (depth - 1) + level - 1];
            let sibling = sum ^ side_sum(nodes, hole);
            copaths[tree * depth + level] = sibling;
            place(nodes, hole, sibling);
        }
    }
    copaths
}

/// The holder's leaves, `[tree][2^depth]`; the hole's is no more than some public function of the others.
pub(crate) fn holder_leaves(hash: &Hash, holes: &[u32], copaths: &[Block], depth: u32) -> Vec<Block> {
    let depth = depth as usize;
    let mut nodes = vec![Block::ZERO; 2 * holes.len()];
    for level in 0..depth {
        if level > 0 {
            nodes = grow(hash, &nodes);
        }
        for (tree, nodes) in nodes.chunks_exact_mut(2 << level).enumerate() {
            place(nodes, holes[tree] >> (depth - 1 - level), copaths[tree * depth + level]);
        }
    }
    nodes
}

fn first_level(roots: &[Block], delta: Block) -> Vec<Block> {
    roots.iter().flat_map(|root| [*root, *root ^ delta]).collect()
}

/// The next level of every tree: left children are hashes, right ones sum up with them to the parent.
fn grow(hash: &Hash, nodes: &[Block]) -> Vec<Block> {
    let hashes = hash.of(nodes);
    nodes.iter().zip(hashes).flat_map(|(node, left)| [left, *node ^ left]).collect()
}

/// Puts the sibling of the hole in its place, in constant time.
fn place(nodes: &mut [Block], hole: u32, sibling: Block) {
    for (index, node) in nodes.iter_mut().enumerate() {
        *node ^= (*node ^ sibling) & mask_if_equal(index as u32, hole ^ 1);
    }
}

/// The sum of the nodes on the side that the hole is not on, but for the hole's sibling.
fn side_sum(nodes: &[Block], hole: u32) -> Block {
    let right = mask_if_equal(hole & 1, 0);
    nodes.as_chunks::<2>().0.iter().enumerate().fold(Block::ZERO, |sum, (parent, [left, other])| {
        let child = *left ^ ((*left ^ *other) & right);
        sum ^ child ^ (child & mask_if_equal(parent as u32, hole >> 1))
    })
}

/// All ones where the two are equal, zero elsewhere, without a branch.
const fn mask_if_equal(a: u32, b: u32) -> Block {
    let differ = (a ^ b) as u64;
    Block(((differ.wrapping_sub(1) >> 63) as u128).wrapping_neg())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;

    proptest! {
        #[test]
        fn the_holder_knows_all_leaves_but_one_and_they_sum_up_to_delta(
            depth in 1u32..=8, trees in 0usize..5, seed in any::<u64>()) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let hash = Hash::new(&rng.random());
            let delta = Block(rng.random());
            let roots: Vec<Block> = (0..trees).map(|_| Block(rng.random())).collect();
            let holes: Vec<u32> = (0..trees).map(|_| rng.random_range(0..1 << depth)).collect();
            let leaves = owner_leaves(&hash, &roots, delta, depth);
            let sums = owner_sums(&hash, &roots, delta, depth);
            let side = |tree: usize, level: u32| u64::from(!(holes[tree] >> (depth - level)) & 1);
            let first: Vec<Block> =
                (0..trees).map(|t| roots[t] ^ delta.masked(side(t, 1))).collect();
            let sums: Vec<Block> = sums.iter().enumerate().map(|(i, left)| {
                let (tree, level) = (i / (depth as usize - 1), i % (depth as usize - 1));
                *left ^ delta.masked(side(tree, level as u32 + 2))
            }).collect();
            let copaths = holder_copaths(&hash, &holes, &first, &sums, depth);
            let known = holder_leaves(&hash, &holes, &copaths, depth);
            for (i, (a, b)) in leaves.iter().zip(&known).enumerate() {
                let hole = i % (1 << depth) == holes[i >> depth] as usize;
                prop_assert_eq!(a == b, !hole);
            }
            for tree in leaves.chunks(1 << depth) {
                prop_assert!(tree.iter().fold(delta, |sum, leaf| sum ^ *leaf) == Block::ZERO);
            }
        }
    }
}
