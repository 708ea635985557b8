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
        let with_key = |(quads, turn): (Range<usize>, usize)| {
            let calls = (4 * quads.len()) << depth;
            // A run takes no more than a key serves, so a fresh key always has room for it.
            if self.calls + calls > CALLS {
                (self.key, self.calls) = (self.key + 1, 0);
            }
            self.calls += calls;
            Run { quads, turn, key: self.key }
        };
        turns(depth, period, count).map(with_key).collect()
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
        assert!(
            chunk < 1 << 48 && key < 1 << 40 && block < 1 << 40,
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
    use crate::Bits;
    use crate::linear::{Algorithm, Protocol};
    use crate::linear::{Geometry, Layer, layout};

    /// A convolution of 3x3 with padding.
    fn convolution(channels: usize, side: usize) -> Geometry {
        Geometry {
            in_h: side,
            in_w: side,
            kernel_h: 3,
            kernel_w: 3,
            pad_top: 1,
            pad_left: 1,
            pad_bottom: 1,
            pad_right: 1,
            ..Geometry::dense(channels, channels)
        }
    }

    fn layer(geometry: Geometry, weight_bits: u32, algorithm: Algorithm, k: u8) -> Layer {
        let protocol = if k == 0 { Protocol::Cot } else { Protocol::Vole { k } };
        Layer { geometry, weight_bits, shifts: Vec::new(), ring: Bits::of(20), algorithm, protocol }
    }

    /// Calls under every key of an expansion, `(chunk, key)`: the same in every block of columns.
    fn calls(layer: &Layer, images: usize) -> HashMap<(usize, usize), usize> {
        let classes = layer.classes();
        let columns = images * layer.products().geometry.positions();
        let mut calls = HashMap::new();
        for (number, chunk) in layout::chunks(&classes, columns).into_iter().enumerate() {
            let mut keys = Allotment::default();
            for (class, rows) in chunk
                .iter()
                .flat_map(|part| classes[part.classes.clone()].iter().map(|c| (c, &part.rows)))
            {
                let quads = class.trees_of(rows).len().div_ceil(4);
                for run in keys.runs(class.depth(), class.period().min(quads), quads) {
                    *calls.entry((number, run.key)).or_default() +=
                        (4 * run.quads.len()) << class.depth();
                }
            }
        }
        calls
    }

    /// The same of planting and growing.
    fn inner_calls(layer: &Layer) -> HashMap<(usize, usize), usize> {
        let mut calls = HashMap::new();
        for (number, class) in layer.classes().iter().enumerate() {
            for (run, trees) in runs(class.depth(), 0..class.trees()) {
                let each = (1 << class.depth()) - 2;
                // As if the trees before a run grew along with it: up to three do.
                let along = if trees.start > 0 { 3 } else { 0 };
                let grown = (trees.len() + along).next_multiple_of(4);
                *calls.entry((number, run)).or_default() += grown * each;
            }
        }
        calls
    }

    #[test]
    fn no_key_of_a_real_layer_serves_more_calls_than_the_stated_bound() {
        let direct = Algorithm::Direct;
        let layers = [
            ("64x64x3x3 on 32x32, k = 8", layer(convolution(64, 32), 4, direct, 8)),
            ("64x64x3x3 on 32x32, k = 4", layer(convolution(64, 32), 4, direct, 4)),
            ("64x64x3x3 on 32x32, cot", layer(convolution(64, 32), 8, direct, 0)),
            (
                "64x64x3x3 on 32x32, Winograd",
                layer(convolution(64, 32), 4, Algorithm::WinogradExact, 8),
            ),
            ("16x16x3x3 on 32x32", layer(convolution(16, 32), 4, direct, 8)),
            ("512x512x3x3 on 4x4", layer(convolution(512, 4), 8, direct, 8)),
            ("160x160x3x3 on 8x8", layer(convolution(160, 8), 3, direct, 8)),
            ("784 to 10", layer(Geometry::dense(784, 10), 8, direct, 8)),
            ("4096 to 1000", layer(Geometry::dense(4096, 1000), 8, direct, 8)),
        ];
        for (name, layer) in layers {
            assert!(layer.check().is_ok(), "{name}");
            for calls in [calls(&layer, 1), calls(&layer, 3), inner_calls(&layer)] {
                let most = calls.values().copied().max().unwrap();
                let bits = 128.0 - (most.max(1) as f64).log2();
                println!(
                    "{name}: {} keys, at most {most} calls under one: 2^{bits:.1}",
                    calls.len()
                );
                assert!(bits >= f64::from(SECURITY), "{name}: {most} calls under one key");
            }
            // Few keys: a schedule is worth some thousand calls.
            let calls = calls(&layer, 1);
            let mean = calls.values().sum::<usize>() / calls.len();
            assert!(mean >= CALLS / 4 || calls.len() < 32, "{name}: {mean} calls a key");
        }
    }

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
