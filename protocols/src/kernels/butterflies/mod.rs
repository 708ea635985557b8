//! The negacyclic number-theoretic transform of 2048 residues modulo one prime of 30 bits.
//!
//! Butterflies are lazy (Harvey, *Faster arithmetic for number-theoretic transforms*, 2014): values
//! stay below four times the prime, and constants are multiplied with their quotients precomputed
//! (Shoup).

#[cfg(target_arch = "x86_64")]
mod x86;

use bytemuck::Zeroable;

/// Coefficients of a polynomial.
pub(crate) const DEGREE: usize = 2048;
/// The prime: `2^30 - 49,151`, 1 modulo 4,096.
pub(crate) const PRIME: u32 = 1_073_692_673;
/// A root of unity of order 4,096.
const ROOT: u32 = 77_672_603;
/// `2^61` over the prime.
const RECIPROCAL: u64 = (1 << 61) / PRIME as u64;

/// One residue for every coefficient.
pub(crate) type Residues = [u32; DEGREE];

/// The tables of the transform.
pub(crate) struct Butterflies {
    kernel: Kernel,
    forward: Constants,
    inverse: Constants,
    /// The reciprocal of the degree.
    scale: Constant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Wide,
}

/// A factor, and `2^32` times it over the prime.
#[derive(Clone, Copy)]
struct Constant {
    factor: u32,
    quotient: u32,
}

/// Those of all butterflies, in the order in which they are taken.
struct Constants {
    factors: Residues,
    quotients: Residues,
    /// For every 64 residues, those of the last three levels of a forward transform: seven times
    /// one for each eight of them, factors and quotients.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "the twin does without"))]
    last: Vec<[[[u32; 8]; 2]; 7]>,
}

impl Constant {
    const fn new(factor: u32) -> Self {
        Self { factor, quotient: (((factor as u64) << 32) / PRIME as u64) as u32 }
    }

    /// The product modulo the prime, below twice the prime, whatever the value.
    #[inline(always)]
    const fn times(self, value: u32) -> u32 {
        let quotient = ((value as u64 * self.quotient as u64) >> 32) as u32;
        value.wrapping_mul(self.factor).wrapping_sub(quotient.wrapping_mul(PRIME))
    }
}

impl Constants {
    /// Powers of a root, bits of the exponent reversed.
    fn new(root: u32) -> Self {
        let (mut factors, mut quotients) = (Residues::zeroed(), Residues::zeroed());
        let mut value = 1;
        for exponent in 0..DEGREE {
            let at = exponent.reverse_bits() >> (usize::BITS - DEGREE.trailing_zeros());
            let constant = Constant::new(value);
            (factors[at], quotients[at]) = (constant.factor, constant.quotient);
            value = times(value, root);
        }
        let of_lanes = |part: usize, number: usize| {
            // Level `l` of the three has `2^l` constants for every eight residues.
            let level = (number + 1).ilog2();
            let at =
                |lane: usize| ((DEGREE / 8 + 8 * part + lane) << level) + number + 1 - (1 << level);
            [
                std::array::from_fn(|lane| factors[at(lane)]),
                std::array::from_fn(|lane| quotients[at(lane)]),
            ]
        };
        let last =
            (0..DEGREE / 64).map(|part| std::array::from_fn(|number| of_lanes(part, number)));
        Self { last: last.collect(), factors, quotients }
    }

    fn get(&self, at: usize) -> Constant {
        Constant { factor: self.factors[at], quotient: self.quotients[at] }
    }
}

impl Butterflies {
    pub(crate) fn new() -> Self {
        Self::of(Kernel::best())
    }

    fn of(kernel: Kernel) -> Self {
        let scale = Constant::new(power(DEGREE as u32, PRIME - 2));
        let (forward, inverse) = (Constants::new(ROOT), Constants::new(power(ROOT, PRIME - 2)));
        Self { kernel, forward, inverse, scale }
    }

    /// Transforms residues, in an order of its own.
    pub(crate) fn forward(&self, values: &mut Residues) {
        match self.kernel {
            Kernel::Portable => forward(&self.forward, values),
            // SAFETY: `Kernel::best` has found the instructions.
            #[cfg(target_arch = "x86_64")]
            Kernel::Wide => unsafe { x86::forward(&self.forward, values) },
        }
    }

    /// Residues of the product of two transformed polynomials.
    pub(crate) fn product(&self, a: &Residues, b: &Residues, values: &mut Residues) {
        match self.kernel {
            Kernel::Portable => {
                multiply(a, b, values);
                inverse(&self.inverse, self.scale, values);
            }
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kernel::Wide => unsafe {
                x86::multiply(a, b, values);
                x86::inverse(&self.inverse, self.scale, values);
            },
        }
    }
}

impl Kernel {
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if x86::has_wide() {
            return Self::Wide;
        }
        Self::Portable
    }
}

fn forward(constants: &Constants, values: &mut Residues) {
    let (mut half, mut blocks) = (DEGREE / 2, 1);
    while half > 0 {
        for (block, values) in values.chunks_exact_mut(2 * half).enumerate() {
            let constant = constants.get(blocks + block);
            let (low, high) = values.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                let (sum, product) = (below(*a, 2 * PRIME), constant.times(*b));
                (*a, *b) = (sum + product, sum + 2 * PRIME - product);
            }
        }
        (half, blocks) = (half / 2, 2 * blocks);
    }
    values.iter_mut().for_each(|value| *value = below(below(*value, 2 * PRIME), PRIME));
}

/// From below twice the prime to below it.
fn inverse(constants: &Constants, scale: Constant, values: &mut Residues) {
    let (mut half, mut blocks) = (1, DEGREE / 2);
    while blocks > 0 {
        for (block, values) in values.chunks_exact_mut(2 * half).enumerate() {
            let constant = constants.get(blocks + block);
            let (low, high) = values.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                let (x, y) = (*a, *b);
                (*a, *b) = (below(x + y, 2 * PRIME), constant.times(x + 2 * PRIME - y));
            }
        }
        (half, blocks) = (2 * half, blocks / 2);
    }
    values.iter_mut().for_each(|value| *value = below(scale.times(*value), PRIME));
}

/// Products of residues, below twice the prime.
fn multiply(a: &Residues, b: &Residues, products: &mut Residues) {
    for ((a, b), product) in a.iter().zip(b).zip(products) {
        let whole = u64::from(*a) * u64::from(*b);
        // At most two less than the quotient (Barrett).
        let quotient = ((whole >> 29) * RECIPROCAL) >> 32;
        *product =
            below((whole as u32).wrapping_sub((quotient as u32).wrapping_mul(PRIME)), 2 * PRIME);
    }
}

/// A value below twice another one, less that where it is not below it; without a branch.
#[inline(always)]
const fn below(value: u32, other: u32) -> u32 {
    let less = value.wrapping_sub(other);
    let keep = (((value as u64).wrapping_sub(other as u64)) >> 63) as u32;
    less.wrapping_add(other & keep.wrapping_neg())
}

fn times(a: u32, b: u32) -> u32 {
    (u64::from(a) * u64::from(b) % u64::from(PRIME)) as u32
}

fn power(base: u32, mut exponent: u32) -> u32 {
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
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;

    #[test]
    fn the_root_has_the_order_that_is_claimed() {
        assert_eq!((PRIME - 1) % 4096, 0);
        assert_eq!(power(ROOT, 2048), PRIME - 1);
        assert!((2..1 << 15).all(|divisor| !PRIME.is_multiple_of(divisor)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_kernel_transforms_and_multiplies_alike(seed: u64, extreme: bool) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let mut residue = || match extreme {
                true => [0, 1, PRIME / 2, PRIME - 1][rng.random_range(0..4)],
                false => rng.random_range(0..PRIME),
            };
            let a: Residues = std::array::from_fn(|_| residue());
            let b: Residues = std::array::from_fn(|_| residue());
            let all = |kernel: Kernel| {
                let butterflies = Butterflies::of(kernel);
                let (mut left, mut right, mut product) = (a, b, a);
                butterflies.forward(&mut left);
                butterflies.forward(&mut right);
                butterflies.product(&left, &right, &mut product);
                (left, right, product)
            };
            let portable = all(Kernel::Portable);
            prop_assert!(portable.2.iter().chain(&portable.0).all(|value| *value < PRIME));
            prop_assert!(all(Kernel::best()) == portable);
        }
    }
}
