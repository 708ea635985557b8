//! Ring-correlated oblivious transfer.
//!
//! *Functionality.* The sender has correlations `d`, the receiver has choice bits `c`; they get
//! random `s`, `t` with `s + t = c d` in `Z_l`, any `l` of 1 to 64 bits.
//!
//! *Steps,* from correlated OTs `M = K xor x Δ` of the pool, the choice first:
//! 1. the receiver sends `e = c xor x`; now both know of `K' = K xor e Δ` that `M = K' xor c Δ`;
//! 2. with the pads `h0 = H(K')` and `h1 = H(K' xor Δ)` the sender sets `s = -h0` and sends `y = d
//!    + h0 - h1`;
//! 3. the receiver, whose pad is `H(M) = h_c`, sets `t = h_c + c y`.
//!
//! Or the correction first, for a choice that is not known yet: steps 2 and 3 for the choice x,
//! with K' = K, give shares of `x d`; the receiver then sends e, and where e = 1, `c d = d - x d`:
//! both negate, and the sender adds d.
//!
//! Cost: `1 + l` bits and one correlated OT each; 2 rounds, in one direction or in both at
//! the same time. Security: `x` hides `c` from the sender; `h_(1-c)` (`h_(1-x)`) hides `d` from the
//! receiver, where `H` is correlation robust.

use zeroize::Zeroize;

use super::{Hash, pool};
use crate::{BitString, Bits, Block, Error, Session};

/// OTs whose pads are computed together: two pads each at the sender.
const BATCH: usize = 64;

/// Steps 1 and 2 of the sender, which has heard the choices: its shares, and the message of
/// `ring.packed_len(len)` bytes.
pub(crate) fn correct(
    session: &mut Session,
    hash: &Hash,
    ring: Bits,
    correlations: &[u64],
    choices: &[u8],
) -> Result<(Vec<u64>, Vec<u8>), Error> {
    let flips = BitString::from_bytes(choices, correlations.len());
    let (shares, corrections) = session.with_sent(correlations.len(), |delta, keys| {
        let (mut shares, mut corrections) = (Vec::new(), Vec::with_capacity(keys.len()));
        shares.reserve_exact(keys.len());
        let batches = keys.chunks(BATCH).zip(correlations.chunks(BATCH)).zip(flips.words());
        for ((keys, correlations), &flips) in batches {
            both_pads(hash, delta, keys, flips, |i, zero, one| {
                // `zero` and `one` are the pads of the choice's values: `s = -h0`, and
                // `y = d + h0 - h1` turns `h1` into `d - s`.
                shares.push(ring.reduce(zero.wrapping_neg()));
                corrections.push(correlations[i].wrapping_add(zero).wrapping_sub(one));
            });
        }
        (shares, corrections)
    })?;
    Ok((shares, ring.pack(&corrections)))
}

/// Hashes the keys, flipped, and the same with the correlation added: of each OT, its number
/// and both pads.
fn both_pads(
    hash: &Hash,
    delta: Block,
    keys: &[Block],
    flips: u64,
    mut take: impl FnMut(usize, u64, u64),
) {
    let mut pads = [Block::ZERO; 2 * BATCH];
    let count = keys.len();
    for (i, key) in keys.iter().enumerate() {
        pads[i] = *key ^ delta.masked(flips >> i);
        pads[count + i] = pads[i] ^ delta;
    }
    hash.apply(&mut pads[..2 * count]);
    for i in 0..count {
        take(i, pads[i].0 as u64, pads[count + i].0 as u64);
    }
    pads.zeroize();
}

/// The sender of OTs that it has corrected before the choices: its shares of the random
/// choices' products.
pub(crate) struct EarlySender {
    shares: Vec<u64>,
    correlations: Vec<u64>,
}

impl EarlySender {
    /// Step 2 for the random choices; the message of `ring.packed_len(len)` bytes.
    pub(crate) fn new(
        session: &mut Session,
        hash: &Hash,
        ring: Bits,
        correlations: Vec<u64>,
    ) -> Result<(Self, Vec<u8>), Error> {
        let choices = vec![0; Bits::ONE.packed_len(correlations.len())];
        let (shares, message) = correct(session, hash, ring, &correlations, &choices)?;
        Ok((Self { shares, correlations }, message))
    }

    /// The shares for the choices that are now heard, not reduced.
    pub(crate) fn finish(mut self, choices: &[u8]) -> Vec<u64> {
        let flips = BitString::from_bytes(choices, self.shares.len());
        for ((share, d), flip) in self.shares.iter_mut().zip(&self.correlations).zip(flips.iter()) {
            let flip = flip.wrapping_neg();
            // With all ones, complement and add one is the negative. The shares of `x d` become
            // those of `d - x d` where `c` is not `x`.
            *share = (*share ^ flip).wrapping_sub(flip).wrapping_add(d & flip);
        }
        self.shares
    }
}

/// The receiver of corrections that came before its choices: its shares, not reduced, and the
/// message of one bit each.
pub(crate) fn choose_late(
    session: &mut Session,
    hash: &Hash,
    ring: Bits,
    choices: &BitString,
    corrections: &[u8],
) -> Result<(Vec<u64>, Vec<u8>), Error> {
    let (pads, random) = session
        .with_received(choices.len(), |keys| (low_words(keys, hash), pool::choices(keys)))?;
    let flips = choices.xor(&random);
    // The products of the random choices first; the flips then negate where the choice is another.
    // Only the sender adds `d`.
    let mut shares = CorrelatedReceiver { pads, choices: random }.finish(ring, corrections);
    for (share, flip) in shares.iter_mut().zip(flips.iter()) {
        let flip = flip.wrapping_neg();
        *share = (*share ^ flip).wrapping_sub(flip);
    }
    Ok((shares, flips.to_bytes()))
}

/// The receiver of OTs whose corrections are still to come.
pub(crate) struct CorrelatedReceiver {
    pads: Vec<u64>,
    choices: BitString,
}

impl CorrelatedReceiver {
    /// Step 1: takes an OT for each choice; the message has one bit each.
    pub(crate) fn new(
        session: &mut Session,
        hash: &Hash,
        choices: BitString,
    ) -> Result<(Self, Vec<u8>), Error> {
        let (pads, flips) = session
            .with_received(choices.len(), |keys| (low_words(keys, hash), pool::choices(keys)))?;
        let message = choices.xor(&flips).to_bytes();
        Ok((Self { pads, choices }, message))
    }

    /// Step 3: the receiver's share.
    pub(crate) fn finish(self, ring: Bits, corrections: &[u8]) -> Vec<u64> {
        let corrections = ring.unpack(corrections, self.pads.len());
        let parts = self.pads.iter().zip(&corrections).zip(self.choices.iter());
        parts
            .map(|((pad, y), choice)| ring.reduce(pad.wrapping_add(y & choice.wrapping_neg())))
            .collect()
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
        fn shares_add_up_to_choice_times_correlation(
            width in 1u32..=64, len in 0usize..200, early: bool, seed: u64) {
            let ring = Bits::of(width);
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let correlations = testing::extremes(ring, len, &mut rng);
            let choices: BitString = (0..len).map(|_| rng.random::<bool>()).collect();
            let (sent, received) = testing::two_parties(
                seed,
                len,
                async |session| {
                    let hash = Directions::fresh(session, Domain::Correlated).sent;
                    if early {
                        let (sender, corrections) =
                            EarlySender::new(session, &hash, ring, correlations.clone())?;
                        session.channel.send(&corrections)?;
                        let asked = session.channel.receive(Bits::ONE.packed_len(len)).await?;
                        return Ok(sender.finish(&asked));
                    }
                    let asked = session.channel.receive(Bits::ONE.packed_len(len)).await?;
                    let (shares, corrections) =
                        correct(session, &hash, ring, &correlations, &asked)?;
                    session.channel.send(&corrections)?;
                    Ok(shares)
                },
                async |session| {
                    let hash = Directions::fresh(session, Domain::Correlated).received;
                    if early {
                        let corrections = session.channel.receive(ring.packed_len(len)).await?;
                        let (shares, message) =
                            choose_late(session, &hash, ring, &choices, &corrections)?;
                        session.channel.send(&message)?;
                        return Ok(shares);
                    }
                    let (receiver, message) =
                        CorrelatedReceiver::new(session, &hash, choices.clone())?;
                    session.channel.send(&message)?;
                    let corrections = session.channel.receive(ring.packed_len(len)).await?;
                    Ok(receiver.finish(ring, &corrections))
                },
            );
            for i in 0..len {
                let sum = ring.reduce(sent[i].wrapping_add(received[i]));
                prop_assert_eq!(sum, choices.bit(i) * correlations[i]);
            }
        }
    }
}
