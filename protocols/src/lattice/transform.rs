//! Exact products of polynomials modulo `X^2048 + 1`, by a number-theoretic transform modulo one
//! prime of 61 bits.
//!
//! The transform is negacyclic, its butterflies are lazy (Harvey, *Faster arithmetic for
//! number-theoretic transforms*, 2014): values stay below four times the prime, and constants are
//! multiplied with their quotients precomputed (Shoup). The order of a transformed polynomial is its
//! own and of no meaning.

use std::sync::OnceLock;

use zeroize::Zeroize;

use super::DEGREE;

/// The prime: `2^61 - 77,823`, 1 modulo 4,096.
const PRIME: u64 = 0x1fff_ffff_fffe_d001;
/// A root of unity of order 4,096.
const ROOT: u64 = 336_264_465_743_942_051;
/// `2^61` modulo the prime.
const FOLD: u64 = (1 << 61) - PRIME;

/// The tables of the transform.
pub(crate) struct Transform {
    forward: Vec<Constant>,
    inverse: Vec<Constant>,
    /// The reciprocal of the degree.
    scale: Constant,
}

/// A transformed polynomial; wiped when it is dropped.
#[derive(Clone)]
pub(crate) struct Polynomial(Vec<u64>);

/// A factor, and `2^64` times it over the prime.
#[derive(Clone, Copy)]
struct Constant {
    factor: u64,
    quotient: u64,
}

impl Constant {
    const fn new(factor: u64) -> Self {
        Self { factor, quotient: (((factor as u128) << 64) / PRIME as u128) as u64 }
    }

    /// The product modulo the prime, below twice the prime, whatever the value.
    #[inline(always)]
    const fn times(self, value: u64) -> u64 {
        let quotient = ((value as u128 * self.quotient as u128) >> 64) as u64;
        value.wrapping_mul(self.factor).wrapping_sub(quotient.wrapping_mul(PRIME))
    }
}

impl Transform {
    /// The tables, made once a process.
    pub(crate) fn get() -> &'static Self {
        static TABLES: OnceLock<Transform> = OnceLock::new();
        TABLES.get_or_init(Self::new)
    }

    fn new() -> Self {
        let inverse = power(ROOT, PRIME - 2);
        Self {
            forward: powers(ROOT),
            inverse: powers(inverse),
            scale: Constant::new(power(DEGREE as u64, PRIME - 2)),
        }
    }

    /// Transforms a polynomial, given by its integer coefficients.
    pub(crate) fn forward(&self, coefficients: impl Iterator<Item = i64>) -> Polynomial {
        // Negative ones are added to the prime without a branch.
        let lifted = coefficients.map(|value| (value + ((value >> 63) & PRIME as i64)) as u64);
        let mut values: Vec<u64> = lifted.collect();
        assert_eq!(values.len(), DEGREE, "invariant: a polynomial has 2048 coefficients");
        let (mut half, mut blocks) = (DEGREE / 2, 1);
        while half > 0 {
            for (block, constant) in
                values.chunks_exact_mut(2 * half).zip(&self.forward[blocks..2 * blocks])
            {
                let (low, high) = block.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    let (sum, product) = (once(*a), constant.times(*b));
                    (*a, *b) = (sum + product, sum + 2 * PRIME - product);
                }
            }
            (half, blocks) = (half / 2, 2 * blocks);
        }
        values.iter_mut().for_each(|value| *value = least(once(*value)));
        Polynomial(values)
    }

    /// The coefficients of the product of two transformed polynomials: exact where they are below
    /// 2^60 in magnitude.
    pub(crate) fn product(&self, a: &Polynomial, b: &Polynomial) -> Vec<i64> {
        let pairs = a.0.iter().zip(&b.0);
        let mut values: Vec<u64> =
            pairs.map(|(a, b)| fold(u128::from(*a) * u128::from(*b))).collect();
        self.inverse(&mut values);
        // Centered without a branch: the prime is taken off what is above half of it.
        let center = |value: &mut u64| {
            let above = (PRIME / 2).wrapping_sub(*value) >> 63;
            value.wrapping_sub(PRIME & above.wrapping_neg()) as i64
        };
        values.iter_mut().map(center).collect()
    }

    /// From below twice the prime to below it.
    fn inverse(&self, values: &mut [u64]) {
        let (mut half, mut blocks) = (1, DEGREE / 2);
        while blocks > 0 {
            for (block, constant) in
                values.chunks_exact_mut(2 * half).zip(&self.inverse[blocks..2 * blocks])
            {
                let (low, high) = block.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    let (x, y) = (*a, *b);
                    (*a, *b) = (once(x + y), constant.times(x + 2 * PRIME - y));
                }
            }
            (half, blocks) = (2 * half, blocks / 2);
        }
        values.iter_mut().for_each(|value| *value = least(self.scale.times(*value)));
    }
}

impl Drop for Polynomial {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

/// From below four times the prime to below twice it, without a branch.
#[inline(always)]
const fn once(value: u64) -> u64 {
    take_off(value, 2 * PRIME)
}

/// From below twice the prime to below it, without a branch.
#[inline(always)]
const fn least(value: u64) -> u64 {
    take_off(value, PRIME)
}

/// A value less another one, where it is not below it. Both are below `2^63`.
#[inline(always)]
const fn take_off(value: u64, other: u64) -> u64 {
    let less = value.wrapping_sub(other);
    // The highest bit says that it was below.
    less.wrapping_add(other & (less >> 63).wrapping_neg())
}

/// A product of two residues, below twice the prime: `2^61` is a small number modulo it.
#[inline(always)]
const fn fold(product: u128) -> u64 {
    const LOW: u128 = (1 << 61) - 1;
    let once = (product & LOW) + (product >> 61) * FOLD as u128;
    ((once & LOW) + (once >> 61) * FOLD as u128) as u64
}

/// Powers of a root, in the order in which butterflies take them: bits of the exponent reversed.
fn powers(root: u64) -> Vec<Constant> {
    let mut table = vec![Constant::new(0); DEGREE];
    let mut value = 1;
    for exponent in 0..DEGREE {
        let at = exponent.reverse_bits() >> (usize::BITS - DEGREE.trailing_zeros());
        table[at] = Constant::new(value);
        value = times(value, root);
    }
    table
}

fn times(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64
}

fn power(base: u64, mut exponent: u64) -> u64 {
    let (mut result, mut square) = (1, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = times(result, square);
        }
        square = times(square, square);
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;

    #[test]
    fn the_root_has_the_order_that_is_claimed() {
        assert_eq!((PRIME - 1) % 4096, 0);
        assert_eq!(power(ROOT, 2048), PRIME - 1);
        assert_eq!(FOLD, 77_823);
    }

    /// The definition: what goes beyond the degree comes back with its sign changed.
    fn definition(a: &[i64], b: &[i64]) -> Vec<i128> {
        let mut product = vec![0i128; DEGREE];
        for (i, &x) in a.iter().enumerate().filter(|(_, x)| **x != 0) {
            for (j, &y) in b.iter().enumerate() {
                let term = i128::from(x) * i128::from(y);
                match i + j < DEGREE {
                    true => product[i + j] += term,
                    false => product[i + j - DEGREE] -= term,
                }
            }
        }
        product
    }

    #[test]
    fn products_are_those_of_the_definition() {
        let transform = Transform::get();
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let wide = |rng: &mut ChaCha20Rng| rng.random_range(-(1i64 << 45)..1 << 45);
        let extremes: [Box<dyn Fn(&mut ChaCha20Rng) -> (i64, i64)>; 4] = [
            Box::new(|rng| (rng.random_range(-2..=2), wide(rng))),
            Box::new(|_| (-2, -(1 << 45))),
            Box::new(|_| (2, (1 << 45) - 1)),
            Box::new(|_| (0, 0)),
        ];
        for draw in extremes {
            let (a, b): (Vec<i64>, Vec<i64>) = (0..DEGREE).map(|_| draw(&mut rng)).unzip();
            let found = transform.product(
                &transform.forward(a.iter().copied()),
                &transform.forward(b.iter().copied()),
            );
            let found: Vec<i128> = found.into_iter().map(i128::from).collect();
            assert_eq!(found, definition(&a, &b));
        }
    }
}
