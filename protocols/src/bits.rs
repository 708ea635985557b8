//! Bit widths, bit strings, and the one place where bits become bytes.

use std::fmt;

use bitvec::order::Lsb0;
use bitvec::vec::BitVec;
use serde::{Deserialize, Serialize};

use crate::linear::Word;

/// The width of a ring `Z_{2^l}` or of a message entry: 1 to 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Bits(u8);

impl Bits {
    /// One bit.
    pub const ONE: Self = Self(1);

    /// A width, or `None` where it is not within 1..=64.
    pub const fn new(width: u32) -> Option<Self> {
        if width >= 1 && width <= 64 { Some(Self(width as u8)) } else { None }
    }

    /// A width that the caller has derived from valid ones.
    ///
    /// # Panics
    /// Where `width` is not within 1..=64: an invariant of the caller is broken.
    #[track_caller]
    pub const fn of(width: u32) -> Self {
        match Self::new(width) {
            Some(bits) => bits,
            None => panic!("invariant: a width is within 1..=64"),
        }
    }

    /// The width as a number of bits.
    pub const fn get(self) -> u32 {
        self.0 as u32
    }

    /// `2^l - 1`.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.0 as u32)
    }

    /// `value mod 2^l`.
    pub const fn reduce(self, value: u64) -> u64 {
        value & self.mask()
    }

    /// A two's complement integer as a ring element.
    pub const fn encode(self, value: i64) -> u64 {
        self.reduce(value as u64)
    }

    /// The two's complement reading of a ring element.
    pub const fn decode(self, value: u64) -> i64 {
        let unused = 64 - self.0 as u32;
        ((value << unused) as i64) >> unused
    }

    /// Bytes of `count` packed elements of this width.
    pub const fn packed_len(self, count: usize) -> usize {
        ((count as u128 * self.0 as u128).div_ceil(8)) as usize
    }

    /// Packs ring elements, least significant bit first. Bits of an element above the width are
    /// ignored.
    pub fn pack(self, values: &[u64]) -> Vec<u8> {
        let mut bytes = vec![0; self.packed_len(values.len())];
        self.pack_into(values, &mut bytes);
        bytes
    }

    /// Packs the first `count` ring elements of an iterator, as [`Bits::pack`] does.
    pub fn pack_from(self, count: usize, values: impl Iterator<Item = u64>) -> Vec<u8> {
        let mut bytes = vec![0; self.packed_len(count)];
        let (mut values, mut buffer) = (values.take(count), [0; BUFFER]);
        for bytes in bytes.chunks_mut(self.packed_len(BUFFER)) {
            let mut filled = 0;
            for (slot, value) in buffer.iter_mut().zip(&mut values) {
                (*slot, filled) = (value, filled + 1);
            }
            self.pack_into(&buffer[..filled], bytes);
        }
        bytes
    }

    /// The inverse of [`Bits::pack`].
    ///
    /// # Panics
    /// Where `bytes` is not exactly as long as `count` elements: the channel has checked lengths
    /// before.
    pub fn unpack(self, bytes: &[u8], count: usize) -> Vec<u64> {
        let mut values = vec![0; count];
        self.unpack_into(bytes, &mut values);
        values
    }

    /// Packs words, as [`Bits::pack`] does, into as many bytes as they fill.
    pub(crate) fn pack_into<W: Word>(self, values: &[W], bytes: &mut [u8]) {
        assert_eq!(
            bytes.len(),
            self.packed_len(values.len()),
            "invariant: a message has its declared length"
        );
        match self.0 {
            0..=16 => self.pack_by::<W, 4>(values, bytes),
            17..=32 => self.pack_by::<W, 2>(values, bytes),
            _ => self.pack_by::<W, 1>(values, bytes),
        }
    }

    /// Packs `N` words at a time, which one word of 64 bits holds.
    fn pack_by<W: Word, const N: usize>(self, values: &[W], bytes: &mut [u8]) {
        let (width, mask) = (self.get(), self.mask());
        let join = |words: &[W]| {
            let words = words.iter().enumerate();
            words.fold(0, |word, (i, &value)| word | (value.into() & mask) << (i as u32 * width))
        };
        let (mut held, mut filled, mut at) = (0u128, 0u32, 0);
        let mut put = |words: &[W]| {
            held |= u128::from(join(words)) << filled;
            filled += words.len() as u32 * width;
            if filled >= 64 {
                bytes[at..at + 8].copy_from_slice(&(held as u64).to_le_bytes());
                (held, filled, at) = (held >> 64, filled - 64, at + 8);
            }
        };
        let (groups, rest) = values.as_chunks::<N>();
        groups.iter().for_each(|group| put(group));
        rest.iter().for_each(|value| put(&[*value]));
        let rest = bytes.len() - at;
        bytes[at..].copy_from_slice(&held.to_le_bytes()[..rest]);
    }

    /// The inverse of [`Bits::pack_into`].
    pub(crate) fn unpack_into<W: Word>(self, bytes: &[u8], values: &mut [W]) {
        assert_eq!(
            bytes.len(),
            self.packed_len(values.len()),
            "invariant: a message has its declared length"
        );
        let width = self.get() as usize;
        let (groups, rest) = values.as_chunks_mut::<8>();
        for (number, group) in groups.iter_mut().enumerate() {
            let bytes = &bytes[number * width..];
            match bytes.first_chunk::<16>() {
                Some(bytes) if width <= 16 => self.unpack_group(u128::from_le_bytes(*bytes), group),
                _ => self.unpack_each(bytes, group),
            }
        }
        self.unpack_each(&bytes[groups.len() * width..], rest);
    }

    /// Eight elements of at most 16 bits.
    fn unpack_group<W: Word>(self, bits: u128, values: &mut [W; 8]) {
        let (width, mask) = (self.get(), self.mask());
        let halves = [bits as u64, (bits >> (4 * width)) as u64];
        for (half, values) in halves.into_iter().zip(values.as_chunks_mut::<4>().0) {
            for (i, value) in values.iter_mut().enumerate() {
                *value = W::truncate(half >> (i as u32 * width) & mask);
            }
        }
    }

    /// Elements of any width, wherever they end.
    fn unpack_each<W: Word>(self, bytes: &[u8], values: &mut [W]) {
        let (width, mask) = (self.get() as usize, self.mask());
        for (i, value) in values.iter_mut().enumerate() {
            // The element begins in the first of these bytes, and ends in the ninth at the latest.
            let (bytes, shift) = (&bytes[i * width / 8..], i * width % 8);
            let low = bytes.first_chunk::<8>().copied().unwrap_or_else(|| {
                let mut low = [0; 8];
                low[..bytes.len()].copy_from_slice(bytes);
                low
            });
            let mut bits = u64::from_le_bytes(low) >> shift;
            if shift + width > 64 {
                bits |= u64::from(bytes[8]) << (64 - shift);
            }
            *value = W::truncate(bits & mask);
        }
    }
}

/// Elements that [`Bits::pack_from`] holds.
const BUFFER: usize = 256;

impl From<Bits> for u8 {
    fn from(bits: Bits) -> Self {
        bits.0
    }
}

impl TryFrom<u8> for Bits {
    type Error = String;

    fn try_from(width: u8) -> Result<Self, String> {
        Self::new(u32::from(width))
            .ok_or_else(|| format!("a width is within 1..=64, found {width}"))
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bit", self.0)
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A string of bits, packed into 64-bit words. `Debug` prints its length alone, since most such
/// strings are secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BitString(BitVec<u64, Lsb0>);

impl BitString {
    /// `len` zero bits.
    pub fn zeros(len: usize) -> Self {
        Self(BitVec::repeat(false, len))
    }

    /// `len` bits, from the low bits of `words` on.
    pub fn from_words(mut words: Vec<u64>, len: usize) -> Self {
        words.resize(len.div_ceil(64), 0);
        if !len.is_multiple_of(64)
            && let Some(last) = words.last_mut()
        {
            *last &= (1 << (len % 64)) - 1;
        }
        let mut bits = BitVec::from_vec(words);
        bits.truncate(len);
        Self(bits)
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
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no bit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bit `index` as 0 or 1.
    pub fn bit(&self, index: usize) -> u64 {
        assert!(index < self.len(), "invariant: a bit index is within its string");
        (self.0.as_raw_slice()[index / 64] >> (index % 64)) & 1
    }

    /// All bits in order, as 0 or 1.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len()).map(|i| (self.0.as_raw_slice()[i / 64] >> (i % 64)) & 1)
    }

    /// The words that hold the bits; bits above the length are zero.
    pub fn words(&self) -> &[u64] {
        self.0.as_raw_slice()
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
        let mut bits = self.0.clone();
        bits.extend_from_bitslice(&other.0);
        Self(bits)
    }

    /// The bits of a range.
    #[must_use]
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        let mut bits = self.0[range].to_bitvec();
        bits.force_align();
        let len = bits.len();
        Self::from_words(bits.into_vec(), len)
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
        fn unpacking_undoes_packing(
            width in 1u32..=64,
            values in prop::collection::vec(any::<u64>(), 0..70),
        ) {
            let bits = Bits::of(width);
            let reduced: Vec<u64> = values.iter().map(|&v| bits.reduce(v)).collect();
            let packed = bits.pack(&values);
            prop_assert_eq!(packed.len(), bits.packed_len(values.len()));
            prop_assert_eq!(bits.unpack(&packed, values.len()), reduced);
        }

        #[test]
        fn decoding_undoes_encoding(width in 1u32..=64, value in any::<i64>()) {
            let bits = Bits::of(width);
            let value = bits.decode(value as u64);
            prop_assert_eq!(bits.decode(bits.encode(value)), value);
        }

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
            cut in any::<prop::sample::Index>(),
        ) {
            let a: BitString = pairs.iter().map(|p| p.0).collect();
            let b: BitString = pairs.iter().map(|p| p.1).collect();
            prop_assert_eq!(a.xor(&b), pairs.iter().map(|p| p.0 ^ p.1).collect());
            prop_assert_eq!(a.and(&b), pairs.iter().map(|p| p.0 & p.1).collect());
            prop_assert_eq!(a.not().not(), a.clone());
            prop_assert_eq!(BitString::from_bytes(&a.to_bytes(), a.len()), a.clone());
            let cut = cut.index(pairs.len() + 1);
            prop_assert_eq!(a.slice(0..cut).concat(&a.slice(cut..a.len())), a);
        }
    }
}
