//! From a shared bit to an additive share of it.
//!
//! *Functionality.* From exclusive-or shares `b0`, `b1` to shares of `b0 xor b1` in `Z_l`.
//!
//! *Identity.* `b0 xor b1 = b0 + b1 - 2 b0 b1`; the product is doubled, so it is needed in
//! `Z_(l-1)` alone.
//!
//! *Steps.* One correlated OT with the server's bit as choice and the client's as
//! correlation.
//!
//! Cost: `l` bits (`1 + (l - 1)`) and one correlated OT that the client sends; 2 rounds; `l =
//! 1` is free. Security: that of the correlated OT.

use super::messages::{Incoming, Messages};
use super::product::BitProduct;
use crate::{BitString, Bits, Error, Role, Session};

/// Conversions under way, in a ring of at least 2 bits: [`BitProduct`]s.
pub(super) struct B2a {
    bits: BitString,
    product: BitProduct,
}

impl B2a {
    pub(super) fn choose(
        session: &mut Session,
        chooser: Role,
        bits: BitString,
        ring: Bits,
        outgoing: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        let product = BitProduct::choose(session, chooser, half(ring), &bits, outgoing)?;
        Ok(Self { bits, product })
    }

    pub(super) fn respond(
        &mut self,
        session: &mut Session,
        incoming: &mut Incoming<'_>,
        outgoing: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.product.respond(session, &self.bits.iter().collect::<Vec<_>>(), incoming, outgoing)
    }

    /// This party's shares, not reduced.
    pub(super) fn finish(self, incoming: &mut Incoming<'_>) -> Vec<u64> {
        let products = self.product.finish(incoming);
        self.bits
            .iter()
            .zip(products)
            // `b - 2 p` for this party's bit and share of the product. What is above `l - 1` bits
            // of `p` falls out of the ring when doubled.
            .map(|(bit, product)| bit.wrapping_sub(product << 1))
            .collect()
    }

    /// Adds the OTs to the messages; the bytes of the choices and of the corrections.
    pub(super) fn price(
        messages: &mut Messages,
        chooser: Role,
        ring: Bits,
        len: usize,
    ) -> (usize, usize) {
        BitProduct::price(messages, chooser, half(ring), len)
    }
}

/// The ring of a product that is to be doubled.
const fn half(ring: Bits) -> Bits {
    Bits::of(ring.get() - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::ops::product::pass;
    use crate::ot::Demand;
    use crate::{BitShare, Clear, Cost, Operator, Share, testing};

    /// The conversion as an operator of its own.
    #[derive(Clone, Copy, Debug)]
    struct BitToRing {
        len: usize,
        ring: Bits,
    }

    impl BitToRing {
        fn messages(&self) -> Messages {
            let mut messages = Messages::default();
            if self.ring.get() > 1 {
                let (chosen, responded) =
                    B2a::price(&mut messages, Role::Server, self.ring, self.len);
                messages.send(Role::Server, chosen);
                messages.send(Role::Client, responded);
            }
            messages
        }
    }

    impl Operator for BitToRing {
        type Input = BitShare;
        type Output = Share;

        const NAME: &'static str = "bit to ring";

        fn ideal(&self, bits: &BitString) -> Clear {
            Clear { ring: self.ring, values: bits.iter().collect() }
        }

        fn cost(&self) -> Cost {
            self.messages().cost()
        }

        fn demands(&self) -> Vec<Demand> {
            self.messages().into_demands()
        }

        async fn run(&self, session: &mut Session, bits: BitShare) -> Result<Share, Error> {
            Ok(Share::new(self.ring, convert(session, bits.0, self.ring).await?))
        }
    }

    /// This party's shares of bits, not reduced, in turns of their own.
    async fn convert(
        session: &mut Session,
        bits: BitString,
        ring: Bits,
    ) -> Result<Vec<u64>, Error> {
        if ring == Bits::ONE {
            return Ok(bits.iter().collect());
        }
        let (chosen, responded) =
            B2a::price(&mut Messages::default(), Role::Server, ring, bits.len());
        let mut outgoing = Vec::new();
        let mut conversion = B2a::choose(session, Role::Server, bits, ring, &mut outgoing)?;
        let incoming = pass(session, Role::Server, &outgoing, chosen).await?;
        let mut outgoing = Vec::new();
        conversion.respond(session, &mut Incoming::of(&incoming), &mut outgoing)?;
        let incoming = pass(session, Role::Client, &outgoing, responded).await?;
        Ok(conversion.finish(&mut Incoming::of(&incoming)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn bit_to_ring_obeys_the_law(width in 1u32..=64, len in 0usize..200, seed: u64) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let bits = (0..len).map(|_| rng.random::<bool>()).collect();
            testing::law(&BitToRing { len, ring: Bits::of(width) }, &bits, seed);
        }
    }

    #[test]
    fn a_conversion_is_as_many_bits_as_the_ring() {
        for width in 2..=64 {
            let cost = BitToRing { len: 64, ring: Bits::of(width) }.cost();
            assert_eq!(cost.bits() - 2 * 12 * 8, 64 * u64::from(width));
            assert_eq!((cost.server_cots, cost.client_cots, cost.rounds), (0, 64, 2));
        }
    }
}
