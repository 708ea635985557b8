//! Random oblivious transfer.
//!
//! *Functionality.* The sender gets random strings `r0`, `r1` of up to 64 bits, the receiver a
//! random bit `x` and `r_x`. Read as a product: `r0 xor r_x = x (r0 xor r1)`, shares of a product
//! of two random values.
//!
//! *Steps,* from correlated OTs `M = K xor x Δ`: `r0 = H(K)`, `r1 = H(K xor Δ)`, `r_x =
//! H(M)`.
//!
//! Cost: nothing is sent; one correlated OT each. Security: `r_(1-x)` is random to the
//! receiver, where `H` is correlation robust; `x` is random to the sender.

use zeroize::Zeroize;

use super::Hash;
use super::demand::{ROW, Use};
use super::pool::choices;
use super::prepared::Pads;
use crate::bits::gather;
use crate::{BitString, Block, Error, Session};

/// One party's strings, bit by bit: `planes[b]` has bit `b` of every string.
pub(crate) struct Random {
    /// At the sender `r0`, at the receiver `r_x`.
    pub known: Vec<BitString>,
    /// At the sender `r0 xor r1`, bit by bit; at the receiver `x`, alone.
    pub factor: Vec<BitString>,
}

impl Random {
    /// The sender's next strings, `len` of `bits` bits.
    pub(crate) fn sender(session: &mut Session, len: usize, bits: usize) -> Result<Self, Error> {
        let pads = session.draw(session.role(), Use::Random(bits as u32), len)?;
        Ok(Self::new(&pads, len, bits))
    }

    /// The receiver's next choices and strings, `len` of `bits` bits.
    pub(crate) fn receiver(session: &mut Session, len: usize, bits: usize) -> Result<Self, Error> {
        let pads = session.draw(session.role().peer(), Use::Random(bits as u32), len)?;
        Ok(Self::new(&pads, len, bits))
    }

    /// Rows are words of 64 elements: of what is known, then of the factor.
    fn new(pads: &Pads, len: usize, bits: usize) -> Self {
        let planes = pads.side_bits();
        let mut planes: Vec<BitString> = (0..planes)
            .map(|plane| {
                let words = pads.rows().map(|row| word(row, plane));
                BitString::from_words(words.collect(), len)
            })
            .collect();
        // The planes of what is known come first, then those of the factor.
        let factor = planes.split_off(bits);
        Self { known: planes, factor }
    }
}

fn word(row: &[u8], at: usize) -> u64 {
    row[8 * at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Rows of the sender: words of the bits of `r0`, then of `r0 xor r1`.
pub(super) fn send(bits: u32, hash: &Hash, delta: Block, keys: &[Block], rows: &mut [u8]) {
    let mut pads = [Block::ZERO; 2 * ROW];
    let rows = rows.chunks_mut(2 * 8 * bits as usize);
    for (row, keys) in rows.zip(keys.chunks(ROW)) {
        let (zero, one) = pads.split_at_mut(ROW);
        for ((zero, one), key) in zero.iter_mut().zip(one).zip(keys) {
            *zero = *key;
            *one = *key ^ delta;
        }
        hash.apply(&mut pads[..ROW + keys.len()]);
        // Both hashes of OT i are at i and 64 + i.
        let (zero, one) = pads.split_at_mut(ROW);
        one.iter_mut().zip(&*zero).for_each(|(one, zero)| *one ^= *zero);
        let (known, factor) = row.split_at_mut(8 * bits as usize);
        planes(&zero[..keys.len()], known);
        planes(&one[..keys.len()], factor);
    }
    pads.zeroize();
}

/// Rows of the receiver: words of the bits of `r_x`, then x.
pub(super) fn receive(bits: u32, hash: &Hash, keys: &[Block], rows: &mut [u8]) {
    let mut pads = [Block::ZERO; ROW];
    let rows = rows.chunks_mut(8 * (bits as usize + 1));
    for (row, keys) in rows.zip(keys.chunks(ROW)) {
        let pads = &mut pads[..keys.len()];
        pads.copy_from_slice(keys);
        hash.apply(pads);
        let (known, factor) = row.split_at_mut(8 * bits as usize);
        planes(pads, known);
        factor.copy_from_slice(&choices(keys).to_le_bytes());
    }
    pads.zeroize();
}

/// The low bits of at most 64 blocks, a word for each bit.
fn planes(blocks: &[Block], words: &mut [u8]) {
    let mut bytes = [0; 64];
    for (at, words) in words.chunks_mut(8 * 8).enumerate() {
        bytes
            .iter_mut()
            .zip(blocks)
            .for_each(|(byte, block)| *byte = (block.0 as u64 >> (8 * at)) as u8);
        for (bit, word) in (0..).zip(words.chunks_mut(8)) {
            word.copy_from_slice(&gather(&bytes, bit).to_le_bytes());
        }
    }
    bytes.zeroize();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_random_transfer_is_a_product(bits in 1usize..=64, len in 0usize..200, seed: u64) {
            let (sender, receiver) = testing::two_parties(
                seed,
                len,
                async |session| Random::sender(session, len, bits),
                async |session| Random::receiver(session, len, bits),
            );
            for bit in 0..bits {
                let product = sender.factor[bit].and(&receiver.factor[0]);
                prop_assert_eq!(sender.known[bit].xor(&receiver.known[bit]), product);
            }
        }
    }
}
