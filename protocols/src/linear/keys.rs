//! The hash keys of the linear layers: which calls are made under which key, in this one place.
//!
//! A key serves some trees of a chunk that follow each other, of [`CALLS`] leaves together at the
//! most, and of these one block of columns. Trees grow under other keys: a tree has two inner nodes
//! less than leaves that are hashed, and up to three trees of the run before grow along with a run
//! that begins amid a quad.
//!
//! *Derivation.* Both parties draw one key for every expansion of a layer and for every planting of
//! a class ([`crate::Session::fresh_key`]: a nonce of the session, under a label of
//! [`crate::Domain`]). Under it, AES of a number is a key of the hash: of the chunk, of the key
//! within it, and of the column block. AES permutes blocks, so no two of an expansion are the same.
//!
//! *Security.* The hash is circular correlation robust in the ideal cipher model up to an advantage
//! of the order of `p q / 2^128`, for `p` evaluations of the cipher under the key that is attacked
//! and `q` calls under it (Guo, Katz, Wang, Yu, S&P 2020; a key for few calls: Guo, Katz, Wang,
//! Weng, Yu, Crypto 2020). With at most [`MOST`] calls under any key, whatever a layer's size,
//! [`SECURITY`] bits are left.

use std::ops::Range;

use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use crate::ot::Hash;

/// Calls of the hash under one key, at the most.
pub(super) const CALLS: usize = 1 << 12;

/// Calls under one key, at the most, those of a quad of trees of eight levels included that grows
/// along with a run.
const MOST: usize = CALLS + (4 << 8);

/// Bits of security that so many calls leave: `128 - log2(MOST)`, rounded down.
pub(super) const SECURITY: u32 = 128 - MOST.next_power_of_two().ilog2();

const _: () =
    assert!(SECURITY >= 115, "the bound that docs/protocols.md and docs/threat-model.md state");

/// Quads of trees of so many levels whose leaves one key serves.
pub(super) const fn quads(depth: u32) -> usize {
    CALLS >> (depth + 2)
}

/// Cuts trees of a class into numbered runs: no matter which trees are asked for together, a tree
/// is always in the same run.
pub(super) fn runs(depth: u32, trees: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
    // Runs begin at multiples of `each` of the class's numbers. The range cuts the first and the
    // last one short, which changes neither number nor key.
    let each = 4 * quads(depth);
    let first = trees.start / each;
    let last = if trees.is_empty() { first } else { trees.end.div_ceil(each) };
    (first..last)
        .map(move |run| (run, trees.start.max(run * each)..trees.end.min((run + 1) * each)))
}

/// Quads of trees that are expanded under one key, in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Which of those that expand together.
    pub quads: Range<usize>,
    /// The first one's number modulo the period.
    pub turn: usize,
    /// The key's number within its chunk.
    pub key: usize,
}

/// Allots keys to the trees of a chunk, one class after the other.
#[derive(Default)]
pub(super) struct Allotment {
    key: usize,
    calls: usize,
}

impl Allotment {
    /// The keys that were allotted, from the first on.
    pub(super) const fn keys(&self) -> usize {
        self.key + 1
    }

    /// The runs of so many quads, whose bundles recur after `period` of them.
    pub(super) fn runs(&mut self, depth: u32, period: usize, count: usize) -> Vec<Run> {
        turns(depth, period, count)
            .map(|(quads, turn)| {
                let calls = (4 * quads.len()) << depth;
                // A run takes no more than a key serves, so a fresh key always has room for it.
                if self.calls + calls > CALLS {
                    (self.key, self.calls) = (self.key + 1, 0);
                }
                self.calls += calls;
                Run { quads, turn, key: self.key }
            })
            .collect()
    }
}

/// Cuts quads of trees that expand together, none longer than a key serves: `(quads, the first
/// one's turn)`. A quad's turn is its number modulo the period; what is longer than a period begins
/// with one.
fn turns(depth: u32, period: usize, count: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
    let most = quads(depth);
    // Whole periods, or equal parts of each.
    let each = if period <= most { most / period * period } else { period };
    // `each` is cut into the fewest parts that are no longer than `most`: with
    // `n = ceil(each / most)`, `ceil(each / n)` is at most `most`.
    let part = each.div_ceil(each.div_ceil(most));
    (0..count).step_by(each).flat_map(move |start| {
        // `start` is a multiple of the period, so the turn is the number modulo the period. Where
        // periods are whole there is one part, whose turn is 0.
        let end = count.min(start + each);
        let parts = (start..end).step_by(part);
        parts.map(move |at| (at..end.min(at + part), (at - start) % period))
    })
}

/// The keys of one expansion, or of one planting.
pub(crate) struct Keys(Aes128Enc);

impl Keys {
    /// Those under a fresh key of the session.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let mut root = [0; 16];
        root.copy_from_slice(&key[..16]);
        Self(Aes128Enc::new(&root.into()))
    }

    /// The hash under a key of a chunk, for a block of columns.
    pub(crate) fn hash(&self, chunk: usize, key: usize, block: usize) -> Hash {
        let fits = |number: usize, bits: u32| (number as u64) < 1 << bits;
        assert!(
            fits(chunk, 48) && fits(key, 40) && fits(block, 40),
            "invariant: no layer is that large"
        );
        // The three fields of 48, 40 and 40 bits do not overlap: different triples are different
        // blocks, and different keys.
        let number = (chunk as u128) << 80 | (key as u128) << 40 | block as u128;
        let mut derived = Array(number.to_le_bytes());
        self.0.encrypt_block(&mut derived);
        let mut key = [0; 32];
        key[..16].copy_from_slice(&derived);
        Hash::new(&key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_two_keys_of_an_expansion_are_the_same() {
        let keys = Keys::new(&[7; 32]);
        let mut seen = HashMap::new();
        for chunk in 0..3 {
            for key in [0, 1, 16, 1 << 30] {
                for block in [0, 1, 1 << 20] {
                    let mut probe = [crate::Block(1)];
                    keys.hash(chunk, key, block).apply(&mut probe);
                    assert_eq!(seen.insert(probe[0].0, (chunk, key, block)), None);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn runs_hold_every_tree_once_and_always_the_same_ones(
            depth in 1u32..=8, start in 0usize..5000, len in 0usize..5000) {
            let whole: Vec<_> = runs(depth, 0..10_000).collect();
            let mut next = start;
            for (number, run) in runs(depth, start..start + len) {
                prop_assert_eq!(run.start, next);
                let within = whole.iter().any(|(of, all)| {
                    *of == number && all.start <= run.start && run.end <= all.end
                });
                prop_assert!(within);
                prop_assert!(run.len() << depth <= CALLS);
                next = run.end;
            }
            prop_assert_eq!(next, start + len);
        }

        #[test]
        fn turns_hold_every_quad_once_and_none_wraps_amid_a_period(
            depth in 1u32..=8, period in 1usize..200, count in 0usize..2000) {
            let mut next = 0;
            for (quads, turn) in turns(depth, period, count) {
                prop_assert_eq!(quads.start, next);
                prop_assert!(!quads.is_empty() && (4 * quads.len()) << depth <= CALLS);
                prop_assert_eq!(turn, quads.start % period);
                prop_assert!(turn == 0 || turn + quads.len() <= period);
                next = quads.end;
            }
            prop_assert_eq!(next, count);
        }
    }
}
