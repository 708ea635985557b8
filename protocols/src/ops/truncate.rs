//! Exact truncation into the smaller ring.
//!
//! *Functionality.* From shares of x in `Z_l` to shares of `floor(x / 2^k)` in `Z_(l-k)`, 0 <= k <
//! l.
//!
//! *Identity.* `floor((p + q) / 2^k) = floor(p / 2^k) + floor(q / 2^k) + c`, with c the carry out
//! of the low k bits; a wrap of p + q is a multiple of `2^(l-k)`.
//!
//! *Steps.* The carry chain over k bits; c made arithmetic.
//!
//! Cost: that of the chain and `l - k` bits for the conversion; nothing at k = 0.
//! Security: that of the parts.

use super::messages::Messages;
use super::{b2a, carry, check_digit, check_parameters, check_share};
use crate::{Bits, Clear, Cost, Error, Operator, Session, Share};

/// `floor(x / 2^shift)` in the ring that is `shift` bits smaller.
#[derive(Clone, Copy, Debug)]
pub struct TruncateReduce {
    /// Number of elements.
    pub len: usize,
    /// `l`: their ring.
    pub ring: Bits,
    /// `k`: bits dropped, less than l.
    pub shift: u32,
    /// Widest digit of the carry chain, 1 to 4.
    pub digit: u32,
}

impl TruncateReduce {
    /// What is wrong with the parameters, if anything.
    pub fn check(&self) -> Result<(), String> {
        if self.shift >= self.ring.get() {
            return Err(format!("a shift below {}, found {}", self.ring, self.shift));
        }
        check_digit(self.digit)
    }

    const fn out(&self) -> Bits {
        Bits::of(self.ring.get() - self.shift)
    }
}

impl Operator for TruncateReduce {
    type Input = Share;
    type Output = Share;

    const NAME: &'static str = "truncate and reduce";

    fn ideal(&self, input: &Clear) -> Clear {
        Clear { ring: self.out(), values: input.values.iter().map(|x| x >> self.shift).collect() }
    }

    fn cost(&self) -> Cost {
        let mut messages = Messages::default();
        if self.shift > 0 {
            carry::price_carry(&mut messages, self.len, self.shift, self.digit);
            b2a::price_convert(&mut messages, self.out(), self.len);
        }
        messages.cost()
    }

    async fn run(&self, session: &mut Session, input: Share) -> Result<Share, Error> {
        check_parameters(Self::NAME, self.check(), self)?;
        check_share(Self::NAME, &input, self.ring, self.len)?;
        if self.shift == 0 {
            return Ok(input);
        }
        let carries = carry::carry(session, input.values(), self.shift, self.digit).await?;
        let carries = b2a::convert(session, carries, self.out()).await?;
        let mut values = input.into_values();
        values
            .iter_mut()
            .zip(carries)
            .for_each(|(v, carry)| *v = (*v >> self.shift).wrapping_add(carry));
        Ok(Share::new(self.out(), values))
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
        fn truncate_obeys_the_law(
            width in 1u32..=64,
            shift in 0u32..64,
            digit in 1u32..=4,
            len in 0usize..100,
            seed: u64,
        ) {
            let ring = Bits::of(width);
            let values = testing::extremes(ring, len, &mut ChaCha20Rng::seed_from_u64(seed));
            let op = TruncateReduce { len, ring, shift: shift % width, digit };
            testing::law(&op, &Clear { ring, values }, seed);
        }
    }
}
