//! The index of the largest of several values, without the values.
//!
//! *Functionality.* From shares in `Z_l` of two's complement values, whose differences fit, to
//! shares of the index of the first that no other exceeds, in the least ring that holds all
//! indices.
//!
//! *Steps.* A tree: on each level neighbors are paired, an odd one waits, and all pairs are one
//! comparison; its bit selects the larger one's value and its index. Neighbors keep their order, so
//! that the first of equal ones wins.
//!
//! Cost: one comparison in `Z_l` and one selection of the index for each value but one, and a
//! selection of the value for each of those that are not on the last level; the rounds are those of
//! one comparison and one or two selections for each level. Security: that of the parts.

use super::{Mux, NonNegative, check_digit, check_parameters, check_share};
use crate::ot::Demand;
use crate::{Bits, Clear, Cost, Error, Operator, Role, Session, Share};

/// The index of the largest value, for every group.
#[derive(Clone, Copy, Debug)]
pub struct Argmax {
    /// Number of groups, and of results.
    pub groups: usize,
    /// Values of a group, 1 to 2^32.
    pub values: usize,
    /// Their ring: differences must fit it in two's complement.
    pub ring: Bits,
    /// Widest digit of the carry chains, 1 to 4.
    pub digit: u32,
}

impl Argmax {
    /// What is wrong with the parameters, if anything.
    pub fn check(&self) -> Result<(), String> {
        let sized = (1..=1 << 32).contains(&(self.values as u64))
            && self.values.checked_mul(self.groups).is_some();
        if !sized {
            return Err(format!("groups of 1 to 2^32 values, found {self:?}"));
        }
        check_digit(self.digit)
    }

    /// The ring of the index.
    pub const fn index_ring(&self) -> Bits {
        let bits = usize::BITS - (self.values - 1).leading_zeros();
        Bits::of(if bits > 0 { bits } else { 1 })
    }

    /// The comparison, and the selections of values and indices, of a level with this many pairs.
    const fn level(&self, pairs: usize) -> (NonNegative, Mux, Mux) {
        let len = pairs * self.groups;
        let compare = NonNegative { len, ring: self.ring, digit: self.digit };
        (compare, Mux { len, ring: self.ring }, Mux { len, ring: self.index_ring() })
    }
}

/// First and second of all pairs of neighbors, `[value][group]`.
fn pairs(values: &[u64], groups: usize) -> (Vec<u64>, Vec<u64>) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for pair in values.chunks_exact(2 * groups) {
        first.extend_from_slice(&pair[..groups]);
        second.extend_from_slice(&pair[groups..]);
    }
    (first, second)
}

/// This party's share of first less second.
fn difference(ring: Bits, first: &[u64], second: &[u64]) -> Share {
    Share::new(ring, first.iter().zip(second).map(|(x, y)| x.wrapping_sub(*y)).collect())
}

/// What follows the pairs: the winners, then the odd one.
fn reduced(values: &[u64], second: Vec<u64>, gain: &Share) -> Vec<u64> {
    let odd = &values[2 * second.len()..];
    let mut winners = second;
    winners.iter_mut().zip(gain.values()).for_each(|(y, gain)| *y = y.wrapping_add(*gain));
    winners.extend_from_slice(odd);
    winners
}

impl Operator for Argmax {
    /// `[value][group]`.
    type Input = Share;
    type Output = Share;

    const NAME: &'static str = "argmax";

    fn ideal(&self, input: &Clear) -> Clear {
        let values = input.decode();
        Clear {
            ring: self.index_ring(),
            values: (0..self.groups)
                .map(|group| {
                    let values = values.iter().skip(group).step_by(self.groups).enumerate();
                    values
                        .max_by_key(|(index, value)| (**value, std::cmp::Reverse(*index)))
                        .map_or(0, |(i, _)| i as u64)
                })
                .collect(),
        }
    }

    fn cost(&self) -> Cost {
        let (mut cost, mut left) = (Cost::ZERO, self.values);
        while left > 1 && self.groups > 0 {
            let (compare, value, index) = self.level(left / 2);
            cost += compare.cost() + index.cost();
            if left > 2 {
                cost += value.cost();
            }
            left -= left / 2;
        }
        cost
    }

    fn demands(&self) -> Vec<Demand> {
        let (mut demands, mut left) = (Vec::new(), self.values);
        while left > 1 && self.groups > 0 {
            let (compare, value, index) = self.level(left / 2);
            demands.extend([compare.demands(), index.demands()].concat());
            if left > 2 {
                demands.extend(value.demands());
            }
            left -= left / 2;
        }
        demands
    }

    async fn run(&self, session: &mut Session, input: Share) -> Result<Share, Error> {
        check_parameters(Self::NAME, self.check(), self)?;
        check_share(Self::NAME, &input, self.ring, self.values.saturating_mul(self.groups))?;
        let (groups, ring) = (self.groups, self.index_ring());
        let mut values = input.into_values();
        let mut indices: Vec<u64> = (0..values.len())
            .map(|at| if session.role() == Role::Server { (at / groups) as u64 } else { 0 })
            .collect();
        while values.len() > groups {
            let (compare, select_value, select_index) = self.level(values.len() / groups / 2);
            let (first, second) = pairs(&values, groups);
            let differences = difference(self.ring, &first, &second);
            let larger = session.run(&compare, differences.clone()).await?;
            let (first_index, second_index) = pairs(&indices, groups);
            let chosen = (larger.clone(), difference(ring, &first_index, &second_index));
            let gain = session.run(&select_index, chosen).await?;
            indices = reduced(&indices, second_index, &gain);
            if values.len() == 2 * groups {
                break;
            }
            let gain = session.run(&select_value, (larger, differences)).await?;
            values = reduced(&values, second, &gain);
        }
        Ok(Share::new(ring, indices))
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
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn argmax_obeys_the_law(
            l in 2u32..=64,
            values in 1usize..12,
            groups in 0usize..12,
            digit in 1u32..=4,
            seed: u64,
        ) {
            let (ring, inner) = (Bits::of(l), Bits::of(l - 1));
            let clear =
                testing::extremes(inner, values * groups, &mut ChaCha20Rng::seed_from_u64(seed));
            let clear: Vec<i64> = clear.iter().map(|v| inner.decode(*v)).collect();
            testing::law(
                &Argmax { groups, values, ring, digit },
                &Clear::encode(ring, &clear),
                seed,
            );
        }
    }

    #[test]
    fn the_first_of_equal_values_wins() {
        let ring = Bits::of(4);
        for values in 1..6usize {
            for code in 0..3usize.pow(values as u32) {
                let clear: Vec<i64> =
                    (0..values).map(|i| (code / 3usize.pow(i as u32) % 3) as i64 - 1).collect();
                let most = clear.iter().max().unwrap();
                let first = clear.iter().position(|v| v == most).unwrap() as u64;
                let op = Argmax { groups: 1, values, ring, digit: 3 };
                let input = Clear::encode(ring, &clear);
                assert_eq!(op.ideal(&input).values, [first]);
                if code % 7 == 0 {
                    testing::law(&op, &input, code as u64);
                }
            }
        }
    }
}
