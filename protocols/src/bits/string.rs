//! Strings of bits, one for each element of a vector.

use std::fmt;

use super::Bits;

/// A string of bits, packed into 64-bit words. `Debug` prints its length alone, since most such
/// strings are secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BitString {
    /// As many as hold the bits; bits above the length are zero.
    words: Vec<u64>,
    len: usize,
}

impl BitString {
    /// `len` zero bits.
    pub fn zeros(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// `len` bits, from the low bits of `words` on.
    pub fn from_words(mut words: Vec<u64>, len: usize) -> Self {
        words.resize(len.div_ceil(64), 0);
        if !len.is_multiple_of(64)
            && let Some(last) = words.last_mut()
        {
            *last &= (1 << (len % 64)) - 1;
        }
        Self { words, len }
    }

    /// Bit `at` of every value.
    pub fn of_values(values: &[u64], at: u32) -> Self {
        let mut bytes = [0; 64];
        let words = values.chunks(64).map(|chunk| {
            bytes.iter_mut().zip(chunk).for_each(|(byte, value)| *byte = (value >> at) as u8);
            gather(&bytes, 0)
        });
        Self::from_words(words.collect(), values.len())
    }

    /// Number of bits.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no bit.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bit `index` as 0 or 1.
    pub fn bit(&self, index: usize) -> u64 {
        assert!(index < self.len(), "invariant: a bit index is within its string");
        (self.words[index / 64] >> (index % 64)) & 1
    }

    /// All bits in order, as 0 or 1.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len()).map(|i| (self.words[i / 64] >> (i % 64)) & 1)
    }

    /// The words that hold the bits; bits above the length are zero.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Bitwise exclusive or.
    ///
    /// # Panics
    /// Where the lengths differ.
    #[must_use]
    pub fn xor(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a ^ b)
    }

    /// Bitwise and.
    ///
    /// # Panics
    /// Where the lengths differ.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// Bitwise complement.
    #[must_use]
    pub fn not(&self) -> Self {
        Self::from_words(self.words().iter().map(|word| !word).collect(), self.len())
    }

    /// The bits of `self`, then those of `other`.
    #[must_use]
    pub fn concat(&self, other: &Self) -> Self {
        let (mut words, shift) = (self.words.clone(), self.len % 64);
        // Each word of `other` fills up the last one, and begins the next.
        for word in other.words.iter().copied() {
            match words.last_mut().filter(|_| shift > 0) {
                Some(last) => {
                    *last |= word << shift;
                    words.push(word >> (64 - shift));
                }
                None => words.push(word),
            }
        }
        Self::from_words(words, self.len + other.len)
    }

    /// The bits of a range.
    #[must_use]
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "invariant: a range of bits is within its string"
        );
        let (first, shift) = (range.start / 64, range.start % 64);
        // A word of the result is the end of one and, where it does not start there, the start of
        // the one behind it.
        let word = |at: usize| self.words.get(at).copied().unwrap_or(0);
        let behind = |at: usize| if shift > 0 { word(at + 1) << (64 - shift) } else { 0 };
        let words = (first..range.end.div_ceil(64)).map(|at| word(at) >> shift | behind(at));
        Self::from_words(words.collect(), range.len())
    }

    /// The bits as bytes, least significant first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words().iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(Bits::ONE.packed_len(self.len()));
        bytes
    }

    /// The inverse of [`BitString::to_bytes`]; bits above `len` are dropped.
    pub fn from_bytes(bytes: &[u8], len: usize) -> Self {
        let words = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        Self::from_words(words.collect(), len)
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        assert_eq!(
            self.len(),
            other.len(),
            "invariant: bit strings of one operator have one length"
        );
        let words = self.words().iter().zip(other.words()).map(|(&a, &b)| f(a, b)).collect();
        Self::from_words(words, self.len())
    }
}

/// Bit `at` of every byte, 0 to 7.
pub(crate) fn gather(bytes: &[u8; 64], at: u32) -> u64 {
    let mut word = 0;
    for (i, eight) in bytes.chunks_exact(8).enumerate() {
        let eight = eight.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
        // bit 8 j moves to bit 56 + j: all products that land there come from one bit each
        let bits = (eight >> at & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word |= bits << (8 * i);
    }
    word
}

impl FromIterator<bool> for BitString {
    /// Bits are shifted into place: none selects a branch, since many are secret.
    fn from_iter<I: IntoIterator<Item = bool>>(bits: I) -> Self {
        let (mut words, mut len) = (Vec::new(), 0);
        for bit in bits {
            if len % 64 == 0 {
                words.push(0);
            }
            if let Some(word) = words.last_mut() {
                *word |= u64::from(bit) << (len % 64);
            }
            len += 1;
        }
        Self::from_words(words, len)
    }
}

impl fmt::Debug for BitString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BitString({} bits)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_gathered_in_order(
            values in prop::collection::vec(any::<u64>(), 0..200),
            at in 0u32..64,
        ) {
            let expected = values.iter().map(|value| value >> at & 1 == 1).collect();
            prop_assert_eq!(BitString::of_values(&values, at), expected);
            let bytes: [u8; 64] =
                std::array::from_fn(|i| values.get(i).map_or(0, |value| *value as u8));
            let bits = gather(&bytes, at % 8);
            for (i, byte) in bytes.iter().enumerate() {
                prop_assert_eq!(bits >> i & 1, u64::from(byte >> (at % 8) & 1));
            }
        }

        #[test]
        fn bit_strings_behave_like_vectors_of_bool(
            pairs in prop::collection::vec(any::<(bool, bool)>(), 0..200),
            cuts in any::<[prop::sample::Index; 2]>(),
        ) {
            let a: BitString = pairs.iter().map(|p| p.0).collect();
            let b: BitString = pairs.iter().map(|p| p.1).collect();
            prop_assert_eq!(a.xor(&b), pairs.iter().map(|p| p.0 ^ p.1).collect());
            prop_assert_eq!(a.and(&b), pairs.iter().map(|p| p.0 & p.1).collect());
            prop_assert_eq!(a.not().not(), a.clone());
            prop_assert_eq!(BitString::from_bytes(&a.to_bytes(), a.len()), a.clone());
            let mut cuts = cuts.map(|cut| cut.index(pairs.len() + 1));
            cuts.sort_unstable();
            let [low, high] = cuts;
            let part = pairs[low..high].iter().map(|p| p.0).collect::<BitString>();
            prop_assert_eq!(a.slice(low..high), part.clone());
            prop_assert_eq!(a.slice(0..low).concat(&part).concat(&a.slice(high..a.len())), a);
        }
    }
}
