//! Maximum pooling, after requantization and in its small ring.
//!
//! *Functionality.* From shares in `Z_(a+1)` of windows of a-bit values to shares in `Z_m` of each
//! window's maximum.
//!
//! *Identity.* `max(x, y) = y + [x - y >= 0] (x - y)`; differences of a-bit values fit two's
//! complement of a + 1 bits.
//!
//! *Steps.*
//! 1. a tree: on each level the elements of a window are paired, an odd one waits, and all pairs of
//!    all windows are one comparison and one selection;
//! 2. known-sign extension to `Z_m`, around which the server takes off the least value that there
//!    can be, so that none is negative, and adds it again.
//!
//! Cost: window - 1 comparisons in `Z_(a+1)` and selections of `2 (a + 2)` bits a window, and `1 +
//! m - (a + 1)` bits for the extension where needed; the rounds are those of one comparison and one
//! selection for each level. Security: that of the parts.

use super::known_sign::KnownSign;
use super::messages::Messages;
use super::{Mux, NonNegative, check_digit, check_low, check_parameters, check_share};
use crate::ot::Demand;
use crate::{Bits, Clear, Cost, Error, Operator, Role, Session, Share};

/// The maximum over each window.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool {
    /// Number of windows, and of results.
    pub windows: usize,
    /// Elements of a window, at least 1.
    pub window: usize,
    /// `a`: bits of the values.
    pub bits: u32,
    /// The least of them, at most zero: none is larger than it by `2^a` or more.
    pub low: i64,
    /// `m`: the ring of the result, of at least a + 1 bits.
    pub out: Bits,
    /// Widest digit of the carry chains, 1 to 4.
    pub digit: u32,
}

impl MaxPool {
    /// What is wrong with the parameters, if anything.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=63).contains(&self.bits) || self.bits + 1 > self.out.get() {
            return Err(format!("1 to m - 1 bits, found {} for {} bit", self.bits, self.out));
        }
        check_low(self.bits, self.low)?;
        if self.window == 0 || self.window.checked_mul(self.windows).is_none() {
            return Err(format!("windows of at least one element, found {self:?}"));
        }
        check_digit(self.digit)
    }

    /// `Z_(a+1)`, the ring of the operand.
    const fn ring(&self) -> Bits {
        Bits::of(self.bits + 1)
    }

    const fn extension(&self) -> KnownSign {
        KnownSign { len: self.windows, from: self.ring(), to: self.out }
    }

    /// The comparison and the selection of a level with this many pairs a window.
    const fn level(&self, pairs: usize) -> (NonNegative, Mux) {
        let (len, ring) = (pairs * self.windows, self.ring());
        (NonNegative { len, ring, digit: self.digit }, Mux { len, ring })
    }

    /// One level of the tree: of the elements left, pairs of the first and the second half, and
    /// perhaps an odd one.
    async fn reduce(&self, session: &mut Session, mut values: Vec<u64>) -> Result<Vec<u64>, Error> {
        let pairs = values.len() / self.windows.max(1) / 2;
        let (compare, select) = self.level(pairs);
        let len = pairs * self.windows;
        let (first, second) = values.split_at(len);
        let differences = first.iter().zip(second).map(|(x, y)| x.wrapping_sub(*y)).collect();
        let differences = Share::new(self.ring(), differences);
        let larger = session.run(&compare, differences.clone()).await?;
        let gain = session.run(&select, (larger, differences)).await?;
        let mut reduced = values.split_off(len);
        reduced.iter_mut().zip(gain.values()).for_each(|(y, gain)| *y = y.wrapping_add(*gain));
        Ok(reduced)
    }
}

impl Operator for MaxPool {
    /// `[window][windows]`, in `Z_(a+1)`.
    type Input = Share;
    type Output = Share;

    const NAME: &'static str = "max pool";

    fn ideal(&self, input: &Clear) -> Clear {
        let values = input.decode();
        Clear::encode(
            self.out,
            &(0..self.windows)
                .filter_map(|w| values.iter().skip(w).step_by(self.windows).copied().max())
                .collect::<Vec<_>>(),
        )
    }

    fn cost(&self) -> Cost {
        let (mut cost, mut left) = (Cost::ZERO, self.window);
        while left > 1 && self.windows > 0 {
            let (compare, select) = self.level(left / 2);
            cost += compare.cost() + select.cost();
            left -= left / 2;
        }
        let mut messages = Messages::default();
        self.extension().price(&mut messages);
        cost + messages.cost()
    }

    fn demands(&self) -> Vec<Demand> {
        let (mut demands, mut left) = (Vec::new(), self.window);
        while left > 1 && self.windows > 0 {
            let (compare, select) = self.level(left / 2);
            demands.extend([compare.demands(), select.demands()].concat());
            left -= left / 2;
        }
        let mut messages = Messages::default();
        self.extension().price(&mut messages);
        demands.extend(messages.into_demands());
        demands
    }

    async fn run(&self, session: &mut Session, input: Share) -> Result<Share, Error> {
        check_parameters(Self::NAME, self.check(), self)?;
        check_share(Self::NAME, &input, self.ring(), self.window * self.windows)?;
        let mut values = input.into_values();
        while values.len() > self.windows {
            values = self.reduce(session, values).await?;
        }
        let offset = if session.role() == Role::Server { self.low.unsigned_abs() } else { 0 };
        values.iter_mut().for_each(|v| *v = self.ring().reduce(v.wrapping_add(offset)));
        let mut values = self.extension().run(session, values).await?;
        values.iter_mut().for_each(|v| *v = v.wrapping_sub(offset));
        Ok(Share::new(self.out, values))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::testing;

    fn random_values(op: &MaxPool, seed: u64) -> Clear {
        let a = Bits::of(op.bits);
        let values =
            testing::extremes(a, op.window * op.windows, &mut ChaCha20Rng::seed_from_u64(seed));
        let values: Vec<i64> = values.iter().map(|v| *v as i64 + op.low).collect();
        Clear::encode(op.ring(), &values)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn max_pool_obeys_the_law(
            windows in 0usize..12,
            window in 1usize..10,
            bits in 1u32..=63,
            out in 0u32..64,
            low: u64,
            digit in 1u32..=4,
            seed: u64,
        ) {
            let out = Bits::of(bits + 1 + out % (64 - bits));
            let low = testing::low(bits, low);
            let op = MaxPool { windows, window, bits, low, out, digit };
            testing::law(&op, &random_values(&op, seed), seed);
        }
    }

    #[test]
    fn max_pool_of_narrow_values_obeys_the_law() {
        for bits in 1..=4 {
            for low in 1 - (1i64 << bits)..=0 {
                let out = Bits::of(bits + 1 + bits % 2);
                let op = MaxPool { windows: 33, window: 9, bits, low, out, digit: bits };
                testing::law(&op, &random_values(&op, 5), 5);
            }
        }
    }
}
