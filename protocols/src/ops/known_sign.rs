//! Extension of values whose sign is known: the same value in a larger ring.
//!
//! *Functionality.* From shares in `Z_n` of a value below `2^(n-1)` to shares of it in `Z_m`, m >=
//! n.
//!
//! *Identity.* `y = y0 + y1 - 2^n wrap`, where the wrap is needed in `Z_(m-n)`. It is the OR of the
//! shares' top bits, `w0 + w1 - w0 w1`.
//!
//! Cost: one correlated OT, `1 + (m - n)` bits; 2 rounds. Nothing where m = n. Security: that of
//! the OT.

use super::messages::{Incoming, Messages};
use super::product::{BitProduct, pass};
use crate::{BitString, Bits, Error, Role, Session};

/// This party's summands of values below `2^(from - 1)`, in a larger
/// ring.
#[derive(Clone, Copy)]
pub(super) struct KnownSign {
    pub len: usize,
    pub from: Bits,
    pub to: Bits,
}

impl KnownSign {
    /// The ring of the wrap, where there is anything to do.
    const fn wrap_ring(self) -> Option<Bits> {
        Bits::new(self.to.get() - self.from.get())
    }

    /// The summands, not reduced.
    pub(super) async fn run(
        self,
        session: &mut Session,
        mut values: Vec<u64>,
    ) -> Result<Vec<u64>, Error> {
        let Some(ring) = self.wrap_ring() else {
            return Ok(values);
        };
        let (chosen, responded) =
            BitProduct::price(&mut Messages::default(), Role::Server, ring, self.len);
        let tops = BitString::of_values(&values, self.from.get() - 1);
        let mut outgoing = Vec::new();
        let mut product = BitProduct::choose(session, Role::Server, ring, &tops, &mut outgoing)?;
        let incoming = pass(session, Role::Server, &outgoing, chosen).await?;
        let mut outgoing = Vec::new();
        let bits: Vec<u64> = tops.iter().collect();
        product.respond(session, &bits, &mut Incoming::of(&incoming), &mut outgoing)?;
        let incoming = pass(session, Role::Client, &outgoing, responded).await?;
        let both = product.finish(&mut Incoming::of(&incoming));
        for ((value, top), both) in values.iter_mut().zip(tops.iter()).zip(both) {
            *value = value.wrapping_sub(top.wrapping_sub(both) << self.from.get());
        }
        Ok(values)
    }

    /// Adds the two messages to the messages.
    pub(super) fn price(self, messages: &mut Messages) {
        if let Some(ring) = self.wrap_ring() {
            let (chosen, responded) = BitProduct::price(messages, Role::Server, ring, self.len);
            messages.send(Role::Server, chosen);
            messages.send(Role::Client, responded);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::ot::Demand;
    use crate::{Clear, Cost, Operator, Share, testing};

    /// The step as an operator of its own.
    struct Extend(KnownSign);

    impl Extend {
        fn messages(&self) -> Messages {
            let mut messages = Messages::default();
            self.0.price(&mut messages);
            messages
        }
    }

    impl Operator for Extend {
        type Input = Share;
        type Output = Share;

        const NAME: &'static str = "extend";

        fn ideal(&self, input: &Clear) -> Clear {
            Clear { ring: self.0.to, values: input.values.clone() }
        }

        fn cost(&self) -> Cost {
            self.messages().cost()
        }

        fn demands(&self) -> Vec<Demand> {
            self.messages().into_demands()
        }

        async fn run(&self, session: &mut Session, input: Share) -> Result<Share, Error> {
            let values = self.0.run(session, input.into_values()).await?;
            Ok(Share::new(self.0.to, values))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn extension_obeys_the_law(
            from in 1u32..=64,
            to in 0u32..64,
            len in 0usize..100,
            seed: u64,
        ) {
            let (to, from) = (Bits::of(from + to % (65 - from)), Bits::of(from));
            let mut values = testing::extremes(from, len, &mut ChaCha20Rng::seed_from_u64(seed));
            values.iter_mut().for_each(|v| *v &= from.mask() >> 1);
            let op = Extend(KnownSign { len, from, to });
            testing::law(&op, &Clear { ring: from, values }, seed);
        }
    }

    #[test]
    fn a_known_sign_costs_one_bit_and_the_bits_added() {
        for (from, to) in [(5, 14), (1, 2), (1, 64), (8, 16)] {
            let (from, to) = (Bits::of(from), Bits::of(to));
            let cost = Extend(KnownSign { len: 64, from, to }).cost();
            assert_eq!(cost.bits() - 2 * 12 * 8, 64 * u64::from(1 + to.get() - from.get()));
            assert_eq!((cost.server_cots, cost.client_cots, cost.rounds), (0, 64, 2));
        }
    }
}
