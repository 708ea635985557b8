//! Small secrets, and public polynomials.

use rand::Rng;
use zeroize::Zeroizing;

use super::DEGREE;

/// A polynomial of centered binomials: two bits less two bits each, so that the variance is 1. In
/// constant time.
pub(crate) fn small(rng: &mut impl Rng) -> Zeroizing<Vec<i8>> {
    let mut values = Zeroizing::new(Vec::with_capacity(DEGREE));
    for _ in 0..DEGREE / 16 {
        let word = Zeroizing::new(rng.next_u64());
        // Pairs of bits become their sums, 0 to 2, sixteen differences of neighbors a word.
        let pairs = (*word & 0x5555_5555_5555_5555) + (*word >> 1 & 0x5555_5555_5555_5555);
        let differences =
            (0..16).map(|at| (pairs >> (4 * at) & 3) as i8 - (pairs >> (4 * at + 2) & 3) as i8);
        values.extend(differences);
    }
    values
}

/// A polynomial that everybody knows, for a purpose and its numbers: coefficients of 64 bits, to be
/// taken modulo any power of two. They come from a constant of this program alone, so that nobody
/// chose them.
pub(crate) fn public(purpose: &str, numbers: [u64; 2]) -> Vec<u64> {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&(purpose.len() as u64).to_le_bytes()).update(purpose.as_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    let mut bytes = vec![0; 8 * DEGREE];
    hasher.finalize_xof().fill(&mut bytes);
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

/// The context of the derivation: what it is for, once and for all.
const CONTEXT: &str = "pq 2026-11-28 public polynomials of hints";

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    #[test]
    fn secrets_are_centered_binomials_of_variance_one() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let mut counts = [0u32; 5];
        for _ in 0..64 {
            small(&mut rng).iter().for_each(|value| counts[(value + 2) as usize] += 1);
        }
        let total = f64::from(64 * DEGREE as u32);
        for (count, expected) in counts.iter().zip([1.0, 4.0, 6.0, 4.0, 1.0]) {
            let found = f64::from(*count) / total;
            assert!((found - expected / 16.0).abs() < 0.005, "{counts:?}");
        }
    }

    #[test]
    fn public_polynomials_differ_by_purpose_and_number_and_never_change() {
        let all =
            [public("a", [0, 0]), public("a", [0, 1]), public("a", [1, 0]), public("p", [0, 0])];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one));
        }
        assert_eq!(public("a", [0, 0]), all[0]);
    }
}
