//! Correlated half-trees (Guo, Yang, Wang, Zhang, Xie, Liu, Zhao: Half-Tree, Eurocrypt 2023,
//! section 3): puncturable pseudorandom functions whose levels all sum up to the sender's `Δ`, so
//! that each level of a puncturing is one correlated OT and one block.
//!
//! Node `x` has the children `H(x)` and `x xor H(x)`. The two nodes of level one are a correlated
//! OT itself, `K` and `K xor Δ`: that level costs no block, and a tree of depth one is just
//! the OT.
//!
//! 1. For level `i` the receiver takes the side that its puncture is *not* on, `b_i = 1 - α_i`; its
//!    OT holds `M_i = K_i xor b_i Δ`.
//! 2. The sender sends `c_i = L_i xor K_i`, `L_i` the sum of all left children of the level, for `i
//!    >= 2`.
//! 3. `M_i xor c_i = L_i xor b_i Δ` is the sum of side `b_i`. The receiver knows all nodes of that
//!    side but the puncture's sibling, which the sum gives.
//!
//! Security: pseudorandom but for the correlation: the hidden leaf is `Δ` xor all known ones. So
//! leaves are only used through a hash that is circular correlation robust, in a domain of their
//! own. Circular correlation robustness of `H` (ideal cipher).
//!
//! The receiver's puncture is secret from everybody else on its machine too: it is never an index,
//! nodes are scanned whole.

pub(crate) mod in_place;

use zeroize::Zeroize;

use super::Hash;
use crate::Block;
use crate::kernels::Quad;

/// The sender's leaves, `[tree / 4][2^depth]`, from each tree's left node of level one.
pub(crate) fn sender_leaves(hash: &Hash, roots: &[Block], delta: Block, depth: u32) -> Vec<Quad> {
    let mut nodes = first_level(roots, delta);
    for _ in 1..depth {
        descend(hash, &mut nodes);
    }
    nodes
}

/// The sender's sums of left children, `[tree][level 2..=depth]`.
pub(crate) fn sender_sums(hash: &Hash, roots: &[Block], delta: Block, depth: u32) -> Vec<Block> {
    let levels = depth as usize - 1;
    let mut sums = vec![Block::ZERO; roots.len() * levels];
    let mut nodes = first_level(roots, delta);
    for level in 0..levels {
        descend(hash, &mut nodes);
        // Nodes of this level, `[tree / 4][2^(level + 2)]`, left children at even places.
        let four = sums.chunks_mut(4 * levels.max(1));
        for (sums, nodes) in four.zip(nodes.chunks_exact(4 << level)) {
            let sum = nodes.iter().step_by(2).fold(Quad::ZERO, |sum, node| sum ^ *node);
            for (sums, sum) in sums.chunks_exact_mut(levels).zip(sum.0) {
                sums[level] = sum;
            }
        }
    }
    wipe(&mut nodes);
    sums
}

/// The receiver's co-paths, `[tree][depth]`: the siblings of the nodes above its puncture, from the
/// OTs `M_1` of the first level and the sums `M_i xor c_i` of the others, `[tree][level
/// 2..=depth]`.
pub(crate) fn receiver_copaths(
    hash: &Hash,
    punctures: &[u32],
    first: &[Block],
    sums: &[Block],
    depth: u32,
) -> Vec<Block> {
    let (trees, depth) = (punctures.len(), depth as usize);
    let mut copaths = vec![Block::ZERO; trees * depth];
    let mut nodes = vec![Quad::ZERO; 2 * trees.div_ceil(4)];
    for level in 0..depth {
        if level > 0 {
            descend(hash, &mut nodes);
        }
        let four = nodes.chunks_exact_mut(2 << level).zip(punctures.chunks(4));
        for (group, (nodes, punctures)) in four.enumerate() {
            // The node above the puncture on this level has as its number the puncture's high bits.
            // Its slot holds what has grown from zero.
            let punctures = std::array::from_fn(|i: usize| {
                punctures.get(i).map_or(0, |puncture| puncture >> (depth - 1 - level))
            });
            // On level one the OT is the sibling itself; below, the sum of its side less all
            // other nodes of that side is.
            let known = if level > 0 { side_sum(nodes, punctures) } else { Quad::ZERO };
            let siblings = Quad(std::array::from_fn(|i| {
                let tree = (4 * group + i).min(trees - 1);
                let sum =
                    if level > 0 { sums[tree * (depth - 1) + level - 1] } else { first[tree] };
                sum ^ known.0[i]
            }));
            for (i, sibling) in siblings.0.into_iter().enumerate().take(trees - 4 * group) {
                copaths[(4 * group + i) * depth + level] = sibling;
            }
            place(nodes, punctures, siblings);
        }
    }
    wipe(&mut nodes);
    copaths
}

/// The receiver's leaves, `[tree / 4][2^depth]`; the puncture's is no more than some public
/// function of the others.
pub(crate) fn receiver_leaves(
    hash: &Hash,
    punctures: &[u32],
    copaths: &[Block],
    depth: u32,
) -> Vec<Quad> {
    let depth = depth as usize;
    let mut nodes = vec![Quad::ZERO; 2 * punctures.len().div_ceil(4)];
    for level in 0..depth {
        if level > 0 {
            descend(hash, &mut nodes);
        }
        let four = nodes.chunks_exact_mut(2 << level).zip(punctures.chunks(4));
        for ((nodes, punctures), copaths) in four.zip(copaths.chunks(4 * depth)) {
            place(
                nodes,
                std::array::from_fn(|i: usize| {
                    punctures.get(i).map_or(0, |puncture| puncture >> (depth - 1 - level))
                }),
                Quad(std::array::from_fn(|i: usize| {
                    copaths.get(i * depth + level).copied().unwrap_or_default()
                })),
            );
        }
    }
    nodes
}

/// The next level of nodes in place of this one, which is wiped: leaves follow from it.
fn descend(hash: &Hash, nodes: &mut Vec<Quad>) {
    let below = hash.grow(nodes);
    wipe(nodes);
    *nodes = below;
}

/// Clears nodes that are of no use any more.
fn wipe(nodes: &mut [Quad]) {
    bytemuck::cast_slice_mut::<Quad, u64>(nodes).zeroize();
}

/// The nodes of level one, `[tree / 4][2]`; trees that are missing from the last four are zero.
fn first_level(roots: &[Block], delta: Block) -> Vec<Quad> {
    let delta = Quad([delta; 4]);
    roots
        .chunks(4)
        .map(|roots| Quad(std::array::from_fn(|i| roots.get(i).copied().unwrap_or_default())))
        .flat_map(|left| [left, left ^ delta])
        .collect()
}

/// Puts the sibling of each tree's puncture in its place, in constant time.
fn place(nodes: &mut [Quad], punctures: [u32; 4], siblings: Quad) {
    let siblings: [u64; 8] = bytemuck::cast(siblings);
    // Siblings differ in the lowest bit. Every node is written, as itself or as the sibling, by
    // words of 64 bits.
    let places: [u64; 8] = std::array::from_fn(|i| u64::from(punctures[i / 2] ^ 1));
    for (index, node) in bytemuck::cast_slice_mut::<Quad, [u64; 8]>(nodes).iter_mut().enumerate() {
        for ((half, sibling), place) in node.iter_mut().zip(siblings).zip(places) {
            *half ^= (*half ^ sibling) & mask_if_equal(index as u64, place);
        }
    }
}

/// The sums of each tree's nodes on the side that its puncture is not on, but for the puncture's
/// sibling.
fn side_sum(nodes: &[Quad], punctures: [u32; 4]) -> Quad {
    // All ones where the puncture is on the left, so that the right children are summed up. The
    // puncture's parent is left out: its child on this side is the sibling.
    let right: [u64; 8] =
        std::array::from_fn(|i| mask_if_equal(u64::from(punctures[i / 2]) & 1, 0));
    let parents: [u64; 8] = std::array::from_fn(|i| u64::from(punctures[i / 2]) >> 1);
    let mut sum = [0u64; 8];
    let pairs = bytemuck::cast_slice::<Quad, [u64; 8]>(nodes).as_chunks::<2>().0;
    for (parent, [left, other]) in pairs.iter().enumerate() {
        for i in 0..8 {
            let child = left[i] ^ ((left[i] ^ other[i]) & right[i]);
            sum[i] ^= child & !mask_if_equal(parent as u64, parents[i]);
        }
    }
    bytemuck::cast(sum)
}

/// All ones where the two numbers below `2^63` are equal, zero elsewhere, without a branch.
const fn mask_if_equal(a: u64, b: u64) -> u64 {
    // Of numbers below `2^63`, only zero less one has the top bit.
    ((a ^ b).wrapping_sub(1) >> 63).wrapping_neg()
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
            depth in 1u32..=8, trees in 0usize..10, seed in any::<u64>()) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let hash = Hash::new(&rng.random());
            let delta = Block(rng.random());
            let roots: Vec<Block> = (0..trees).map(|_| Block(rng.random())).collect();
            let punctures: Vec<u32> = (0..trees).map(|_| rng.random_range(0..1 << depth)).collect();
            let one_by_one = |leaves: Vec<Quad>| -> Vec<Block> {
                let leaf =
                    |tree: usize, leaf: usize| leaves[((tree / 4) << depth) + leaf].0[tree % 4];
                (0..trees << depth).map(|i| leaf(i >> depth, i % (1 << depth))).collect()
            };
            let leaves = one_by_one(sender_leaves(&hash, &roots, delta, depth));
            let sums = sender_sums(&hash, &roots, delta, depth);
            let side = |tree: usize, level: u32| {
                u64::from(!(punctures[tree] >> (depth - level)) & 1)
            };
            let first: Vec<Block> =
                (0..trees).map(|t| roots[t] ^ delta.masked(side(t, 1))).collect();
            let sums: Vec<Block> = sums
                .iter()
                .enumerate()
                .map(|(i, left)| {
                    let (tree, level) = (i / (depth as usize - 1), i % (depth as usize - 1));
                    *left ^ delta.masked(side(tree, level as u32 + 2))
                })
                .collect();
            let copaths = receiver_copaths(&hash, &punctures, &first, &sums, depth);
            let known = one_by_one(receiver_leaves(&hash, &punctures, &copaths, depth));
            for (i, (a, b)) in leaves.iter().zip(&known).enumerate() {
                let puncture = i % (1 << depth) == punctures[i >> depth] as usize;
                prop_assert_eq!(a == b, !puncture);
            }
            for tree in leaves.chunks(1 << depth) {
                prop_assert!(tree.iter().fold(delta, |sum, leaf| sum ^ *leaf) == Block::ZERO);
            }
        }
    }
}
