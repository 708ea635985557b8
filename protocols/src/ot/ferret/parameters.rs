//! Parameters of regular LPN, and how many trees a demand takes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Block;

/// A parameter set of regular LPN over bits: a secret of `k` bits, `t` noisy positions, one in each of `t` blocks of
/// `2^depth` samples, every sample the sum of ten bits of the secret and its noise. Named by its depth.
///
/// | depth | t | k | bits a transfer | gives at a time |
/// |---|---|---|---|---|
/// | 10 | 850 | 2^16 | 1.23 | 0.8 M |
/// | 11 | 1170 | 2^17 | 0.66 | 2.3 M |
/// | 12 | 1520 | 2^18 | 0.36 | 5.9 M |
/// | 13 | 1900 | 2^19 | 0.19 | 15.0 M |
///
/// **Security.** The sets are those of the library `emp-ot` (2026), chosen for 128 bits against all published attacks on
/// regular LPN by the estimator of Yu, Yang, Wang et al. (lpnestimator.com, 2025): Gaussian elimination, information set
/// decoding and statistical decoding (Liu, Wang, Yang, Yu, ePrint 2022/712), regular information set decoding (Esser, Santini,
/// Crypto 2024), algebraic attacks (Briaud, Øygarden, Eurocrypt 2023; "AGB 2.0", ePrint 2025/1476) and their hybrid (ePrint
/// 2025/1284), which binds. Recomputed here: pooled Gaussian elimination takes 2^139 to 2^147; guessing zeros and linearising
/// the products of two samples of a block takes 2^131 to 2^132 with Strassen's algorithm (both are tests of this file). There is no
/// margin beyond that: with the best exponent known for matrices, 2.37, the latter would be 2^115 to 2^120, and cryptanalysis of
/// *regular* noise is young. SoftSpoken rests on no such assumption.
///
/// A batch may use fewer trees than `t`: what is seen of the code then is a part of what the full set would show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Parameters(u8);

impl Parameters {
    /// The smallest set.
    pub const SMALLEST: Self = Self(10);

    /// The set of a depth, or `None` where there is none.
    pub const fn new(depth: u8) -> Option<Self> {
        if depth >= 10 && depth <= 13 { Some(Self(depth)) } else { None }
    }

    /// Every set, small ones first.
    pub fn all() -> impl Iterator<Item = Self> {
        (10..=13).map(Self)
    }

    /// Levels of a tree.
    pub const fn depth(self) -> usize {
        self.0 as usize
    }

    /// `t`: trees of a whole batch.
    pub const fn trees(self) -> usize {
        match self.0 {
            10 => 850,
            11 => 1170,
            12 => 1520,
            _ => 1900,
        }
    }

    /// `k`: length of the secret.
    pub const fn secret(self) -> usize {
        1 << (self.0 + 6)
    }

    /// Transfers that are kept back for the next batch: the secret, and one a level of every tree.
    pub const fn reserve(self) -> usize {
        self.reserve_of(self.trees())
    }

    /// Transfers that a batch of so many trees uses up.
    pub(super) const fn reserve_of(self, trees: usize) -> usize {
        self.secret() + trees * self.depth()
    }

    /// Transfers that a batch of so many trees gives, those that it uses up replaced.
    pub(super) const fn gain(self, trees: usize) -> usize {
        (trees << self.depth()) - self.reserve_of(trees)
    }

    /// Bits of one more transfer: of a tree, less the transfers that it uses up.
    pub(in crate::ot) fn bits(self) -> f64 {
        let tree = (self.depth() - 1) * 8 * Block::BYTES;
        tree as f64 / ((1 << self.depth()) - self.depth()) as f64
    }

    /// The batches that give at least `demand` transfers, by their number of trees.
    pub(super) fn batches(self, demand: usize) -> impl Iterator<Item = Batch> {
        let mut left = demand;
        std::iter::from_fn(move || {
            let least = (left + self.secret()).div_ceil((1 << self.depth()) - self.depth());
            let trees = least.min(self.trees());
            let wanted = left.min(self.gain(trees));
            left -= wanted;
            let kept = self.reserve_of(trees);
            (wanted > 0).then_some(Batch { parameters: self, trees, kept, wanted })
        })
    }

    /// The batch of the smallest set that makes this set's first reserve.
    pub(super) const fn bootstrap(self) -> Batch {
        let parameters = Self::SMALLEST;
        let wanted = self.reserve();
        let trees = wanted.div_ceil(1 << parameters.depth());
        Batch { parameters, trees, kept: 0, wanted }
    }
}

/// One batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) parameters: Parameters,
    /// Its trees.
    pub(super) trees: usize,
    /// Transfers that replace those that it uses up.
    pub(super) kept: usize,
    /// Further transfers that are wanted of it; the rest of the last tree is dropped.
    pub(super) wanted: usize,
}

impl Batch {
    /// Transfers that it uses up.
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
            .ok_or_else(|| format!("Ferret has parameter sets of depth 10, 11, 12 and 13, found {depth}"))
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
        fn batches_give_what_is_wanted_and_less_than_a_tree_more(depth in 10u8..=13, demand in 0usize..50_000_000) {
            let set = Parameters::new(depth).unwrap();
            let batches: Vec<Batch> = set.batches(demand).collect();
            let (wanted, gain) = batches.iter().fold((0, 0), |(w, g), b| (w + b.wanted, g + set.gain(b.trees)));
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
        for (set, most) in Parameters::all().zip([1.24, 0.67, 0.363, 0.195]) {
            let whole = set.batches(usize::MAX >> 8).next().unwrap();
            assert_eq!(whole.trees, set.trees());
            let bits = 8.0 * whole.message_len() as f64 / whole.wanted as f64;
            assert!(bits < most && bits > most - 0.02, "{bits}");
        }
    }

    /// All positions of an information set free of noise, spread over the blocks; elimination with the exponent 2.8.
    #[test]
    fn gaussian_elimination_takes_more_than_128_bits() {
        for set in Parameters::all() {
            let (t, k) = (set.trees() as f64, set.secret() as f64);
            let free = 1.0 - (k - t) / t / (1u64 << set.depth()) as f64;
            let bits = -t * free.log2() + 2.8 * k.log2();
            assert!(bits > 138.0, "{set}: {bits}");
        }
    }

    /// Guess `f` zeros in every block, each a linear equation in the secret, as is the sum of a block; then the products of any two
    /// other samples of a block are zero: as many quadratic equations as monomials, by elimination with the exponent 2.81.
    #[test]
    fn guessing_and_linearising_takes_more_than_128_bits() {
        for set in Parameters::all() {
            let (t, k, block) = (set.trees() as f64, set.secret() as f64, (1u64 << set.depth()) as f64);
            let cost = |f: f64| {
                let (unknowns, others) = (k - t - f * t, block - f - 1.0);
                let monomials = unknowns * unknowns / 2.0;
                let enough = t * others * others / 2.0 >= monomials;
                enough.then(|| -t * (1.0 - f / block).log2() + 2.81 * monomials.log2())
            };
            let most = (k / t) as u32 - 2;
            let bits = (0..most * 10).filter_map(|f| cost(f64::from(f) / 10.0)).fold(f64::INFINITY, f64::min);
            assert!(bits > 130.0 && bits < 140.0, "{set}: {bits}");
        }
    }
}
