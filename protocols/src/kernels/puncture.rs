//! The two leaves that a receiver's tree lacks, put in place in constant time.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::equal;
use crate::Block;

/// Adds each patch to the node of its number, of nodes of which the first is number `first`, and
/// clears the lowest bits of all nodes before the last patch.
pub(crate) fn patch(nodes: &mut [Block], first: u32, patches: [(u32, Block); 2]) {
    #[cfg(target_arch = "x86_64")]
    in_registers(nodes, first, patches);
    #[cfg(not(target_arch = "x86_64"))]
    portable(nodes, first, patches);
}

#[cfg_attr(all(target_arch = "x86_64", not(test)), expect(dead_code, reason = "the twin"))]
fn portable(nodes: &mut [Block], first: u32, [cleared, last]: [(u32, Block); 2]) {
    for (number, node) in (first..).zip(nodes) {
        // The lowest bit is cleared between the patches: the first one's goes, the last one's
        // stays.
        let before = node.0 ^ cleared.1.masked(equal(number, cleared.0)).0;
        *node = Block(before & !1) ^ last.1.masked(equal(number, last.0));
    }
}

/// Every x86_64 has the instructions.
#[cfg(target_arch = "x86_64")]
fn in_registers(nodes: &mut [Block], first: u32, patches: [(u32, Block); 2]) {
    // SAFETY: blocks have 16 bytes, and every x86_64 has the instructions.
    unsafe {
        let [cleared, last] = patches.map(|(number, patch)| {
            (_mm_set1_epi32(number as i32), _mm_loadu_si128(std::ptr::from_ref(&patch).cast()))
        });
        let mut number = _mm_set1_epi32(first as i32);
        for node in nodes {
            let node = std::ptr::from_mut(node).cast::<__m128i>();
            let before = _mm_and_si128(_mm_cmpeq_epi32(number, cleared.0), cleared.1);
            let after = _mm_and_si128(_mm_cmpeq_epi32(number, last.0), last.1);
            let value = _mm_xor_si128(_mm_loadu_si128(node), before);
            let value = _mm_andnot_si128(_mm_set_epi64x(0, 1), value);
            _mm_storeu_si128(node, _mm_xor_si128(value, after));
            number = _mm_add_epi32(number, _mm_set1_epi32(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_kernel_patches_alike(
            nodes in prop::collection::vec(any::<u128>(), 1..70), first in 0u32..1 << 20,
            at in any::<[u32; 2]>(), with in any::<[u128; 2]>()) {
            let numbers = at.map(|at| first + at % (nodes.len() as u32 + 1));
            let patches = [(numbers[0], Block(with[0])), (numbers[1], Block(with[1]))];
            let mut expected: Vec<Block> = nodes.iter().copied().map(Block).collect();
            let mut patched = expected.clone();
            portable(&mut expected, first, patches);
            patch(&mut patched, first, patches);
            prop_assert!(patched == expected);
            for (number, (node, old)) in (first..).zip(patched.iter().zip(&nodes)) {
                let with_last = if number == numbers[1] { with[1] } else { 0 };
                let with_first = if number == numbers[0] { with[0] } else { 0 };
                prop_assert_eq!(node.0, (old ^ with_first) & !1 ^ with_last);
            }
        }
    }
}
