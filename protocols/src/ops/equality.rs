//! Equality of two private values.
//!
//! *Functionality.* From the server's p and the client's q, of l bits, to shares of whether p = q.
//!
//! *Identity.* All digits are equal; for digits of one bit, `not (p xor q)` is local.
//!
//! *Steps.* The server complements its value: then all digits of the sum are ones.
//! 1. for all wider digits at once, a 1-of-2^w transfer of whether they are: the client's digits
//!    choose;
//! 2. a tree of ANDs.
//!
//! Cost: `w + 2^w - 1` bits a digit (none for digits of one bit) and 4 for each digit but one; 2
//! rounds for the digits, and one for each level of the tree. Security: that of the transfers and
//! ANDs.

use super::carry;
use super::messages::Messages;
use super::{Both, Private, check_digit, check_parameters, check_private};
use crate::{BitShare, BitString, Bits, Cost, Error, Operator, Role, Session};

/// Whether the server's value equals the client's. The values of a share are zero where its
/// summands are equal up to sign: the client negates its own.
#[derive(Clone, Copy, Debug)]
pub struct Equal {
    /// Number of comparisons.
    pub len: usize,
    /// Width of the values.
    pub bits: Bits,
    /// Widest digit, 1 to 4.
    pub digit: u32,
}

impl Equal {
    /// What is wrong with the parameters, if anything.
    pub fn check(&self) -> Result<(), String> {
        check_digit(self.digit)
    }
}

impl Operator for Equal {
    type Input = Private;
    type Output = BitShare;

    const NAME: &'static str = "equal";

    fn ideal(&self, input: &Both) -> BitString {
        input.server.iter().zip(&input.client).map(|(p, q)| p == q).collect()
    }

    fn cost(&self) -> Cost {
        let mut messages = Messages::default();
        carry::all_ones(self.bits.get(), self.digit).0.price(&mut messages, self.len);
        messages.cost()
    }

    async fn run(&self, session: &mut Session, input: Private) -> Result<BitShare, Error> {
        check_parameters(Self::NAME, self.check(), self)?;
        check_private(Self::NAME, &input, self.bits, self.len)?;
        let mut values = input.into_values();
        if session.role() == Role::Server {
            values.iter_mut().for_each(|p| *p = self.bits.reduce(!*p));
        }
        let (circuit, equal) = carry::all_ones(self.bits.get(), self.digit);
        Ok(BitShare(circuit.run(session, &values).await?.of(equal).clone()))
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
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn equal_obeys_the_law(
            width in 1u32..=64,
            digit in 1u32..=4,
            len in 0usize..100,
            seed: u64,
        ) {
            let bits = Bits::of(width);
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let server = testing::extremes(bits, len, &mut rng);
            // equal, different in one bit, or unrelated
            let client = server.iter().map(|p| match rng.random_range(0..3) {
                0 => *p,
                1 => p ^ 1 << rng.random_range(0..width),
                _ => bits.reduce(rng.random()),
            }).collect();
            testing::law(&Equal { len, bits, digit }, &Both { bits, server, client }, seed);
        }
    }
}
