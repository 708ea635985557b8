//! The one place where ring elements become bytes.

use super::{Bits, Word};

/// Elements that [`Bits::pack_from`] holds.
const BUFFER: usize = 256;

impl Bits {
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
        // A full buffer ends with a whole byte, since 256 elements of any width do.
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
        match self.get() {
            0..=16 => self.pack_by::<W, 4>(values, bytes),
            17..=32 => self.pack_by::<W, 2>(values, bytes),
            _ => self.pack_by::<W, 1>(values, bytes),
        }
    }

    /// Packs `N` words at a time, which one word of 64 bits holds.
    fn pack_by<W: Word, const N: usize>(self, values: &[W], bytes: &mut [u8]) {
        let (width, mask) = (self.get(), self.mask());
        // Before each turn fewer than 64 bits are held, and a turn adds at most 64: two words are
        // enough.
        let (mut held, mut filled, mut at) = (0u128, 0u32, 0);
        let mut put = |words: &[W]| {
            held |= u128::from(join(words, width, mask)) << filled;
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
                // Eight elements are `width` bytes, 16 at the most. Near the end of the message
                // there are not 16 to load.
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

/// Joins words, cut to a width, into one of 64 bits, the first in the lowest bits.
#[inline]
fn join<W: Word>(words: &[W], width: u32, mask: u64) -> u64 {
    let words = words.iter().enumerate();
    words.fold(0, |word, (i, &value)| word | (value.into() & mask) << (i as u32 * width))
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
    }
}
