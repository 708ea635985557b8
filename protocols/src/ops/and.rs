//! AND of shared bits: one shared operand with each of several others.
//!
//! *Functionality.* From exclusive-or shares of `v` and `u_1 .. u_n` to shares of `u_1 v .. u_n v`.
//!
//! *Steps* (Beaver 1991, with products from random OTs of n-bit strings, one in each
//! direction):
//! 1. where this party sends, `a = r0 xor r1` and `r0` is its share of `a b'`; where it receives,
//!    `b = x` and `r_x` is its share of `a' b`; so both hold shares of `(a xor a') (b xor b')`, for
//!    nothing;
//! 2. both open `d_j = u_j xor a_j` and `e = v xor b`;
//! 3. the share of `u_j v` is `(ab)_j xor e u_j xor d_j b`, with this party's own `u_j` and `b`:
//!    the sum is `ab xor e u xor d b = ab xor uv xor ub xor ub xor ab = uv`.
//!
//! Cost: `2 (n + 1)` bits, 4 for one AND, and one correlated OT in each direction; 1 round.
//! Security: `a` and `b` are random to the other party and used once; semi-honest, `H` correlation
//! robust.

use super::messages::{Incoming, Messages};
use crate::ot::{Demand, Random, Use};
use crate::{BitShare, BitString, Bits, Cost, Error, Operator, Role, Session};

/// AND of `len` shared bits with `others` other vectors of as many bits.
#[derive(Clone, Copy, Debug)]
pub struct And {
    /// Bits of the shared operand.
    pub len: usize,
    /// How many other operands, 1 to 64.
    pub others: usize,
}

impl And {
    fn messages(&self) -> Messages {
        let mut messages = Messages::default();
        let bytes = Products::price(&mut messages, self.len, self.others);
        messages.exchange(bytes);
        messages
    }
}

impl Operator for And {
    /// The shared operand, and the others one after the other.
    type Input = (BitShare, BitShare);
    type Output = BitShare;

    const NAME: &'static str = "and";

    fn ideal(&self, (shared, others): &(BitString, BitString)) -> BitString {
        (0..self.others).fold(BitString::zeros(0), |product, j| {
            product.concat(&others.slice(j * self.len..(j + 1) * self.len).and(shared))
        })
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
        (shared, others): Self::Input,
    ) -> Result<BitShare, Error> {
        let expected = (self.len, self.len.checked_mul(self.others));
        if expected != (shared.0.len(), Some(others.0.len())) || !(1..=64).contains(&self.others) {
            let found = format!("{} and {}", shared.0.len(), others.0.len());
            return Err(Error::invalid("operands of and", format!("{self:?}"), found));
        }
        let others =
            (0..self.others).map(|j| others.0.slice(j * self.len..(j + 1) * self.len)).collect();
        let products = Products::open(session, &shared.0, others)?;
        let mut outgoing = Vec::new();
        products.send(&mut outgoing);
        let incoming = session.channel.exchange(&outgoing).await?;
        let products = products.close(&mut Incoming::of(&incoming));
        Ok(BitShare(products.iter().fold(BitString::zeros(0), |all, product| all.concat(product))))
    }
}

/// Products whose operands are masked and on their way.
pub(crate) struct Products {
    /// This party's `u_j`.
    others: Vec<BitString>,
    /// This party's `b`.
    factor: BitString,
    /// This party's shares of `a_j b`.
    triples: Vec<BitString>,
    /// This party's shares of `d_j`, then of `e`.
    masked: Vec<BitString>,
}

impl Products {
    /// Step 1: products of `shared` with each of `others`, masked.
    pub(crate) fn open(
        session: &mut Session,
        shared: &BitString,
        others: Vec<BitString>,
    ) -> Result<Self, Error> {
        let sent = Random::sender(session, shared.len(), others.len())?;
        let received = Random::receiver(session, shared.len(), others.len())?;
        let factor = received.factor.into_iter().next().unwrap_or_default();
        let local = sent.factor.iter().map(|a| a.and(&factor));
        let cross = sent.known.iter().zip(&received.known).map(|(r0, rx)| r0.xor(rx));
        let triples = local.zip(cross).map(|(local, cross)| local.xor(&cross)).collect();
        let mut masked: Vec<_> = others.iter().zip(&sent.factor).map(|(u, a)| u.xor(a)).collect();
        masked.push(shared.xor(&factor));
        Ok(Self { others, factor, triples, masked })
    }

    /// Step 2: this party's half of the openings; the peer's is as long.
    pub(crate) fn send(&self, outgoing: &mut Vec<u8>) {
        self.masked.iter().for_each(|bits| outgoing.extend(bits.to_bytes()));
    }

    /// Step 3: this party's shares of the products.
    pub(crate) fn close(self, incoming: &mut Incoming<'_>) -> Vec<BitString> {
        let (len, bytes) = (self.factor.len(), Bits::ONE.packed_len(self.factor.len()));
        let mut opened: Vec<_> = self
            .masked
            .iter()
            .map(|mine| mine.xor(&BitString::from_bytes(incoming.next(bytes), len)))
            .collect();
        let e = opened.pop().unwrap_or_default();
        let parts = self.triples.iter().zip(&self.others).zip(&opened);
        parts.map(|((ab, u), d)| ab.xor(&e.and(u)).xor(&d.and(&self.factor))).collect()
    }

    /// Adds the OTs to the messages; the bytes that each party sends.
    pub(crate) fn price(messages: &mut Messages, len: usize, others: usize) -> usize {
        for sender in [Role::Server, Role::Client] {
            messages.draw(sender, Use::Random(others as u32), len);
        }
        (others + 1) * Bits::ONE.packed_len(len)
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
        fn and_obeys_the_law(len in 0usize..200, others in 1usize..5, seed: u64) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let mut bits =
                |len: usize| (0..len).map(|_| rng.random::<bool>()).collect::<BitString>();
            let input = (bits(len), bits(len * others));
            testing::law(&And { len, others }, &input, seed);
        }
    }

    #[test]
    fn an_and_is_4_bits_and_each_further_operand_2() {
        for others in 1..5 {
            let framing = 2 * 12 * 8;
            let cost = And { len: 64, others }.cost();
            assert_eq!(cost.bits() - framing, 64 * 2 * (others as u64 + 1));
            assert_eq!((cost.server_cots, cost.client_cots, cost.rounds), (64, 64, 1));
        }
    }
}
