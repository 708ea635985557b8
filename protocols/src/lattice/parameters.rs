//! Which lattices are used, why they are hard, and how large their noise gets.
//!
//! **Hardness.** Decision RLWE in `Z_(2^q)[X] / (X^2048 + 1)`, secrets and errors centered binomial
//! with variance 1. By the lattice estimator (malb/lattice-estimator, commit 27a581b, MATZOV's
//! costs; the least of primal uSVP, BDD and dual hybrid), log2 of operations:
//!
//! | q | 26 | 30 | 36 | 40 | 44 | 48 |
//! |---|---|---|---|---|---|---|
//! | bits | 245 | 225 | 187 | 168 | 152 | 139 |
//!
//! A modulus of 2^46 is the largest that is taken: about 145 bits by that count, and by core-SVP
//! what Kyber-512 has. Moduli that are powers of two, with binomial secrets, are those of Frodo,
//! Saber and TFHE; for these, as for Kyber, the hardness is taken for granted, not proven.
//!
//! One secret serves samples of several moduli. A sample of a smaller one is a reduction of one of
//! the largest, so the largest counts.

/// The modulus `2^q`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Modulus(u32);

/// The largest modulus, in bits.
const WIDEST: u32 = 46;

impl Modulus {
    /// A modulus of so many bits, where the lattice is hard enough.
    pub(crate) const fn new(bits: u32) -> Option<Self> {
        if bits >= 8 && bits <= WIDEST { Some(Self(bits)) } else { None }
    }

    /// Its bits.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// A value modulo it.
    pub(crate) const fn reduce(self, value: u64) -> u64 {
        value & ((1 << self.0) - 1)
    }

    /// A residue's representative that is least in magnitude.
    pub(crate) const fn center(self, residue: u64) -> i64 {
        ((residue << (64 - self.0)) as i64) >> (64 - self.0)
    }
}

/// How many times a plan's noise may be what is expected of secrets and roundings: 2^-60 of all
/// draws are beyond it, and an error.
pub(crate) const NOISE_MARGIN: f64 = 1.25;

/// How many times its deviation bound a sum of independent small variables stays below, but with
/// probability `2^-bits` for all of so many sums together: `sqrt(2 ln 2 (bits + 1 + log2 sums))`.
///
/// A centered binomial of variance 1 has `E exp(x X) = cosh(x/2)^4 <= exp(x^2 / 2)`; a linear form
/// of independent ones is sub-Gaussian with the sum of squared coefficients.
///
/// For example, 9.0 for 2^-40 and 2^17 sums.
pub(crate) fn deviation_bound(bits: f64, sums: f64) -> f64 {
    (2.0 * std::f64::consts::LN_2 * (bits + 1.0 + sums.log2())).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits of security of a modulus of so many bits: see the head of this file.
    fn security_bits(modulus: Modulus) -> f64 {
        const MEASURED: [(f64, f64); 6] = [
            (26.0, 245.0),
            (30.0, 225.0),
            (36.0, 187.0),
            (40.0, 168.0),
            (44.0, 152.0),
            (48.0, 139.0),
        ];
        let q = f64::from(modulus.bits()).max(MEASURED[0].0);
        let at =
            MEASURED.iter().position(|(bits, _)| *bits >= q).unwrap_or(MEASURED.len() - 1).max(1);
        let ((a, x), (b, y)) = (MEASURED[at - 1], MEASURED[at]);
        x + (y - x) * (q - a) / (b - a)
    }

    #[test]
    fn every_modulus_that_there_is_has_128_bits() {
        for bits in 0..=64 {
            match Modulus::new(bits) {
                Some(modulus) => {
                    let found = security_bits(modulus);
                    println!("2^{bits}: {found:.0} bits");
                    assert!(found >= 140.0, "2^{bits}: {found}");
                }
                None => assert!(!(8..=WIDEST).contains(&bits)),
            }
        }
    }

    #[test]
    fn residues_are_centered() {
        let modulus = Modulus::new(8).unwrap();
        assert_eq!([0, 1, 127, 128, 255].map(|r| modulus.center(r)), [0, 1, 127, -128, -1]);
        assert!((deviation_bound(40.0, 131_072.0) - 8.97).abs() < 0.01);
    }
}
