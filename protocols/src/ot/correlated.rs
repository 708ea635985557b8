//! Ring-correlated oblivious transfer.
//!
//! *Functionality.* The sender has correlations `d`, the receiver has choice bits `c`; they get random `s`, `t` with
//! `s + t = c d` in `Z_l`, any `l` of 1 to 64 bits.
//!
//! *Steps,* from correlated transfers `M = K xor x Δ` of the pool:
//! 1. the receiver sends `e = c xor x`; now both know of `K' = K xor e Δ` that `M = K' xor c Δ`;
//! 2. with the pads `h0 = H(K')` and `h1 = H(K' xor Δ)` the sender sets `s = -h0` and sends `y = d + h0 - h1`;
//! 3. the receiver, whose pad is `H(M) = h_c`, sets `t = h_c + c y`.
//!
//! Cost: `1 + l` bits and one correlated transfer each; 2 rounds, in one direction or in both at the same time.
//! Security: `x` hides `c` from the sender; `h_(1-c)` hides `d` from the receiver, where `H` is correlation robust.

use zeroize::Zeroize;

use super::{Hash, SentCots, pool};
use crate::{BitString, Bits, Block, Error, Session};

/// Transfers whose pads are computed together: two pads each at the sender.
const BATCH: usize = 64;

/// The sender of transfers whose choices are still to come.
///
/// It takes its transfers from the pool when the receiver does, so that others may be taken in between.
pub(crate) struct CorrelatedSender {
    cots: SentCots,
    hash: Hash,
}

impl CorrelatedSender {
    /// Takes `len` transfers.
    pub(crate) fn new(session: &mut Session, hash: Hash, len: usize) -> Result<Self, Error> {
        Ok(Self { cots: session.take_sent(len)?, hash })
    }

    /// Step 2: the sender's share, and the message of `ring.packed_len(len)` bytes.
    pub(crate) fn correct(mut self, ring: Bits, correlations: &[u64], choices: &[u8]) -> (Vec<u64>, Vec<u8>) {
        let (len, delta) = (self.cots.keys.len(), self.cots.delta);
        assert_eq!(correlations.len(), len, "invariant: one correlation for each transfer");
        let flips = BitString::from_bytes(choices, len);
        let (mut shares, mut corrections) = (Vec::with_capacity(len), Vec::with_capacity(len));
        let mut pads = [Block::ZERO; 2 * BATCH];
        let batches = self.cots.keys.chunks(BATCH).zip(correlations.chunks(BATCH)).zip(flips.words());
        for ((keys, correlations), flips) in batches {
            let count = keys.len();
            for (i, key) in keys.iter().enumerate() {
                pads[i] = *key ^ delta.masked(flips >> i);
                pads[count + i] = pads[i] ^ delta;
            }
            self.hash.apply(&mut pads[..2 * count]);
            for (i, correlation) in correlations.iter().enumerate() {
                let (zero, one) = (pads[i].0 as u64, pads[count + i].0 as u64);
                shares.push(ring.reduce(zero.wrapping_neg()));
                corrections.push(correlation.wrapping_add(zero).wrapping_sub(one));
            }
        }
        pads.zeroize();
        self.cots.keys.zeroize();
        (shares, ring.pack(&corrections))
    }
}

/// The receiver of transfers whose corrections are still to come.
pub(crate) struct CorrelatedReceiver {
    pads: Vec<u64>,
    choices: BitString,
}

impl CorrelatedReceiver {
    /// Step 1: takes a transfer for each choice; the message has one bit each.
    pub(crate) fn new(
        session: &mut Session,
        hash: &Hash,
        choices: BitString,
    ) -> Result<(Self, Vec<u8>), Error> {
        let (pads, flips) =
            session.with_received(choices.len(), |keys| (low_words(keys, hash), pool::choices(keys)))?;
        let message = choices.xor(&flips).to_bytes();
        Ok((Self { pads, choices }, message))
    }

    /// Step 3: the receiver's share.
    pub(crate) fn finish(self, ring: Bits, corrections: &[u8]) -> Vec<u64> {
        let corrections = ring.unpack(corrections, self.pads.len());
        let parts = self.pads.iter().zip(&corrections).zip(self.choices.iter());
        parts.map(|((pad, y), choice)| ring.reduce(pad.wrapping_add(y & choice.wrapping_neg()))).collect()
    }
}

/// The low words of the hashes of some keys.
fn low_words(keys: &[Block], hash: &Hash) -> Vec<u64> {
    let mut words = Vec::with_capacity(keys.len());
    let mut pads = [Block::ZERO; BATCH];
    for keys in keys.chunks(BATCH) {
        let pads = &mut pads[..keys.len()];
        pads.copy_from_slice(keys);
        hash.apply(pads);
        words.extend(pads.iter().map(|pad| pad.0 as u64));
    }
    pads.zeroize();
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::ot::Directions;
    use crate::{Domain, testing};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn shares_add_up_to_choice_times_correlation(width in 1u32..=64, len in 0usize..200, seed: u64) {
            let ring = Bits::of(width);
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let correlations = testing::extremes(ring, len, &mut rng);
            let choices: BitString = (0..len).map(|_| rng.random::<bool>()).collect();
            let (sent, received) = testing::two_parties(seed, len, async |session| {
                let hash = Directions::fresh(session, Domain::Correlated).sent;
                let sender = CorrelatedSender::new(session, hash, len)?;
                let asked = session.channel.receive(Bits::ONE.packed_len(len)).await?;
                let (shares, corrections) = sender.correct(ring, &correlations, &asked);
                session.channel.send(&corrections)?;
                Ok(shares)
            }, async |session| {
                let hash = Directions::fresh(session, Domain::Correlated).received;
                let (receiver, message) = CorrelatedReceiver::new(session, &hash, choices.clone())?;
                session.channel.send(&message)?;
                let corrections = session.channel.receive(ring.packed_len(len)).await?;
                Ok(receiver.finish(ring, &corrections))
            });
            for i in 0..len {
                let sum = ring.reduce(sent[i].wrapping_add(received[i]));
                prop_assert_eq!(sum, choices.bit(i) * correlations[i]);
            }
        }
    }
}
