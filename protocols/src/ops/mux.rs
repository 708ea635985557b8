//! A shared bit times a shared ring element.
//!
//! *Functionality.* From exclusive-or shares of `b` and additive shares of `v` in `Z_l` to shares of `b v`.
//!
//! *Identity.* `b v0 = (b0 xor b1) v0 = b0 v0 + b1 (1 - 2 b0) v0`: the first term is local, the second a bit of one party
//! times a ring element of the other; likewise for `v1`.
//!
//! *Steps.* Two correlated transfers, one in each direction, at the same time.
//!
//! Cost: `2 (1 + l)` bits and one correlated transfer in each direction; 2 rounds.
//! Security: that of the correlated transfer.

use super::product::BitProduct;
use super::turn::{Heard, Script, Turn};
use super::{check_bits, check_share};
use crate::{BitShare, BitString, Bits, Clear, Cost, Error, Operator, Role, Session, Share};

/// Ring elements where a shared bit is 1, zero elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Mux {
    /// Number of elements.
    pub len: usize,
    /// Their ring.
    pub ring: Bits,
}

impl Operator for Mux {
    type Input = (BitShare, Share);
    type Output = Share;

    const NAME: &'static str = "mux";

    fn ideal(&self, (bits, values): &(BitString, Clear)) -> Clear {
        Clear { ring: self.ring, values: bits.iter().zip(&values.values).map(|(bit, v)| bit * v).collect() }
    }

    fn cost(&self) -> Cost {
        let mut script = Script::default();
        let (choices, corrections) = Selection::price(&mut script, self.ring, self.len);
        script.turn(choices, choices);
        script.turn(corrections, corrections);
        script.cost()
    }

    async fn run(&self, session: &mut Session, (bits, values): Self::Input) -> Result<Share, Error> {
        check_bits(Self::NAME, &bits, self.len)?;
        check_share(Self::NAME, &values, self.ring, self.len)?;
        let mut turn = Turn::default();
        let mut selection = Selection::ask(session, &mut turn, bits.0, self.ring)?;
        selection.asked(&mut turn.exchange(session).await?);
        let mut turn = Turn::default();
        let local = selection.answer(&mut turn, values.values());
        Ok(Share::new(self.ring, selection.answered(local, &mut turn.exchange(session).await?)))
    }
}

/// Selections under way: [`BitProduct`]s in both directions.
pub(super) struct Selection {
    bits: BitString,
    products: [BitProduct; 2],
}

impl Selection {
    pub(super) fn ask(
        session: &mut Session,
        turn: &mut Turn,
        bits: BitString,
        ring: Bits,
    ) -> Result<Self, Error> {
        let products = [
            BitProduct::ask(session, turn, Role::Server, ring, &bits)?,
            BitProduct::ask(session, turn, Role::Client, ring, &bits)?,
        ];
        Ok(Self { bits, products })
    }

    pub(super) fn asked(&mut self, heard: &mut Heard) {
        self.products.iter_mut().for_each(|product| product.asked(heard));
    }

    /// Answers for this party's shares of the values; gives its local terms.
    pub(super) fn answer(&mut self, turn: &mut Turn, values: &[u64]) -> Vec<u64> {
        let signs = self.bits.iter().map(u64::wrapping_neg);
        let correlations: Vec<u64> =
            signs.zip(values).map(|(sign, v)| (v ^ sign).wrapping_sub(sign)).collect();
        self.products.iter_mut().for_each(|product| product.answer(turn, &correlations));
        self.bits.iter().zip(values).map(|(bit, v)| v & bit.wrapping_neg()).collect()
    }

    /// This party's shares, not reduced.
    pub(super) fn answered(self, mut local: Vec<u64>, heard: &mut Heard) -> Vec<u64> {
        for product in self.products {
            let shares = product.answered(heard);
            local.iter_mut().zip(shares).for_each(|(sum, share)| *sum = sum.wrapping_add(share));
        }
        local
    }

    /// Adds the transfers to the script; the bytes of each party's choices and corrections.
    pub(super) const fn price(script: &mut Script, ring: Bits, len: usize) -> (usize, usize) {
        BitProduct::price(script, Role::Server, ring, len);
        BitProduct::price(script, Role::Client, ring, len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::testing;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn mux_obeys_the_law(width in 1u32..=64, len in 0usize..200, seed: u64) {
            let ring = Bits::of(width);
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let bits = (0..len).map(|_| rng.random::<bool>()).collect();
            let values = testing::extremes(ring, len, &mut rng);
            testing::law(&Mux { len, ring }, &(bits, Clear { ring, values }), seed);
        }
    }

    #[test]
    fn a_selection_is_two_correlated_transfers() {
        for width in 1..=64 {
            let cost = Mux { len: 64, ring: Bits::of(width) }.cost();
            assert_eq!(cost.bits() - 4 * 12 * 8, 64 * 2 * (1 + u64::from(width)));
            assert_eq!((cost.server_cots, cost.client_cots, cost.rounds), (64, 64, 2));
        }
    }
}
