//! One level of a correlated half-tree, in place.

use super::Key;
#[cfg(target_arch = "x86_64")]
use super::{ROW_BLOCKS, aes::x86};
use crate::Block;

impl Key {
    /// Replaces the nodes `x` of the first half by their left children `H(x)` and those of the
    /// second half by the right children `x xor H(x)`, node `i` having its children in slots `i`
    /// and `i + half`. First, `patch` is added to node `at`: in constant time in both. Returns the
    /// sum of the left children.
    pub(crate) fn split(&self, nodes: &mut [Block], at: u32, patch: Block) -> Block {
        let (low, high) = nodes.split_at_mut(nodes.len() / 2);
        assert_eq!(low.len(), high.len(), "invariant: every node has two children");
        match self {
            // SAFETY: there are wide keys only where the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Wide(schedule) if low.len().is_multiple_of(ROW_BLOCKS) => unsafe {
                x86::split::wide(schedule, low, high, at, patch)
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Middle(schedule) if low.len().is_multiple_of(ROW_BLOCKS) => unsafe {
                x86::middle::split(schedule, low, high, at, patch)
            },
            _ => self.split_in_parts(low, high, at, patch),
        }
    }

    fn split_in_parts(
        &self,
        low: &mut [Block],
        high: &mut [Block],
        at: u32,
        patch: Block,
    ) -> Block {
        let mut sum = Block::ZERO;
        for (part, (low, high)) in low.chunks_mut(PART).zip(high.chunks_mut(PART)).enumerate() {
            for (i, (low, high)) in low.iter_mut().zip(high.iter_mut()).enumerate() {
                // `at` is compared with every node of the lower half; where it is none of them
                // nothing is added.
                *low ^= patch.masked(equal((part * PART + i) as u32, at));
                *high = *low;
            }
            self.hash(low);
            for (low, high) in low.iter().zip(high) {
                *high ^= *low;
                sum ^= *low;
            }
        }
        sum
    }
}

/// Nodes that are hashed together.
const PART: usize = 64;

/// 1 where the two are equal, 0 elsewhere, without a branch.
pub(crate) const fn equal(a: u32, b: u32) -> u64 {
    // Widened, the difference is below `2^32`: only zero less one has the top bit.
    ((a ^ b) as u64).wrapping_sub(1) >> 63
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::kernels::aes::tests::variants;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_kernel_splits_as_the_definition_says(level in 0u32..=8, at: u32, seed: u64) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let (key, patch) = (Block(rng.random()), Block(rng.random()));
            let half = 1 << level;
            let at = at % (2 * half as u32);
            let nodes: Vec<Block> = (0..half).map(|_| Block(rng.random())).collect();
            let mut patched = nodes.clone();
            patched.get_mut(at as usize).into_iter().for_each(|node| *node ^= patch);
            let variants = variants(key);
            let mut left = patched.clone();
            variants[0].hash(&mut left);
            let right: Vec<Block> = patched.iter().zip(&left).map(|(x, left)| *x ^ *left).collect();
            let sum = left.iter().fold(Block::ZERO, |sum, node| sum ^ *node);
            for key in &variants {
                let mut grown = [nodes.clone(), vec![patch; half]].concat();
                prop_assert!(key.split(&mut grown, at, patch) == sum);
                prop_assert!(grown[..half] == left[..] && grown[half..] == right[..]);
            }
        }
    }
}
