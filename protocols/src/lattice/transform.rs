//! Exact products of polynomials modulo `X^2048 + 1`, one of them small.
//!
//! The large one is cut into limbs of 17 bits, the small one has coefficients of up to 2 in
//! magnitude: each of 2048 sums of products is below `2048 * 2 * 2^16 = 2^28`, exact modulo a prime
//! of 30 bits. So one transform of half the words serves where a prime of 61 bits would need one of
//! them for both, and the small polynomial is transformed once for all limbs.

use std::sync::OnceLock;

use bytemuck::Zeroable;
use zeroize::{Zeroize, Zeroizing};

use super::{DEGREE, Modulus};
use crate::kernels::{Butterflies, PRIME, Residues};

/// Bits of a limb.
const LIMB: u32 = 17;

/// Small coefficients are up to so much in magnitude.
const SMALL: i8 = 2;

/// The transform, with its tables.
pub(crate) struct Transform(Butterflies);

/// A transformed polynomial, limb by limb, the lowest first; wiped when it is dropped.
#[derive(Clone)]
pub(crate) struct Polynomial(Vec<Residues>);

/// A transformed small polynomial; wiped when it is dropped.
#[derive(Clone)]
pub(crate) struct SmallPolynomial(Box<Residues>);

impl Polynomial {
    /// Bytes of one of a modulus.
    pub(crate) const fn bytes(modulus: Modulus) -> u64 {
        limbs(modulus) as u64 * SmallPolynomial::BYTES
    }
}

impl SmallPolynomial {
    /// Bytes of one.
    pub(crate) const BYTES: u64 = size_of::<Residues>() as u64;
}

/// Limbs of a polynomial of a modulus: of centered residues, up to `2^(q - 1)` in magnitude, the
/// highest is up to `2^16`.
const fn limbs(modulus: Modulus) -> usize {
    (modulus.bits() as usize).div_ceil(LIMB as usize)
}

impl Transform {
    /// The tables, made once a process.
    pub(crate) fn get() -> &'static Self {
        static TABLES: OnceLock<Transform> = OnceLock::new();
        TABLES.get_or_init(|| Self(Butterflies::new()))
    }

    /// Transforms a polynomial, given by its coefficients modulo a power of two, or more bits of
    /// them.
    pub(crate) fn forward(
        &self,
        modulus: Modulus,
        coefficients: impl IntoIterator<Item = u64>,
    ) -> Polynomial {
        let coefficients = coefficients.into_iter().take(DEGREE);
        let values = coefficients.map(|value| modulus.center(modulus.reduce(value)));
        let values: Vec<i64> = values.collect();
        assert_eq!(values.len(), DEGREE, "invariant: a polynomial has 2048 coefficients");
        let mut polynomial = Polynomial(vec![Residues::zeroed(); limbs(modulus)]);
        let (highest, lower) = polynomial.0.split_last_mut().expect("invariant: there are limbs");
        // Limbs are least in magnitude, so half of a limb's range rounds what is left of the value.
        let (mut half, mut shift) = (0, 0);
        for limbs in lower {
            for (limb, value) in limbs.iter_mut().zip(values.iter()) {
                *limb = lift(((value + half) >> shift << (64 - LIMB) >> (64 - LIMB)) as i32);
            }
            (half, shift) = (half + (1 << (shift + LIMB - 1)), shift + LIMB);
        }
        for (limb, value) in highest.iter_mut().zip(values.iter()) {
            *limb = lift(((value + half) >> shift) as i32);
        }
        polynomial.0.iter_mut().for_each(|limb| self.0.forward(limb));
        polynomial
    }

    /// Transforms a small polynomial.
    pub(crate) fn small(&self, coefficients: &[i8]) -> SmallPolynomial {
        assert_eq!(coefficients.len(), DEGREE, "invariant: a polynomial has 2048 coefficients");
        debug_assert!(coefficients.iter().all(|value| (-SMALL..=SMALL).contains(value)));
        let mut residues = Box::new(Residues::zeroed());
        for (residue, &value) in residues.iter_mut().zip(coefficients) {
            *residue = lift(value.into());
        }
        self.0.forward(&mut residues);
        SmallPolynomial(residues)
    }

    /// The coefficients of the product of two polynomials, exact as integers.
    pub(crate) fn product(&self, a: &Polynomial, b: &SmallPolynomial) -> Vec<i64> {
        let mut product = vec![0; DEGREE];
        let mut residues = Zeroizing::new(Residues::zeroed());
        for (number, limb) in a.0.iter().enumerate() {
            self.0.product(limb, &b.0, &mut residues);
            let shift = number as u32 * LIMB;
            for (sum, &residue) in product.iter_mut().zip(residues.iter()) {
                *sum += i64::from(center(residue)) << shift;
            }
        }
        product
    }
}

/// The residue of a value between minus the prime and the prime: without a branch.
const fn lift(value: i32) -> u32 {
    (value + ((value >> 31) & PRIME as i32)) as u32
}

/// A residue's representative that is least in magnitude: without a branch.
const fn center(residue: u32) -> i32 {
    // The prime is taken off what is above half of it.
    let above = (PRIME / 2).wrapping_sub(residue) >> 31;
    residue.wrapping_sub(PRIME & above.wrapping_neg()) as i32
}

impl Drop for Polynomial {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(Zeroize::zeroize);
    }
}

impl Drop for SmallPolynomial {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;

    /// The definition: what goes beyond the degree comes back with its sign changed.
    fn definition(a: &[i8], b: &[i64]) -> Vec<i64> {
        let mut product = vec![0; DEGREE];
        for (i, &x) in a.iter().enumerate().filter(|(_, x)| **x != 0) {
            for (j, &y) in b.iter().enumerate() {
                let term = i64::from(x) * y;
                match i + j < DEGREE {
                    true => product[i + j] += term,
                    false => product[i + j - DEGREE] -= term,
                }
            }
        }
        product
    }

    /// Draws a coefficient of each, the large one below so much in magnitude.
    type Draw = fn(&mut ChaCha20Rng, i64) -> (i8, i64);

    #[test]
    fn products_are_those_of_the_definition() {
        let transform = Transform::get();
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        for bits in (8..=46).step_by(2).chain([17, 33, 35]) {
            let modulus = Modulus::new(bits).unwrap();
            let half = 1i64 << (bits - 1);
            let extremes: [Draw; 5] = [
                |rng, half| (rng.random_range(-2..=2), rng.random_range(-half..half)),
                |_, half| (-2, -half),
                |_, half| (2, half - 1),
                |rng, half| (2, -half + i64::from(rng.random::<bool>()) * (half - 1)),
                |_, _| (0, 0),
            ];
            for draw in extremes {
                let (a, b): (Vec<i8>, Vec<i64>) = (0..DEGREE).map(|_| draw(&mut rng, half)).unzip();
                let large = transform.forward(modulus, b.iter().map(|&value| value as u64));
                let found = transform.product(&large, &transform.small(&a));
                assert_eq!(found, definition(&a, &b), "{bits} bits");
            }
        }
    }
}
