//! Correlated oblivious transfer of vectors: one choice for many ring elements.
//!
//! *Functionality.* As of [`super::correlated`], where the sender's correlation `d` is a vector of
//! n elements of `Z_l`, and so are the shares.
//!
//! *Steps.* As there. A pad is a stream of elements: AES in counter mode under the hash of the OT,
//! from a public number of the OT on.
//!
//! A vector of one element is a correlated OT, without a stream.
//!
//! Cost: `1 + n l` bits and one correlated OT each; 2 rounds. Security: that of the correlated OT,
//! where AES under a random key is a pseudorandom function. OTs have numbers of their own, so that
//! who tries a key tries it on the stream of one of them.

use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use super::correlated::{CorrelatedReceiver, correct};
use super::demand::{ROW, Use};
use super::{Hash, pool};
use crate::{BitString, Bits, Block, Error, Session};

/// Vectors of some elements of a ring.
#[derive(Clone, Copy)]
pub(crate) struct Vectors {
    pub ring: Bits,
    /// Elements of a vector.
    pub each: usize,
    /// The public number of the first vector; the next have the next.
    pub number: u64,
}

/// The receiver of vectors whose corrections are still to come.
pub(crate) enum VectorReceiver {
    One(CorrelatedReceiver),
    Many { keys: Vec<Block>, choices: BitString },
}

impl Vectors {
    /// What is made of OTs for such vectors.
    pub(crate) const fn used(ring: Bits, each: usize) -> Use {
        if each == 1 { Use::Correlated(ring) } else { Use::Key }
    }

    /// Step 1 of the receiver: takes an OT for each choice; the message has one bit each.
    pub(crate) fn choose(
        self,
        session: &mut Session,
        choices: BitString,
    ) -> Result<(VectorReceiver, Vec<u8>), Error> {
        if self.each == 1 {
            let (receiver, message) = CorrelatedReceiver::new(session, self.ring, choices)?;
            return Ok((VectorReceiver::One(receiver), message));
        }
        let pads = session.draw(session.role().peer(), Use::Key, choices.len())?;
        let (mut keys, mut random) = (Vec::with_capacity(choices.len()), Vec::new());
        // A row is the choices of 64 OTs, then their keys; the last row is whole, too.
        for (row, at) in pads.rows().zip((0..choices.len()).step_by(ROW)) {
            let (bits, blocks) = row.split_at(ROW / 8);
            random.extend_from_slice(bits);
            let blocks = blocks.chunks_exact(Block::BYTES).take(choices.len() - at);
            keys.extend(blocks.map(block));
        }
        let message = choices.xor(&BitString::from_bytes(&random, choices.len())).to_bytes();
        random.zeroize();
        Ok((VectorReceiver::Many { keys, choices }, message))
    }

    /// Steps 1 and 2 of the sender, which has heard the choices: its shares, and the message of
    /// `ring.packed_len` of all elements. Correlations are vector behind vector.
    pub(crate) fn correct(
        self,
        session: &mut Session,
        correlations: &[u64],
        choices: &[u8],
    ) -> Result<(Vec<u64>, Vec<u8>), Error> {
        if self.each == 1 {
            return correct(session, self.ring, correlations, choices);
        }
        let len = correlations.len() / self.each;
        let pads = session.draw(session.role(), Use::Key, len)?;
        let flips = BitString::from_bytes(choices, len);
        let mut keys = Vec::with_capacity(len);
        for (row, at) in pads.rows().zip((0..len).step_by(ROW)) {
            // A row is the keys of 64 OTs for 0, then those for 1.
            let (zeros, ones) = row.split_at(row.len() / 2);
            let pairs = zeros.chunks_exact(Block::BYTES).zip(ones.chunks_exact(Block::BYTES));
            keys.extend(pairs.take(len - at).map(|(zero, one)| (block(zero), block(one))));
        }
        // Where the receiver's choice is not its random one, the pads change places: by masks.
        for ((zero, one), flip) in keys.iter_mut().zip(flips.iter()) {
            let both = (*zero ^ *one).masked(flip);
            (*zero, *one) = (*zero ^ both, *one ^ both);
        }
        let mut shares = vec![0; correlations.len()];
        let mut corrections = correlations.to_vec();
        let parts = shares.par_chunks_mut(self.each).zip(corrections.par_chunks_mut(self.each));
        parts.zip(&keys).enumerate().for_each(|(at, ((shares, corrections), (zero, one)))| {
            self.stream(*zero, at, shares);
            let mut other = Zeroizing::new(vec![0; shares.len()]);
            self.stream(*one, at, &mut other);
            // `s = -h0`, and `y = d + h0 - h1`.
            for ((share, y), one) in shares.iter_mut().zip(corrections).zip(other.iter()) {
                *y = y.wrapping_add(*share).wrapping_sub(*one);
                *share = self.ring.reduce(share.wrapping_neg());
            }
        });
        for (zero, one) in &mut keys {
            zero.zeroize();
            one.zeroize();
        }
        let message = self.ring.pack(&corrections);
        corrections.zeroize();
        Ok((shares, message))
    }

    /// Step 3: the receiver's shares, not reduced.
    pub(crate) fn finish(self, receiver: VectorReceiver, corrections: &[u8]) -> Vec<u64> {
        let (mut keys, choices) = match receiver {
            VectorReceiver::One(receiver) => return receiver.finish(self.ring, corrections),
            VectorReceiver::Many { keys, choices } => (keys, choices),
        };
        let corrections = self.ring.unpack(corrections, keys.len() * self.each);
        let mut shares = vec![0; corrections.len()];
        let parts = shares.par_chunks_mut(self.each).zip(corrections.par_chunks(self.each));
        parts.zip(&keys).enumerate().for_each(|(at, ((shares, corrections), key))| {
            self.stream(*key, at, shares);
            let choice = choices.bit(at).wrapping_neg();
            for (share, y) in shares.iter_mut().zip(corrections) {
                *share = share.wrapping_add(y & choice);
            }
        });
        keys.zeroize();
        shares
    }

    /// The pad of OT `at` under one key.
    fn stream(self, key: Block, at: usize, elements: &mut [u64]) {
        let cipher = Aes128Enc::new(&key.to_bytes().into());
        let bytes = self.ring.packed_len(elements.len());
        let blocks = bytes.div_ceil(Block::BYTES);
        // The upper half of the counter is the OT's number, the lower that of the block.
        let start = u128::from(self.number.wrapping_add(at as u64)) << 64;
        let counters = (0..blocks as u128).map(|block| Array((start | block).to_le_bytes()));
        let mut stream: Vec<_> = counters.collect();
        cipher.encrypt_blocks(&mut stream);
        let mut pad = Zeroizing::new(Vec::with_capacity(blocks * Block::BYTES));
        for block in &mut stream {
            pad.extend_from_slice(block);
            block.zeroize();
        }
        let unpacked = Zeroizing::new(self.ring.unpack(&pad[..bytes], elements.len()));
        elements.copy_from_slice(&unpacked);
    }
}

fn block(bytes: &[u8]) -> Block {
    let mut all = [0; Block::BYTES];
    all.copy_from_slice(bytes);
    Block::from_bytes(all)
}

/// Rows of the sender: the hashes of 64 OTs for 0, then those for 1.
pub(super) fn send(hash: &Hash, delta: Block, keys: &[Block], rows: &mut [u8]) {
    let mut pads = [Block::ZERO; 2 * ROW];
    for (row, keys) in rows.chunks_mut(2 * ROW * Block::BYTES).zip(keys.chunks(ROW)) {
        let (zero, one) = pads.split_at_mut(ROW);
        for ((zero, one), key) in zero.iter_mut().zip(one).zip(keys) {
            (*zero, *one) = (*key, *key ^ delta);
        }
        hash.apply(&mut pads[..ROW + keys.len()]);
        for (half, pads) in row.chunks_mut(ROW * Block::BYTES).zip(pads.chunks(ROW)) {
            write(&pads[..keys.len()], half);
        }
    }
    pads.zeroize();
}

/// Rows of the receiver: the choices of 64 OTs, then their hashes.
pub(super) fn receive(hash: &Hash, keys: &[Block], rows: &mut [u8]) {
    let mut pads = [Block::ZERO; ROW];
    for (row, keys) in rows.chunks_mut(ROW / 8 + ROW * Block::BYTES).zip(keys.chunks(ROW)) {
        pads[..keys.len()].copy_from_slice(keys);
        hash.apply(&mut pads[..keys.len()]);
        let (choices, hashes) = row.split_at_mut(ROW / 8);
        choices.copy_from_slice(&pool::choices(keys).to_le_bytes());
        write(&pads[..keys.len()], hashes);
    }
    pads.zeroize();
}

fn write(blocks: &[Block], bytes: &mut [u8]) {
    for (block, bytes) in blocks.iter().zip(bytes.chunks_mut(Block::BYTES)) {
        bytes.copy_from_slice(&block.to_bytes());
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
        fn shares_add_up_to_choice_times_vector(
            width in 1u32..=64, len in 0usize..150, each in 1usize..20, seed: u64) {
            let vectors = Vectors { ring: Bits::of(width), each, number: seed >> 32 };
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let correlations = testing::extremes(vectors.ring, len * each, &mut rng);
            let choices: BitString = (0..len).map(|_| rng.random::<bool>()).collect();
            let (sent, received) = testing::two_parties(
                seed,
                len,
                async |session| {
                    let asked = session.channel.receive(Bits::ONE.packed_len(len)).await?;
                    let (shares, message) = vectors.correct(session, &correlations, &asked)?;
                    session.channel.send(&message)?;
                    Ok(shares)
                },
                async |session| {
                    let (receiver, asked) = vectors.choose(session, choices.clone())?;
                    session.channel.send(&asked)?;
                    let message =
                        session.channel.receive(vectors.ring.packed_len(len * each)).await?;
                    Ok(vectors.finish(receiver, &message))
                },
            );
            for i in 0..len * each {
                let sum = vectors.ring.reduce(sent[i].wrapping_add(received[i]));
                prop_assert_eq!(sum, choices.bit(i / each) * correlations[i]);
            }
        }
    }

    #[test]
    fn pads_differ_under_one_key_by_the_number_of_their_vector() {
        let mut pads = Vec::new();
        for (number, at) in [(0, 0), (0, 1), (2, 0)] {
            let (ring, each) = (Bits::of(17), 20);
            let mut pad = vec![0; each];
            Vectors { ring, each, number }.stream(Block(7), at, &mut pad);
            assert!(!pads.contains(&pad));
            pads.push(pad);
        }
    }
}
