//! The client's secrets of one inference: one for every tile and image, for all layers together.
//!
//! Layers have different public polynomials, so under one secret each of them gives samples of its
//! own. What the server gets of a secret `s` is the key `p = P s + e`, modulo the largest modulus of
//! all layers: it reduces to any smaller one.
//!
//! Secrets serve one inference. They are made when its preparation begins and are gone when it ends;
//! there is no way to copy, keep or send them.

use super::Hint;
use crate::lattice::{DEGREE, Modulus, Polynomial, Transform, small};
use crate::linear::Layer;
use crate::{Bits, Cost, Error, Role, Session};

/// How many secrets an inference takes, and the modulus of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SecretsNeeded {
    /// Tiles of an image, of the layer that has the most.
    tiles: usize,
    modulus: Modulus,
}

/// The client's secrets, or the server's keys of them, transformed, `[image][tile]`.
pub(crate) struct Secrets {
    tiles: usize,
    polynomials: Vec<Polynomial>,
}

impl SecretsNeeded {
    /// What a layer needs.
    pub(super) fn of(hint: &Hint, layer: &Layer) -> Option<Self> {
        let modulus = hint.modulus(layer.products().ring)?;
        Some(Self { tiles: hint.layout(layer).tiles().len(), modulus })
    }

    /// What serves two layers.
    pub(crate) fn and(self, other: Self) -> Self {
        let bits = self.modulus.bits().max(other.modulus.bits());
        let modulus = Modulus::new(bits).unwrap_or(self.modulus);
        Self { tiles: self.tiles.max(other.tiles), modulus }
    }

    const fn count(&self, images: usize) -> usize {
        self.tiles * images
    }

    fn ring(&self) -> Bits {
        Bits::of(self.modulus.bits())
    }

    /// What the keys move.
    pub(crate) fn cost(&self, images: usize) -> Cost {
        Cost::message(Role::Client, self.count(images) * self.ring().packed_len(DEGREE))
    }

    /// Bytes that a party keeps of them while it prepares an inference.
    pub(crate) const fn bytes(&self, images: usize) -> u64 {
        super::TRANSFORMED * self.count(images) as u64
    }

    /// Draws fresh secrets and sends their keys; the server receives these.
    ///
    /// # Errors
    /// Where the peer is lost.
    pub(crate) async fn make(
        &self,
        session: &mut Session,
        images: usize,
    ) -> Result<Secrets, Error> {
        let (transform, ring, count) = (Transform::get(), self.ring(), self.count(images));
        if session.role() == Role::Server {
            let message = session.channel.receive(count * ring.packed_len(DEGREE)).await?;
            let keys = message.chunks_exact(ring.packed_len(DEGREE)).map(|key| {
                let key = ring.unpack(key, DEGREE).into_iter();
                transform.forward(key.map(|value| self.modulus.center(value)))
            });
            return Ok(Secrets { tiles: self.tiles, polynomials: keys.collect() });
        }
        let public = super::key_polynomial().into_iter();
        let public = transform.forward(public.map(|v| self.modulus.center(self.modulus.reduce(v))));
        let (mut message, mut polynomials) = (Vec::new(), Vec::with_capacity(count));
        for _ in 0..count {
            let (secret, error) = (small(session.rng()), small(session.rng()));
            let secret = transform.forward(secret.iter().map(|&value| value.into()));
            let key = transform.product(&public, &secret).into_iter().zip(error.iter());
            let key = key.map(|(value, &error)| (value + i64::from(error)) as u64);
            message.extend(ring.pack_from(DEGREE, key));
            polynomials.push(secret);
        }
        session.channel.send(&message)?;
        Ok(Secrets { tiles: self.tiles, polynomials })
    }
}

impl Secrets {
    /// The polynomial of a tile of an image.
    pub(super) fn of(&self, image: usize, tile: usize) -> &Polynomial {
        &self.polynomials[image * self.tiles + tile]
    }
}
