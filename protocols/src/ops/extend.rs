//! Extension: the same value in a larger ring.
//!
//! *Functionality.* From shares in `Z_n` of a value to shares of it in `Z_m`, m >= n: of an
//! unsigned value, of a two's complement value, or of one that is known to be below `2^(n-1)`.
//!
//! *Identity.* `y = y0 + y1 - 2^n wrap`, where the wrap is needed in `Z_(m-n)`. Where y is below
//! `2^(n-1)` the wrap is the OR of the shares' top bits, `w0 + w1 - w0 w1`; elsewhere it is the
//! carry out of all n bits. A two's complement value is an unsigned one once `2^(n-1)` is added.
//!
//! Cost: known sign: one correlated transfer, `1 + (m - n)` bits; 2 rounds. Otherwise a carry chain
//! and a conversion of the carry to `Z_(m-n)`, that is `m - n` bits and 2 rounds more. Nothing
//! where m = n. Security: that of the parts.

use super::messages::{Incoming, Messages};
use super::product::{BitProduct, pass};
use super::{b2a, carry, check_digit, check_parameters, check_share};
use crate::{BitString, Bits, Clear, Cost, Error, Operator, Role, Session, Share};

/// How much is known of the values that are extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Unsigned, below `2^(n-1)`: with the sign bit known to be 0.
    KnownSign,
    /// Unsigned.
    Unsigned,
    /// Two's complement.
    Signed,
}

/// Shares in one ring to shares of the same values in a larger one.
#[derive(Clone, Copy, Debug)]
pub struct Extend {
    /// Number of elements.
    pub len: usize,
    /// Their ring `Z_n`.
    pub from: Bits,
    /// The ring `Z_m` of the result, m >= n.
    pub to: Bits,
    /// What the values are.
    pub reading: Reading,
    /// Widest digit of the carry chain, 1 to 4.
    pub digit: u32,
}

impl Extend {
    /// What is wrong with the parameters, if anything.
    pub fn check(&self) -> Result<(), String> {
        if self.to < self.from {
            return Err(format!("a ring of at least {} bit, found {}", self.from, self.to));
        }
        check_digit(self.digit)
    }

    const fn known_sign(&self) -> KnownSign {
        KnownSign { len: self.len, from: self.from, to: self.to }
    }

    /// What makes a value unsigned: the server adds it before and takes it off after.
    const fn offset(&self) -> u64 {
        match self.reading {
            Reading::Signed => 1 << (self.from.get() - 1),
            Reading::KnownSign | Reading::Unsigned => 0,
        }
    }

    /// The extension of unsigned values of full range.
    async fn unsigned(
        &self,
        session: &mut Session,
        mut values: Vec<u64>,
    ) -> Result<Vec<u64>, Error> {
        let Some(ring) = self.known_sign().wrap_ring() else {
            return Ok(values);
        };
        let wrap = carry::carry(session, &values, self.from.get(), self.digit).await?;
        let wrap = b2a::convert(session, wrap, ring).await?;
        for (value, wrap) in values.iter_mut().zip(wrap) {
            *value = value.wrapping_sub(wrap << self.from.get());
        }
        Ok(values)
    }
}

impl Operator for Extend {
    type Input = Share;
    type Output = Share;

    const NAME: &'static str = "extend";

    fn ideal(&self, input: &Clear) -> Clear {
        Clear {
            ring: self.to,
            values: input
                .values
                .iter()
                .map(|value| match self.reading {
                    Reading::KnownSign | Reading::Unsigned => *value,
                    Reading::Signed => self.to.encode(self.from.decode(*value)),
                })
                .collect(),
        }
    }

    fn cost(&self) -> Cost {
        let mut messages = Messages::default();
        match (self.reading, self.known_sign().wrap_ring()) {
            (Reading::KnownSign, _) => self.known_sign().price(&mut messages),
            (Reading::Unsigned | Reading::Signed, Some(ring)) => {
                carry::price_carry(&mut messages, self.len, self.from.get(), self.digit);
                b2a::price_convert(&mut messages, ring, self.len);
            }
            (Reading::Unsigned | Reading::Signed, None) => {}
        }
        messages.cost()
    }

    async fn run(&self, session: &mut Session, input: Share) -> Result<Share, Error> {
        check_parameters(Self::NAME, self.check(), self)?;
        check_share(Self::NAME, &input, self.from, self.len)?;
        let mut values = input.into_values();
        let offset = if session.role() == Role::Server { self.offset() } else { 0 };
        values.iter_mut().for_each(|v| *v = self.from.reduce(v.wrapping_add(offset)));
        let mut values = match self.reading {
            Reading::KnownSign => self.known_sign().run(session, values).await?,
            Reading::Unsigned | Reading::Signed => self.unsigned(session, values).await?,
        };
        values.iter_mut().for_each(|v| *v = v.wrapping_sub(offset));
        Ok(Share::new(self.to, values))
    }
}

/// The step that others share: this party's summands of values below `2^(from - 1)`, in a larger
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
    pub(super) const fn price(self, messages: &mut Messages) {
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
    use crate::testing;

    const READINGS: [Reading; 3] = [Reading::KnownSign, Reading::Unsigned, Reading::Signed];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn extend_obeys_the_law(
            from in 1u32..=64,
            to in 0u32..64,
            reading in 0usize..3,
            digit in 1u32..=4,
            len in 0usize..100,
            seed: u64,
        ) {
            let to = Bits::of(from + to % (65 - from));
            let op = Extend { len, from: Bits::of(from), to, reading: READINGS[reading], digit };
            let mut values = testing::extremes(op.from, len, &mut ChaCha20Rng::seed_from_u64(seed));
            if op.reading == Reading::KnownSign {
                values.iter_mut().for_each(|v| *v &= op.from.mask() >> 1);
            }
            testing::law(&op, &Clear { ring: op.from, values }, seed);
        }
    }

    #[test]
    fn a_known_sign_costs_one_bit_and_the_bits_added() {
        for (from, to) in [(5, 14), (1, 2), (1, 64), (8, 16)] {
            let (from, to) = (Bits::of(from), Bits::of(to));
            let cost = Extend { len: 64, from, to, reading: Reading::KnownSign, digit: 1 }.cost();
            assert_eq!(cost.bits() - 2 * 12 * 8, 64 * u64::from(1 + to.get() - from.get()));
            assert_eq!((cost.server_cots, cost.client_cots, cost.rounds), (0, 64, 2));
        }
    }
}
