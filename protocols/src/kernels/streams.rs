//! The streams of a tree's leaves, and their sums.

use super::aes::Key;
#[cfg(target_arch = "x86_64")]
use super::aes::x86;
use super::{ROW_BLOCKS, Row};
use crate::Block;

/// Levels of the deepest tree.
const MAX_DEPTH: usize = 8;

/// The streams of the leaves of one tree: AES in counter mode, a leaf being the key.
pub(crate) struct Streams {
    leaves: Vec<Key>,
}

/// The sums of subtrees on the way: after [`Streams::sum`], that of all leaves comes last of those
/// used.
pub(crate) type Partial = [Row; MAX_DEPTH + 1];

impl Streams {
    /// The streams of `2^d` leaves, `1 <= d <= 8`.
    pub(crate) fn new(leaves: &[Block]) -> Self {
        assert!(
            leaves.len().is_power_of_two() && (2..=1 << MAX_DEPTH).contains(&leaves.len()),
            "invariant: a tree has 1 to 8 levels"
        );
        Self { leaves: leaves.iter().map(|leaf| Key::new(*leaf)).collect() }
    }

    /// Sets `planes[b]`, for every bit `b` of a leaf's number, to the sum of the streams at the
    /// position `row` of the leaves in whose number bit `b` is 1. Returns the sum over all leaves.
    /// Leaves below `first` count as zero.
    pub(crate) fn sum<'a>(
        &self,
        first: usize,
        row: u64,
        planes: &mut [Row],
        partial: &'a mut Partial,
    ) -> &'a Row {
        assert_eq!(
            self.leaves.len(),
            1 << planes.len(),
            "invariant: one plane for every level of a tree"
        );
        match self.leaves.first() {
            // SAFETY: there are wide keys only where the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Some(Key::Wide(_)) => unsafe {
                x86::sum::wide(&self.leaves, first, row, planes, partial)
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Some(Key::Middle(_)) => unsafe { middle(&self.leaves, first, row, planes, partial) },
            _ => carry(&self.leaves, first, row, planes, partial),
        }
        &partial[planes.len()]
    }
}

/// [`carry`], compiled for registers of 256 bits.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn middle(leaves: &[Key], first: usize, row: u64, planes: &mut [Row], partial: &mut Partial) {
    carry(leaves, first, row, planes, partial);
}

/// Adds subtrees of one size as a counter carries: a right one belongs to the plane of its level.
#[inline(always)]
fn carry(leaves: &[Key], first: usize, row: u64, planes: &mut [Row], partial: &mut Partial) {
    let mut sum = [Block::ZERO; ROW_BLOCKS];
    // Leaves before `number` make up subtrees, one of `2^i` leaves for every bit i that is set in
    // it. Their sums wait in `partial[i]`.
    for number in (0..leaves.len()).step_by(2) {
        stream(leaves, first, row, number, &mut partial[0]);
        stream(leaves, first, row, number + 1, &mut sum);
        // With leaf `number + 1` end as many right subtrees as its number has trailing ones, the
        // smallest a leaf.
        let level = (number + 1).trailing_ones() as usize;
        // `sum` is of the `2^i` leaves up to here, all with bit i. With the left subtree beside it,
        // it is the next level's.
        for (i, plane) in planes.iter_mut().enumerate().take(level) {
            // The first right subtree of its level finds in the plane what does not count.
            if number + 2 == 2 << i {
                *plane = sum;
            } else {
                add(plane, &sum);
            }
            add(&mut sum, &partial[i]);
        }
        // A left subtree, or the whole tree: it waits for its right one.
        partial[level] = sum;
    }
}

/// A row of one leaf's stream; zeros where the leaf is before the first that counts.
#[inline(always)]
fn stream(leaves: &[Key], first: usize, row: u64, number: usize, into: &mut Row) {
    if number < first { into.fill(Block::ZERO) } else { leaves[number].row(row, into) }
}

#[inline(always)]
fn add(row: &mut Row, other: &Row) {
    for (block, other) in row.iter_mut().zip(other) {
        *block ^= *other;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::aes::tests::variants;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_kernel_sums_as_the_definition_says(
            depth in 1usize..=8,
            seed: u128,
            first in 0usize..2,
            row in 0..u64::MAX / ROW_BLOCKS as u64,
        ) {
            let leaves: Vec<Vec<Key>> =
                (0..1 << depth).map(|y| variants(Block(seed.wrapping_mul(2 * y + 1)))).collect();
            let zeros = [Block::ZERO; ROW_BLOCKS];
            let defined = |takes: &dyn Fn(usize) -> bool| {
                let mut sum = zeros;
                let taken = leaves.iter().enumerate().filter(|(y, _)| *y >= first && takes(*y));
                for (_, leaf) in taken {
                    let mut stream = zeros;
                    leaf[0].row(row, &mut stream);
                    add(&mut sum, &stream);
                }
                sum
            };
            for kernel in 0..leaves[0].len() {
                let streams =
                    Streams { leaves: leaves.iter().map(|keys| keys[kernel].clone()).collect() };
                // What the planes held does not count.
                let (mut planes, mut partial) =
                    (vec![[Block(seed); _]; depth], [zeros; MAX_DEPTH + 1]);
                let total = *streams.sum(first, row, &mut planes, &mut partial);
                prop_assert_eq!(total, defined(&|_| true));
                for (bit, plane) in planes.iter().enumerate() {
                    prop_assert_eq!(*plane, defined(&|y| y >> bit & 1 == 1), "plane {}", bit);
                }
            }
        }
    }
}
