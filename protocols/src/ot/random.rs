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
use super::pool::choices;
use crate::bits::gather;
use crate::{BitString, Bits, Block, Error, Session};

/// OTs that are hashed together.
const BATCH: usize = 64;

/// One party's strings, bit by bit: `planes[b]` has bit `b` of every string.
pub(crate) struct Random {
    /// At the sender `r0`, at the receiver `r_x`.
    pub known: Vec<BitString>,
    /// At the sender `r0 xor r1`, bit by bit; at the receiver `x`, alone.
    pub factor: Vec<BitString>,
}

impl Random {
    /// The sender's strings of `bits` bits, from `len` OTs.
    pub(crate) fn sender(
        session: &mut Session,
        hash: &Hash,
        len: usize,
        bits: usize,
    ) -> Result<Self, Error> {
        session.with_sent(len, |delta, keys| {
            let (known, one) = both_planes(keys, delta, hash, bits);
            let factor = known.iter().zip(&one).map(|(zero, one)| zero.xor(one)).collect();
            Self { known, factor }
        })
    }

    /// The receiver's choices and strings of `bits` bits, from `len` OTs.
    pub(crate) fn receiver(
        session: &mut Session,
        hash: &Hash,
        len: usize,
        bits: usize,
    ) -> Result<Self, Error> {
        session.with_received(len, |keys| {
            let (known, _) = both_planes(keys, Block::ZERO, hash, bits);
            Self { known, factor: vec![choices(keys)] }
        })
    }
}

/// The low `bits` bits of `H(key)` and of `H(key xor offset)`, one bit string for each; no second
/// ones for no offset.
fn both_planes(
    keys: &[Block],
    offset: Block,
    hash: &Hash,
    bits: usize,
) -> (Vec<BitString>, Vec<BitString>) {
    let bits = Bits::of(bits as u32).get();
    let twice = offset != Block::ZERO;
    let mut planes =
        [Planes::new(bits, keys.len()), Planes::new(if twice { bits } else { 0 }, keys.len())];
    let mut pads = [Block::ZERO; 2 * BATCH];
    for batch in keys.chunks(BATCH) {
        let (zero, one) = pads.split_at_mut(BATCH);
        for ((zero, one), key) in zero.iter_mut().zip(one).zip(batch) {
            *zero = *key;
            *one = *key ^ offset;
        }
        let used = if twice { BATCH + batch.len() } else { batch.len() };
        hash.apply(&mut pads[..used]);
        for (planes, pads) in planes.iter_mut().zip(pads.chunks(BATCH)) {
            planes.extend(&pads[..batch.len()]);
        }
    }
    pads.zeroize();
    let [zero, one] = planes.map(|planes| planes.finish(keys.len()));
    (zero, one)
}

/// Low bits of blocks, bit by bit.
struct Planes(Vec<Vec<u64>>);

impl Planes {
    fn new(bits: u32, len: usize) -> Self {
        Self((0..bits).map(|_| Vec::with_capacity(len.div_ceil(64))).collect())
    }

    /// At most 64 blocks; fewer only at the end.
    fn extend(&mut self, blocks: &[Block]) {
        let mut bytes = [0; 64];
        for (at, words) in self.0.chunks_mut(8).enumerate() {
            bytes
                .iter_mut()
                .zip(blocks)
                .for_each(|(byte, block)| *byte = (block.0 as u64 >> (8 * at)) as u8);
            for (bit, words) in (0..).zip(words) {
                words.push(gather(&bytes, bit));
            }
        }
        bytes.zeroize();
    }

    fn finish(self, len: usize) -> Vec<BitString> {
        self.0.into_iter().map(|words| BitString::from_words(words, len)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ot::Directions;
    use crate::{Domain, testing};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_random_transfer_is_a_product(bits in 1usize..=64, len in 0usize..200, seed: u64) {
            let (sender, receiver) = testing::two_parties(seed, len, async |session| {
                let hash = Directions::fresh(session, Domain::Random).sent;
                Random::sender(session, &hash, len, bits)
            }, async |session| {
                let hash = Directions::fresh(session, Domain::Random).received;
                Random::receiver(session, &hash, len, bits)
            });
            for bit in 0..bits {
                let product = sender.factor[bit].and(&receiver.factor[0]);
                prop_assert_eq!(sender.known[bit].xor(&receiver.known[bit]), product);
            }
        }
    }
}
