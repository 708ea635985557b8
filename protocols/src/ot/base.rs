//! Base OTs: `n` random OTs of 128-bit keys, for which one party chooses and the other
//! gets both keys.
//!
//! **Functionality.** The sender gets `(k_0, k_1)` for every OT, the receiver `k_c` for its
//! choice `c`; the keys are random.
//!
//! **Protocol** (Chou, Orlandi: The simplest protocol for oblivious transfer, Latincrypt 2015,
//! section 3), over ristretto255 with generator `G`:
//! 1. The sender draws `a` and sends `A = a G`.
//! 2. For every OT the receiver draws `b` and sends `B = b G + c A`; its key is `H(b A)`.
//! 3. The sender's keys are `H(a B)` and `H(a (B - A))`.
//!
//! `H` is keyed BLAKE3 under a public key that is bound to the session and used for this alone,
//! over the number of the OT, `A`, `B` and the point.
//!
//! **Cost:** 32 bytes from the sender, then 32 bytes an OT from the receiver.
//!
//! **Security:** semi-honest, by computational Diffie-Hellman in the random oracle model; `B` is
//! uniform whatever `c` is. Points are decompressed, which only elements of the prime-order group
//! pass, and `A = 0`, under which the keys would not depend on a secret, is refused.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use rand::Rng;
use subtle::{Choice, ConditionallySelectable};
use zeroize::{Zeroize, Zeroizing};

use crate::{Block, Cost, Domain, Error, Role, Session};

/// Bytes of a compressed point.
const POINT: usize = 32;

/// What one party holds after `n` OTs in each direction.
pub(super) struct BaseTransfers {
    /// Both keys of the OTs that the peer has chosen for.
    pub(super) pairs: Zeroizing<Vec<[Block; 2]>>,
    /// The chosen keys of the OTs that this party has chosen for.
    pub(super) chosen: Zeroizing<Vec<Block>>,
}

/// What [`both_ways`] moves.
pub(super) const fn cost(count: usize) -> Cost {
    Cost::exchange(POINT).then(Cost::exchange(count * POINT))
}

/// As many OTs in each direction as there are `choices`: the two directions run beside each
/// other.
pub(super) async fn both_ways(
    session: &mut Session,
    choices: &[u64],
) -> Result<BaseTransfers, Error> {
    let server_offers = session.fresh_key(Domain::BaseOt);
    let client_offers = session.fresh_key(Domain::BaseOt);
    let (ours, theirs) = match session.role() {
        Role::Server => (server_offers, client_offers),
        Role::Client => (client_offers, server_offers),
    };
    let offer = Offer::new(ours, session.rng());
    let peer_offer = session.channel.exchange(offer.message()).await?;
    let Some(answer) = Answer::new(&theirs, &peer_offer, choices, session.rng()) else {
        return Err(session
            .channel
            .violation("a point other than zero as a base transfer's offer", "none"));
    };
    let peer_answers = session.channel.exchange(&answer.message).await?;
    match offer.keys(&peer_answers) {
        Ok(pairs) => Ok(BaseTransfers { pairs, chosen: answer.keys }),
        Err(index) => Err(session.channel.violation(
            "points as answers to a base transfer's offer",
            format!("none at index {index}"),
        )),
    }
}

/// The sender's side.
struct Offer {
    key: [u8; 32],
    secret: Zeroizing<Scalar>,
    point: CompressedRistretto,
}

impl Offer {
    fn new(key: [u8; 32], rng: &mut impl Rng) -> Self {
        let secret = random_scalar(rng);
        let point = RistrettoPoint::mul_base(&secret).compress();
        Self { key, secret, point }
    }

    const fn message(&self) -> &[u8; POINT] {
        self.point.as_bytes()
    }

    /// The key pairs, or the index of the first answer that is no point.
    fn keys(&self, answers: &[u8]) -> Result<Zeroizing<Vec<[Block; 2]>>, usize> {
        let offered = Zeroizing::new(RistrettoPoint::mul_base(&self.secret) * *self.secret);
        let answers = answers.as_chunks::<POINT>().0;
        let mut pairs = Zeroizing::new(Vec::with_capacity(answers.len()));
        for (index, answer) in answers.iter().map(|bytes| CompressedRistretto(*bytes)).enumerate() {
            let point = answer.decompress().ok_or(index)?;
            let zero = Zeroizing::new(point * *self.secret);
            let one = Zeroizing::new(*zero - *offered);
            pairs.push([
                derive(&self.key, index, &self.point, &answer, &zero),
                derive(&self.key, index, &self.point, &answer, &one),
            ]);
        }
        Ok(pairs)
    }
}

/// The receiver's side.
struct Answer {
    message: Vec<u8>,
    keys: Zeroizing<Vec<Block>>,
}

impl Answer {
    /// Answers to an offer, or `None` where it is no point, or zero.
    fn new(key: &[u8; 32], offer: &[u8], choices: &[u64], rng: &mut impl Rng) -> Option<Self> {
        let offer = CompressedRistretto::from_slice(offer).ok()?;
        let point = offer.decompress().filter(|point| !point.is_identity())?;
        let mut message = Vec::with_capacity(choices.len() * POINT);
        let mut keys = Zeroizing::new(Vec::with_capacity(choices.len()));
        for (index, &choice) in choices.iter().enumerate() {
            let secret = random_scalar(rng);
            let blind = RistrettoPoint::mul_base(&secret);
            let chosen = Choice::from((choice & 1) as u8);
            let answer =
                RistrettoPoint::conditional_select(&blind, &(blind + point), chosen).compress();
            let shared = Zeroizing::new(point * *secret);
            message.extend_from_slice(answer.as_bytes());
            keys.push(derive(key, index, &offer, &answer, &shared));
        }
        Some(Self { message, keys })
    }
}

fn random_scalar(rng: &mut impl Rng) -> Zeroizing<Scalar> {
    let mut wide = [0; 64];
    rng.fill_bytes(&mut wide);
    let scalar = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide));
    wide.zeroize();
    scalar
}

/// `H`.
fn derive(
    key: &[u8; 32],
    index: usize,
    offer: &CompressedRistretto,
    answer: &CompressedRistretto,
    shared: &RistrettoPoint,
) -> Block {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&(index as u64).to_le_bytes());
    hasher.update(offer.as_bytes());
    hasher.update(answer.as_bytes());
    let mut point = shared.compress();
    hasher.update(point.as_bytes());
    point.zeroize();
    let mut output = [0; Block::BYTES];
    hasher.finalize_xof().fill(&mut output);
    let block = Block::from_bytes(output);
    output.zeroize();
    block
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::testing;

    #[test]
    fn the_receiver_gets_the_key_that_it_chose_and_not_the_other() {
        let seed = rand::random();
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let choices: [Vec<u64>; 2] =
            std::array::from_fn(|_| (0..40).map(|_| rng.random::<u64>() & 1).collect());
        let (server, client) = testing::two_parties(
            seed,
            0,
            async |session| both_ways(session, &choices[0]).await,
            async |session| both_ways(session, &choices[1]).await,
        );
        for (pairs, chosen, choices) in [
            (&server.pairs, &client.chosen, &choices[1]),
            (&client.pairs, &server.chosen, &choices[0]),
        ] {
            for ((pair, key), choice) in pairs.iter().zip(chosen.iter()).zip(choices) {
                assert!(*key == pair[*choice as usize], "seed {seed}");
                assert!(*key != pair[1 - *choice as usize], "seed {seed}");
            }
        }
        assert!(server.chosen[..] != client.chosen[..]);
    }

    #[test]
    fn bytes_that_are_no_point_are_a_violation() {
        let zero = [0; POINT];
        let none = [0xFF; POINT];
        for (offer, answers) in [(zero, none), (none, none), (point(), none)] {
            let choices = [0, 1, 1];
            let runtime = testing::runtime();
            runtime.block_on(async {
                let (mut victim, mut peer) = testing::sessions(5);
                peer.channel.send(&offer).unwrap();
                peer.channel.send(&answers.repeat(choices.len())).unwrap();
                let result = both_ways(&mut victim, &choices).await;
                assert!(matches!(result, Err(Error::Violation { .. })));
            });
        }
    }

    fn point() -> [u8; POINT] {
        RistrettoPoint::mul_base(&Scalar::from(7u64)).compress().to_bytes()
    }
}
