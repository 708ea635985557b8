//! Parameters of regular LPN, and how many trees a demand takes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Block;

/// A parameter set of regular LPN over bits. Named by its depth.
///
/// A set has a secret of `k` bits and `t` noisy positions, one in each of `t` blocks of `2^depth`
/// samples. Every sample is the sum of ten bits of the secret and its noise.
///
/// | depth | t | k | bits an OT | gives at a time | attacks on sparse rows | others |
/// |---|---|---|---|---|---|---|
/// | 9 | 640 | 2^16 | 2.56 | 0.3 M | 2^136 to 2^144 | 2^206 |
/// | 10 | 850 | 2^17 | 1.34 | 0.7 M | 2^134 to 2^142 | 2^204 |
/// | 11 | 1170 | 2^18 | 0.71 | 2.1 M | 2^132 to 2^140 | 2^200 |
/// | 12 | 1520 | 2^19 | 0.38 | 5.7 M | 2^130 to 2^138 | 2^198 |
/// | 13 | 1900 | 2^20 | 0.20 | 14.5 M | 2^130 to 2^137 | 2^198 |
///
/// **Security.** Regular LPN with a public code of ten ones a row. The attack that binds takes the
/// rows' sparseness (Chen, Shu, Zhou, arXiv 2407.19215): choose a subset of the secret's positions,
/// keep the samples whose ten indices all fall into it, and solve those alone. A subset of
/// `N = 0.84 k (k/n)^(1/9)` unknowns, 0.62 to 0.71 of all, still has as many samples, so that fewer
/// of them must be free of noise. The first figure gives the attacker six noisy equations among
/// them for nothing and sparse linear algebra, `30 N^2` (Wiedemann); the second makes it pay for
/// errors by meeting in the middle. Secrets of half the length, as `emp-ot` has them (2026), come
/// to 2^71 and 2^77.
///
/// The other estimates take the code for random, with six errors for nothing too: pooled Gaussian
/// elimination, and guessing zeros and linearizing the products of two samples of a block (Briaud,
/// Øygarden, Eurocrypt 2023; Strassen's exponent). `attacks.rs` computes all of them, refuses any
/// set below 2^128, and runs the first on small instances. Information set and statistical
/// decoding of random codes (Liu, Wang, Yang, Yu, ePrint 2022/712; Esser, Santini, Crypto 2024)
/// are weaker than these. Ten ones are an even number: the secret counts up to complement, a bit
/// less of `k`. Cryptanalysis of *regular* noise and of sparse codes is young; SoftSpoken rests on
/// no such assumption.
///
/// A batch may use fewer trees than `t`: what is seen of the code then is a part of what the full
/// set would show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Parameters(u8);

impl Parameters {
    /// The smallest set.
    pub const SMALLEST: Self = Self(9);

    /// The set of a depth, or `None` where there is none.
    pub const fn new(depth: u8) -> Option<Self> {
        if depth >= 9 && depth <= 13 { Some(Self(depth)) } else { None }
    }

    /// Every set, small ones first.
    pub fn all() -> impl Iterator<Item = Self> {
        (9..=13).map(Self)
    }

    /// Levels of a tree.
    pub const fn depth(self) -> usize {
        self.0 as usize
    }

    /// `t`: trees of a whole batch.
    pub const fn trees(self) -> usize {
        match self.0 {
            9 => 640,
            10 => 850,
            11 => 1170,
            12 => 1520,
            _ => 1900,
        }
    }

    /// `k`: length of the secret. A shorter one falls to attacks on sparse rows.
    pub const fn secret(self) -> usize {
        1 << (self.0 + 7)
    }

    /// OTs that are kept back for the next batch: the secret, and one a level of every tree.
    pub const fn reserve(self) -> usize {
        self.reserve_of(self.trees())
    }

    /// OTs that a batch of so many trees uses up.
    pub(super) const fn reserve_of(self, trees: usize) -> usize {
        self.secret() + trees * self.depth()
    }

    /// OTs that a batch of so many trees gives, those that it uses up replaced.
    pub(super) const fn gain(self, trees: usize) -> usize {
        (trees << self.depth()) - self.reserve_of(trees)
    }

    /// Bits of one more OT: of a tree, less the OTs that it uses up.
    pub(in crate::ot) fn bits(self) -> f64 {
        let tree = (self.depth() - 1) * 8 * Block::BYTES;
        tree as f64 / ((1 << self.depth()) - self.depth()) as f64
    }

    /// The batches that give at least `demand` OTs, by their number of trees.
    pub(super) fn batches(self, demand: usize) -> impl Iterator<Item = Batch> {
        let mut left = demand;
        std::iter::from_fn(move || {
            // The fewest trees t with `t 2^depth - (k + t depth)` at least what is left: a whole
            // batch as long as that is more trees than it has.
            let least = (left + self.secret()).div_ceil((1 << self.depth()) - self.depth());
            let trees = least.min(self.trees());
            let wanted = left.min(self.gain(trees));
            left -= wanted;
            let kept = self.reserve_of(trees);
            (wanted > 0).then_some(Batch { parameters: self, trees, kept, wanted })
        })
    }

    /// The set that makes this set's first reserve; SoftSpoken makes that of the smallest.
    const fn predecessor(self) -> Option<Self> {
        match self.0 {
            9 => None,
            10 | 11 => Some(Self::SMALLEST),
            _ => Some(Self(11)),
        }
    }

    /// The batches that make this set's first reserve, each out of the one before it, and how many
    /// OTs the first of them starts with.
    pub(super) fn bootstrap(self) -> (usize, Vec<Batch>) {
        let (mut set, mut wanted) = (self, self.reserve());
        let mut batches = Vec::new();
        while let Some(parameters) = set.predecessor() {
            let trees = wanted.div_ceil(1 << parameters.depth());
            batches.push(Batch { parameters, trees, kept: 0, wanted });
            (set, wanted) = (parameters, parameters.reserve_of(trees));
        }
        batches.reverse();
        (wanted, batches)
    }
}

/// One batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) parameters: Parameters,
    /// Its trees.
    pub(super) trees: usize,
    /// OTs that replace those that it uses up.
    pub(super) kept: usize,
    /// Further OTs that are wanted of it; the rest of the last tree is dropped.
    pub(super) wanted: usize,
}

impl Batch {
    /// OTs that it uses up.
    #[cfg(test)]
    pub(super) const fn used(&self) -> usize {
        self.parameters.reserve_of(self.trees)
    }

    /// Bytes that the sender sends: a block for every level but the first of every tree.
    pub(super) const fn message_len(&self) -> usize {
        self.trees * (self.parameters.depth() - 1) * Block::BYTES
    }
}

impl From<Parameters> for u8 {
    fn from(parameters: Parameters) -> Self {
        parameters.0
    }
}

impl TryFrom<u8> for Parameters {
    type Error = String;

    fn try_from(depth: u8) -> Result<Self, String> {
        Self::new(depth)
            .ok_or_else(|| format!("Ferret has parameter sets of depth 9 to 13, found {depth}"))
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn batches_give_what_is_wanted_and_less_than_a_tree_more(
            depth in 9u8..=13,
            demand in 0usize..50_000_000,
        ) {
            let set = Parameters::new(depth).unwrap();
            let batches: Vec<Batch> = set.batches(demand).collect();
            let (wanted, gain) =
                batches.iter().fold((0, 0), |(w, g), b| (w + b.wanted, g + set.gain(b.trees)));
            prop_assert_eq!(wanted, demand);
            prop_assert!(gain - demand < 1 << depth);
            for (at, batch) in batches.iter().enumerate() {
                prop_assert!((1..=set.trees()).contains(&batch.trees));
                prop_assert!(batch.used() <= set.reserve() && batch.kept == batch.used());
                prop_assert!(at + 1 == batches.len() || batch.trees == set.trees());
            }
        }
    }

    #[test]
    fn no_set_takes_more_than_its_bits_a_transfer() {
        for (set, most) in Parameters::all().zip([2.56, 1.34, 0.721, 0.382, 0.202]) {
            let whole = set.batches(usize::MAX >> 8).next().unwrap();
            assert_eq!(whole.trees, set.trees());
            let bits = 8.0 * whole.message_len() as f64 / whole.wanted as f64;
            assert!(bits < most && bits > most - 0.02, "{bits}");
        }
    }

    /// A batch shows no more of a code than its full set would, also where it starts another set.
    #[test]
    fn every_set_starts_from_batches_within_their_sets() {
        for set in Parameters::all() {
            let (first, batches) = set.bootstrap();
            assert!(first <= Parameters::SMALLEST.reserve(), "{set}: {first}");
            let mut made = first;
            for batch in batches {
                assert!(batch.trees <= batch.parameters.trees(), "{set}: {batch:?}");
                assert_eq!(batch.used(), made);
                made = batch.wanted;
            }
            assert_eq!(made, set.reserve());
        }
    }
}
