//! A shared bit times a shared ring element.
//!
//! *Functionality.* From exclusive-or shares of `b` and additive shares of `v` in `Z_l` to shares
//! of `b v`.
//!
//! *Identity.* `b v0 = (b0 xor b1) v0 = b0 v0 + b1 (1 - 2 b0) v0`: the first term is local, the
//! second a bit of one party times a ring element of the other; likewise for `v1`.
//!
//! *Steps.* Two correlated OTs, one in each direction: the server sends its choices, and its
//! corrections for choices that are still to come; the client responds with its own of both.
//!
//! Cost: `2 (1 + l)` bits and one correlated OT in each direction; 2 rounds.
//! Security: that of the correlated OT.

use super::messages::{Incoming, Messages};
use super::product::{BitProduct, LateProduct, pass};
use super::{check_bits, check_share};
use crate::ot::Demand;
use crate::{BitShare, BitString, Bits, Clear, Cost, Error, Operator, Role, Session, Share};

/// Ring elements where a shared bit is 1, zero elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Mux {
    /// Number of elements.
    pub len: usize,
    /// Their ring.
    pub ring: Bits,
}

impl Mux {
    fn messages(&self) -> Messages {
        let mut messages = Messages::default();
        let (chosen, responded) = Selection::price(&mut messages, self.ring, self.len);
        messages.send(Role::Server, chosen);
        messages.send(Role::Client, responded);
        messages
    }
}

impl Operator for Mux {
    type Input = (BitShare, Share);
    type Output = Share;

    const NAME: &'static str = "mux";

    fn ideal(&self, (bits, values): &(BitString, Clear)) -> Clear {
        Clear {
            ring: self.ring,
            values: bits.iter().zip(&values.values).map(|(bit, v)| bit * v).collect(),
        }
    }

    fn cost(&self) -> Cost {
        self.messages().cost()
    }

    fn demands(&self) -> Vec<Demand> {
        self.messages().into_demands()
    }

    async fn run(
        &self,
        session: &mut Session,
        (bits, values): Self::Input,
    ) -> Result<Share, Error> {
        check_bits(Self::NAME, &bits, self.len)?;
        check_share(Self::NAME, &values, self.ring, self.len)?;
        let (chosen, responded) = Selection::price(&mut Messages::default(), self.ring, self.len);
        let mut outgoing = Vec::new();
        let mut selection =
            Selection::choose(session, bits.0, self.ring, values.values(), &mut outgoing)?;
        let incoming = pass(session, Role::Server, &outgoing, chosen).await?;
        let mut outgoing = Vec::new();
        selection.respond(session, values.values(), &mut Incoming::of(&incoming), &mut outgoing)?;
        let incoming = pass(session, Role::Client, &outgoing, responded).await?;
        Ok(Share::new(self.ring, selection.finish(values.values(), &mut Incoming::of(&incoming))))
    }
}

/// Selections under way: the server chooses, the client responds.
pub(super) struct Selection {
    bits: BitString,
    /// Of the server's bits and the client's values.
    of_server: BitProduct,
    /// Of the client's bits and the server's values.
    of_client: LateProduct,
}

impl Selection {
    /// The server's values must be known, the client's need not be.
    pub(super) fn choose(
        session: &mut Session,
        bits: BitString,
        ring: Bits,
        values: &[u64],
        outgoing: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        let of_server = BitProduct::choose(session, Role::Server, ring, &bits, outgoing)?;
        let of_client = LateProduct::correct(
            session,
            Role::Server,
            ring,
            bits.len(),
            || signed(&bits, values),
            outgoing,
        )?;
        Ok(Self { bits, of_server, of_client })
    }

    /// The client's half, for its values.
    pub(super) fn respond(
        &mut self,
        session: &mut Session,
        values: &[u64],
        incoming: &mut Incoming<'_>,
        outgoing: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if session.role() == Role::Client {
            self.of_server.respond(session, &signed(&self.bits, values), incoming, outgoing)?;
            self.of_client.choose(session, &self.bits, incoming, outgoing)?;
        }
        Ok(())
    }

    /// This party's shares, not reduced.
    pub(super) fn finish(self, values: &[u64], incoming: &mut Incoming<'_>) -> Vec<u64> {
        let mut shares = self.of_server.finish(incoming);
        let others = self.of_client.finish(incoming);
        for (((share, other), bit), v) in
            shares.iter_mut().zip(others).zip(self.bits.iter()).zip(values)
        {
            *share = share.wrapping_add(other).wrapping_add(v & bit.wrapping_neg());
        }
        shares
    }

    /// Adds the OTs to the messages; the bytes that the server sends to choose and that the
    /// client responds with.
    pub(super) fn price(messages: &mut Messages, ring: Bits, len: usize) -> (usize, usize) {
        let (choices, corrected) = BitProduct::price(messages, Role::Server, ring, len);
        let (corrections, chosen) = LateProduct::price(messages, Role::Server, ring, len);
        (choices + corrections, corrected + chosen)
    }
}

/// The values, negated where the bit is 1.
fn signed(bits: &BitString, values: &[u64]) -> Vec<u64> {
    let signs = bits.iter().map(u64::wrapping_neg);
    signs.zip(values).map(|(sign, v)| (v ^ sign).wrapping_sub(sign)).collect()
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
            assert_eq!(cost.bits() - 2 * 12 * 8, 64 * 2 * (1 + u64::from(width)));
            assert_eq!((cost.server_cots, cost.client_cots, cost.rounds), (64, 64, 2));
        }
    }
}
