//! Comparison of a share with zero: the derivative of ReLU.
//!
//! *Functionality.* From shares of a two's complement value to shares of whether it is at least 0.
//!
//! *Identity.* The top bit of a sum is the exclusive or of the summands' top bits and the carry out
//! of the bits below.
//!
//! Cost: that of a carry chain over l - 1 bits; nothing for the sign of one bit.
//! Security: that of the carry chain.

use super::messages::Messages;
use super::{carry, check_digit, check_parameters, check_share};
use crate::ot::Demand;
use crate::{BitShare, BitString, Bits, Clear, Cost, Error, Operator, Role, Session, Share};

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

    fn messages(&self) -> Messages {
        let mut messages = Messages::default();
        carry::price_carry(&mut messages, self.len, self.ring.get() - 1, self.digit);
        messages
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
        self.messages().cost()
    }

    fn demands(&self) -> Vec<Demand> {
        self.messages().into_demands()
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
    fn comparisons_are_exact_for_all_small_values_in_many_shares() {
        for width in 1..=4 {
            let (ring, all) = (Bits::of(width), 1u64 << width);
            // Every value in about four times as many shares as there are.
            let values: Vec<u64> = (0..4 * all * all).map(|i| i % all).collect();
            for digit in 1..=4 {
                let op = NonNegative { len: values.len(), ring, digit };
                testing::law(&op, &Clear { ring, values: values.clone() }, 1);
            }
        }
    }
}
