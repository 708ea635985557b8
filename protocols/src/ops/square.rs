//! The square of a shared value.
//!
//! *Functionality.* From shares of x in `Z_l` to shares of x^2 in `Z_l`: polynomial activations,
//! whose result is then truncated ([`super::TruncateReduce`]).
//!
//! *Identity.* `(p + q)^2 = p^2 + q^2 + 2 p q`: one product of private values where a product of
//! shared ones takes two, and it is doubled, so it is needed in `Z_(l-1)` alone. It is the sum over
//! the server's bits `p_i` of `2^i p_i q`, each in `Z_(l-1-i)` (Gilboa, Crypto 1999, section 4.1).
//!
//! Cost: `(l - 1) + l (l - 1) / 2` bits and l - 1 correlated transfers that the client sends; 2
//! rounds; l = 1 is free. Security: that of the correlated transfer.

use super::check_share;
use super::messages::{Incoming, Messages};
use super::product::{BitProduct, pass};
use crate::{BitString, Bits, Clear, Cost, Error, Operator, Role, Session, Share};

/// `x^2` in the same ring.
#[derive(Clone, Copy, Debug)]
pub struct Square {
    /// Number of elements.
    pub len: usize,
    /// Their ring.
    pub ring: Bits,
}

impl Square {
    /// The ring of the product with each bit of the server's summand.
    fn rings(&self) -> impl Iterator<Item = Bits> + use<> {
        (1..self.ring.get()).rev().map(Bits::of)
    }

    /// Adds the transfers to the messages; the bytes that the server sends to choose and that the
    /// client responds with.
    fn price(&self, messages: &mut Messages) -> (usize, usize) {
        self.rings().fold((0, 0), |(chosen, responded), ring| {
            let (choices, corrections) = BitProduct::price(messages, Role::Server, ring, self.len);
            (chosen + choices, responded + corrections)
        })
    }
}

impl Operator for Square {
    type Input = Share;
    type Output = Share;

    const NAME: &'static str = "square";

    fn ideal(&self, input: &Clear) -> Clear {
        Clear {
            ring: self.ring,
            values: input.values.iter().map(|x| self.ring.reduce(x.wrapping_mul(*x))).collect(),
        }
    }

    fn cost(&self) -> Cost {
        let mut messages = Messages::default();
        let (chosen, responded) = self.price(&mut messages);
        messages.send(Role::Server, chosen);
        messages.send(Role::Client, responded);
        messages.cost()
    }

    async fn run(&self, session: &mut Session, input: Share) -> Result<Share, Error> {
        check_share(Self::NAME, &input, self.ring, self.len)?;
        let (chosen, responded) = self.price(&mut Messages::default());
        let values = input.into_values();
        let (mut outgoing, mut products) = (Vec::new(), Vec::new());
        for (bit, ring) in (0..).zip(self.rings()) {
            let bits = BitString::of_values(&values, bit);
            products.push(BitProduct::choose(session, Role::Server, ring, &bits, &mut outgoing)?);
        }
        let message = pass(session, Role::Server, &outgoing, chosen).await?;
        let (mut incoming, mut outgoing) = (Incoming::of(&message), Vec::new());
        for product in &mut products {
            product.respond(session, &values, &mut incoming, &mut outgoing)?;
        }
        let message = pass(session, Role::Client, &outgoing, responded).await?;
        let mut incoming = Incoming::of(&message);
        let mut squares: Vec<u64> = values.iter().map(|v| v.wrapping_mul(*v)).collect();
        for (bit, product) in (1u32..).zip(products) {
            let shares = product.finish(&mut incoming);
            squares
                .iter_mut()
                .zip(shares)
                .for_each(|(sum, share)| *sum = sum.wrapping_add(share << bit));
        }
        Ok(Share::new(self.ring, squares))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::testing;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_square_obeys_the_law(width in 1u32..=64, len in 0usize..60, seed: u64) {
            let ring = Bits::of(width);
            let values = testing::extremes(ring, len, &mut ChaCha20Rng::seed_from_u64(seed));
            testing::law(&Square { len, ring }, &Clear { ring, values }, seed);
        }
    }

    #[test]
    fn a_square_costs_half_a_product() {
        for l in 2..=64u64 {
            let cost = Square { len: 64, ring: Bits::of(l as u32) }.cost();
            assert_eq!(cost.bits() - 2 * 12 * 8, 64 * (l - 1 + l * (l - 1) / 2));
            assert_eq!((cost.server_cots, cost.client_cots, cost.rounds), (0, 64 * (l - 1), 2));
        }
    }
}
