//! Comparison: of two private values, and of a share with zero.
//!
//! *Functionality.* [`LessThan`], the millionaires' problem: from the server's p and the client's
//! q, of l bits, to shares of whether p < q. [`NonNegative`], the derivative of ReLU: from shares
//! of a two's complement value to shares of whether it is at least 0.
//!
//! *Identity.* p < q where `q + (2^l - 1 - p)` carries out of l bits. The top bit of a sum is the
//! exclusive or of the summands' top bits and the carry out of the bits below.
//!
//! Cost: that of a carry chain over l bits, or l - 1 bits; nothing for the sign of one bit.
//! Security: that of the carry chain.

use super::messages::Messages;
use super::{Both, Private, carry, check_digit, check_parameters, check_private, check_share};
use crate::{BitShare, BitString, Bits, Clear, Cost, Error, Operator, Role, Session, Share};

/// Whether the server's value is less than the client's.
#[derive(Clone, Copy, Debug)]
pub struct LessThan {
    /// Number of comparisons.
    pub len: usize,
    /// Width of the values.
    pub bits: Bits,
    /// Widest digit of the carry chain, 1 to 4.
    pub digit: u32,
}

impl LessThan {
    /// What is wrong with the parameters, if anything.
    pub fn check(&self) -> Result<(), String> {
        check_digit(self.digit)
    }
}

impl Operator for LessThan {
    type Input = Private;
    type Output = BitShare;

    const NAME: &'static str = "less than";

    fn ideal(&self, input: &Both) -> BitString {
        input.server.iter().zip(&input.client).map(|(p, q)| p < q).collect()
    }

    fn cost(&self) -> Cost {
        let mut messages = Messages::default();
        carry::price_carry(&mut messages, self.len, self.bits.get(), self.digit);
        messages.cost()
    }

    async fn run(&self, session: &mut Session, input: Private) -> Result<BitShare, Error> {
        check_parameters(Self::NAME, self.check(), self)?;
        check_private(Self::NAME, &input, self.bits, self.len)?;
        let mut values = input.into_values();
        if session.role() == Role::Server {
            values.iter_mut().for_each(|p| *p = self.bits.reduce(!*p));
        }
        Ok(BitShare(carry::carry(session, &values, self.bits.get(), self.digit).await?))
    }
}

/// Whether a shared value is at least zero.
#[derive(Clone, Copy, Debug)]
pub struct NonNegative {
    /// Number of elements.
    pub len: usize,
    /// Their ring.
    pub ring: Bits,
    /// Widest digit of the carry chain, 1 to 4.
    pub digit: u32,
}

impl NonNegative {
    /// What is wrong with the parameters, if anything.
    pub fn check(&self) -> Result<(), String> {
        check_digit(self.digit)
    }
}

impl Operator for NonNegative {
    type Input = Share;
    type Output = BitShare;

    const NAME: &'static str = "non-negative";

    fn ideal(&self, input: &Clear) -> BitString {
        input.decode().iter().map(|value| *value >= 0).collect()
    }

    fn cost(&self) -> Cost {
        let mut messages = Messages::default();
        carry::price_carry(&mut messages, self.len, self.ring.get() - 1, self.digit);
        messages.cost()
    }

    async fn run(&self, session: &mut Session, input: Share) -> Result<BitShare, Error> {
        check_parameters(Self::NAME, self.check(), self)?;
        check_share(Self::NAME, &input, self.ring, self.len)?;
        let below = self.ring.get() - 1;
        let carry = carry::carry(session, input.values(), below, self.digit).await?;
        let top = carry.xor(&BitString::of_values(input.values(), below));
        Ok(BitShare(if session.role() == Role::Server { top.not() } else { top }))
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
        fn less_than_obeys_the_law(
            width in 1u32..=64,
            digit in 1u32..=4,
            len in 0usize..100,
            seed: u64,
        ) {
            let bits = Bits::of(width);
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let server = testing::extremes(bits, len, &mut rng);
            let client = testing::extremes(bits, len, &mut rng);
            testing::law(&LessThan { len, bits, digit }, &Both { bits, server, client }, seed);
        }

        #[test]
        fn non_negative_obeys_the_law(
            width in 1u32..=64,
            digit in 1u32..=4,
            len in 0usize..100,
            seed: u64,
        ) {
            let ring = Bits::of(width);
            let values = testing::extremes(ring, len, &mut ChaCha20Rng::seed_from_u64(seed));
            testing::law(&NonNegative { len, ring, digit }, &Clear { ring, values }, seed);
        }
    }

    #[test]
    fn comparisons_are_exact_for_all_small_values() {
        for width in 1..=4 {
            let (bits, all) = (Bits::of(width), 1u64 << width);
            let server: Vec<u64> = (0..all * all).map(|i| i % all).collect();
            let client: Vec<u64> = (0..all * all).map(|i| i / all).collect();
            for digit in 1..=4 {
                let op = LessThan { len: server.len(), bits, digit };
                testing::law(
                    &op,
                    &Both { bits, server: server.clone(), client: client.clone() },
                    1,
                );
            }
        }
    }
}
