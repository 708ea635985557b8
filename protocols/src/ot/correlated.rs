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

use super::Hash;
use super::demand::{ROW, Use};
use super::pool;
use super::prepared::Pads;
use crate::{BitString, Bits, Block, Error, Session};

/// Steps 1 and 2 of the sender, which has heard the choices: its shares, and the message of
/// `ring.packed_len(len)` bytes.
pub(crate) fn correct(
    session: &mut Session,
    ring: Bits,
    correlations: &[u64],
    choices: &[u8],
) -> Result<(Vec<u64>, Vec<u8>), Error> {
    let pads = session.draw(session.role(), Use::Correlated(ring), correlations.len())?;
    let flips = BitString::from_bytes(choices, correlations.len());
    let mut shares = Vec::with_capacity(correlations.len());
    let mut corrections = Vec::with_capacity(correlations.len());
    let (mut zeros, mut ones) = ([0; ROW], [0; ROW]);
    let rows = pads.rows().zip(correlations.chunks(ROW)).zip(flips.words());
    for ((row, correlations), &flips) in rows {
        // A row is the pads of 64 OTs for 0, then those for 1.
        let (zero, one) = row.split_at(row.len() / 2);
        ring.unpack_into(zero, &mut zeros);
        ring.unpack_into(one, &mut ones);
        for (i, (d, (zero, one))) in correlations.iter().zip(zeros.iter().zip(&ones)).enumerate() {
            // The pads of the choice's values: `s = -h0`, and `y = d + h0 - h1` turns `h1` into `d
            // - s`.
            let both = (zero ^ one) & (flips >> i & 1).wrapping_neg();
            let (zero, one) = (zero ^ both, one ^ both);
            shares.push(ring.reduce(zero.wrapping_neg()));
            corrections.push(d.wrapping_add(zero).wrapping_sub(one));
        }
    }
    zeros.zeroize();
    ones.zeroize();
    Ok((shares, ring.pack(&corrections)))
}

/// Rows of the sender: the pads of 64 OTs for 0, then those for 1, in the ring.
pub(super) fn send(ring: Bits, hash: &Hash, delta: Block, keys: &[Block], rows: &mut [u8]) {
    let mut pads = [Block::ZERO; 2 * ROW];
    for (row, keys) in rows.chunks_mut(2 * ring.packed_len(ROW)).zip(keys.chunks(ROW)) {
        let (zero, one) = pads.split_at_mut(ROW);
        for ((zero, one), key) in zero.iter_mut().zip(one).zip(keys) {
            *zero = *key;
            *one = *key ^ delta;
        }
        hash.apply(&mut pads[..ROW + keys.len()]);
        for (row, pads) in row.chunks_mut(ring.packed_len(ROW)).zip(pads.chunks(ROW)) {
            pack(ring, &pads[..keys.len()], row);
        }
    }
    pads.zeroize();
}

/// Rows of the receiver: the choices of 64 OTs, then their pads.
pub(super) fn receive(ring: Bits, hash: &Hash, keys: &[Block], rows: &mut [u8]) {
    let mut pads = [Block::ZERO; ROW];
    for (row, keys) in rows.chunks_mut(8 + ring.packed_len(ROW)).zip(keys.chunks(ROW)) {
        pads[..keys.len()].copy_from_slice(keys);
        hash.apply(&mut pads[..keys.len()]);
        let (choices, packed) = row.split_at_mut(8);
        choices.copy_from_slice(&pool::choices(keys).to_le_bytes());
        pack(ring, &pads[..keys.len()], packed);
    }
    pads.zeroize();
}

/// Packs the low bits of at most 64 blocks.
fn pack(ring: Bits, blocks: &[Block], bytes: &mut [u8]) {
    let mut words = [0; ROW];
    words.iter_mut().zip(blocks).for_each(|(word, block)| *word = block.0 as u64);
    ring.pack_into(&words, bytes);
    words.zeroize();
}

/// What the receiver holds: its pads, and the random choices.
fn received(session: &mut Session, ring: Bits, len: usize) -> Result<(Vec<u64>, BitString), Error> {
    let pads: Pads = session.draw(session.role().peer(), Use::Correlated(ring), len)?;
    let mut values = vec![0; len.next_multiple_of(ROW)];
    let mut choices = Vec::with_capacity(8 * len.div_ceil(ROW));
    // A row is the choices of 64 OTs, then their pads. Whole rows are unpacked.
    for (row, values) in pads.rows().zip(values.chunks_mut(ROW)) {
        choices.extend_from_slice(&row[..8]);
        ring.unpack_into(&row[8..], values);
    }
    values.truncate(len);
    let random = BitString::from_bytes(&choices, len);
    choices.zeroize();
    Ok((values, random))
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
        ring: Bits,
        correlations: Vec<u64>,
    ) -> Result<(Self, Vec<u8>), Error> {
        let choices = vec![0; Bits::ONE.packed_len(correlations.len())];
        let (shares, message) = correct(session, ring, &correlations, &choices)?;
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
    ring: Bits,
    choices: &BitString,
    corrections: &[u8],
) -> Result<(Vec<u64>, Vec<u8>), Error> {
    let (pads, random) = received(session, ring, choices.len())?;
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
        ring: Bits,
        choices: BitString,
    ) -> Result<(Self, Vec<u8>), Error> {
        let (pads, flips) = received(session, ring, choices.len())?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::testing;

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
                    if early {
                        let (sender, corrections) =
                            EarlySender::new(session, ring, correlations.clone())?;
                        session.channel.send(&corrections)?;
                        let asked = session.channel.receive(Bits::ONE.packed_len(len)).await?;
                        return Ok(sender.finish(&asked));
                    }
                    let asked = session.channel.receive(Bits::ONE.packed_len(len)).await?;
                    let (shares, corrections) =
                        correct(session, ring, &correlations, &asked)?;
                    session.channel.send(&corrections)?;
                    Ok(shares)
                },
                async |session| {
                    if early {
                        let corrections = session.channel.receive(ring.packed_len(len)).await?;
                        let (shares, message) =
                            choose_late(session, ring, &choices, &corrections)?;
                        session.channel.send(&message)?;
                        return Ok(shares);
                    }
                    let (receiver, message) =
                        CorrelatedReceiver::new(session, ring, choices.clone())?;
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
