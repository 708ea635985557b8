//! Hints that are made once and kept in a file: what a layer has of it. See [`crate::hints`].
//!
//! A file is made for the widest ring that a layer has in any plan of the same network. A session
//! takes it modulo its own: `h mod 2^(q - j)` is the hint of the smaller ring, under the same
//! secrets, since public polynomials are those of the larger ring, reduced.

use std::ops::Range;
use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::{ClientState, Hint, ServerState, make};
use crate::lattice::{DEGREE, small};
use crate::linear::{Layer, State};
use crate::{Bits, Cost, Error, Session};

/// Packed polynomials of a layer, `[group][bundle]`, within more bytes.
pub(crate) struct Packed {
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) start: usize,
    /// The ring of their coefficients, at least that of the layer's hint.
    pub(super) ring: Bits,
}

impl Packed {
    /// The coefficients of one of them.
    pub(super) fn polynomial(&self, bundle: usize) -> Vec<u64> {
        let len = self.ring.packed_len(DEGREE);
        self.ring.unpack(&self.bytes[self.start + bundle * len..][..len], DEGREE)
    }
}

/// The generator of one polynomial's secrets: nobody else's, since a seed is one layer's.
pub(super) fn generator(seed: &[u8; 32], bundle: usize) -> ChaCha20Rng {
    let mut rng = ChaCha20Rng::from_seed(*seed);
    rng.set_stream(bundle as u64);
    rng
}

impl Layer {
    fn hint(&self) -> Option<&Hint> {
        self.protocol.hint()
    }

    /// Whether it is computed with a hint.
    pub fn has_hint(&self) -> bool {
        self.hint().is_some()
    }

    fn expect_hint(&self) -> &Hint {
        self.hint().expect("invariant: layers of a file have hints")
    }

    /// Bytes of its hint, where it has one.
    pub(crate) fn hint_len(&self) -> Option<usize> {
        let hint = self.hint()?;
        Some(self.bundles(hint) * hint.cut_coefficients(self).packed_len(DEGREE))
    }

    /// Polynomials of its hint.
    fn bundles(&self, hint: &Hint) -> usize {
        self.products().geometry.groups * hint.layout(self).bundles()
    }

    /// Its hint, packed, under the secrets of a seed that serves nothing else.
    ///
    /// # Errors
    /// [`Error::Invalid`] where its noise is too small for the weights.
    pub(crate) fn make_hint(&self, weights: &[i8], seed: &[u8; 32]) -> Result<Vec<u8>, Error> {
        let hint = self.expect_hint();
        let (layout, weights) = (hint.layout(self), self.weights_of_products(weights));
        let made = make::all(hint, self, &layout, &weights, seed)?;
        Ok(made.into_iter().flat_map(|made| made.packed).collect())
    }

    /// What the server keeps of the layer for a session, of a hint that was made of this seed.
    pub(crate) fn hint_secrets(&self, seed: &[u8; 32]) -> State {
        let bundles = 0..self.bundles(self.expect_hint());
        State::new(ServerState {
            secrets: bundles
                .into_par_iter()
                .map(|bundle: usize| -> Zeroizing<Vec<i8>> { small(&mut generator(seed, bundle)) })
                .collect(),
        })
    }

    /// What the client keeps of the layer for a session, of a part of some bytes that is its hint
    /// as that of the layer `made`.
    pub(crate) fn known_hint(&self, made: &Self, bytes: &Arc<Vec<u8>>, at: &Range<usize>) -> State {
        let hint = self.expect_hint();
        let ring = made.expect_hint().cut_coefficients(made);
        let packed = Packed { bytes: Arc::clone(bytes), start: at.start, ring };
        State::new(ClientState::new(hint, self, &hint.layout(self), packed))
    }

    /// What sending its hint moves.
    pub(crate) fn hint_cost(&self) -> Cost {
        let hint = self.expect_hint();
        make::cost(hint, self, &hint.layout(self))
    }

    /// Sends its hint.
    ///
    /// # Errors
    /// Where the peer is lost.
    pub(crate) async fn send_hint(&self, session: &mut Session, bytes: &[u8]) -> Result<(), Error> {
        let len = self.expect_hint().cut_coefficients(self).packed_len(DEGREE);
        for message in bytes.chunks(make::TOGETHER * len) {
            session.channel.send(message)?;
            session.channel.drained().await?;
        }
        Ok(())
    }

    /// Receives its hint.
    ///
    /// # Errors
    /// Where the peer is lost.
    pub(crate) async fn receive_hint(&self, session: &mut Session) -> Result<Vec<u8>, Error> {
        make::receive(self.expect_hint(), self, session).await
    }
}
