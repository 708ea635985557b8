//! The client's secrets of one inference: one for every tile and image, for all layers together.
//!
//! Layers have different public polynomials, so under one secret each of them gives samples of its
//! own. What the server gets of a secret `s` is the key `p = P s + e`, modulo the largest modulus
//! of all layers: it reduces to any smaller one.
//!
//! Secrets serve one inference. They are made when its preparation begins and are gone when it
//! ends; there is no way to copy, keep or send them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Hint;
use super::beside::{Encryptions, Kept};
use crate::lattice::{DEGREE, Modulus, Polynomial, SmallPolynomial, Transform, small};
use crate::linear::Layer;
use crate::{Bits, Cost, Error, Role, Session};

/// How many secrets an inference takes, and the modulus of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretsNeeded {
    /// Tiles of an image, of the layer that has the most.
    tiles: usize,
    modulus: Modulus,
}

/// The client's secrets, or the server's keys of them, transformed, `[image][tile]`.
pub struct Secrets {
    tiles: usize,
    held: Held,
    /// What the server received under them that is read again.
    kept: Kept,
}

/// What a party holds of them.
enum Held {
    Secrets(Vec<SmallPolynomial>),
    Keys(Vec<Polynomial>),
}

impl SecretsNeeded {
    /// What a layer needs.
    pub(super) fn of(hint: &Hint, layer: &Layer) -> Option<Self> {
        let modulus = hint.modulus(layer.products().ring)?;
        Some(Self { tiles: hint.layout(layer).tile_count(), modulus })
    }

    /// What serves two layers.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
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
    pub fn cost(&self, images: usize) -> Cost {
        Cost::message(Role::Client, self.count(images) * self.ring().packed_len(DEGREE))
    }

    /// Bytes that a party keeps of them while it prepares an inference.
    pub(crate) const fn bytes(&self, images: usize) -> u64 {
        Polynomial::bytes(self.modulus) * self.count(images) as u64
    }

    /// Draws fresh secrets and sends their keys; the server receives these.
    ///
    /// # Errors
    /// Where the peer is lost.
    pub async fn make(&self, session: &mut Session, images: usize) -> Result<Secrets, Error> {
        let (transform, ring, count) = (Transform::get(), self.ring(), self.count(images));
        if session.role() == Role::Server {
            let message = session.channel.receive(count * ring.packed_len(DEGREE)).await?;
            let keys = message
                .chunks_exact(ring.packed_len(DEGREE))
                .map(|key| transform.forward(self.modulus, ring.unpack(key, DEGREE)));
            return Ok(Secrets::new(self.tiles, Held::Keys(keys.collect())));
        }
        let public = transform.forward(self.modulus, super::key_polynomial());
        let (mut message, mut secrets) = (Vec::new(), Vec::with_capacity(count));
        for _ in 0..count {
            let (secret, error) = (small(session.rng()), small(session.rng()));
            let secret = transform.small(&secret);
            let key = transform.product(&public, &secret).into_iter().zip(error.iter());
            let key = key.map(|(value, &error)| (value + i64::from(error)) as u64);
            message.extend(ring.pack_from(DEGREE, key));
            secrets.push(secret);
        }
        session.channel.send(&message)?;
        Ok(Secrets::new(self.tiles, Held::Secrets(secrets)))
    }
}

impl Secrets {
    fn new(tiles: usize, held: Held) -> Self {
        Self { tiles, held, kept: Kept::default() }
    }

    /// The same, where so many layers are beside each host.
    #[must_use]
    pub(crate) fn with_readers(self, readers: BTreeMap<usize, usize>) -> Self {
        Self { kept: Kept::new(readers), ..self }
    }

    /// Whether what a layer receives is read again.
    pub(super) fn is_host(&self, layer: usize) -> bool {
        self.kept.is_host(layer)
    }

    /// Keeps what a host received until the last layer beside it has read it.
    pub(super) fn keep(&self, host: usize, encryptions: Encryptions) {
        self.kept.keep(host, encryptions);
    }

    /// What a host received.
    pub(super) fn read(&self, host: usize) -> Arc<Encryptions> {
        self.kept.read(host)
    }

    /// Whether all that was received is read.
    #[cfg(test)]
    pub(super) fn keeps_nothing(&self) -> bool {
        self.kept.is_empty()
    }

    /// The client's secret of a tile of an image.
    pub(super) fn secret(&self, image: usize, tile: usize) -> &SmallPolynomial {
        match &self.held {
            Held::Secrets(secrets) => &secrets[image * self.tiles + tile],
            Held::Keys(_) => unreachable!("invariant: the client has secrets"),
        }
    }

    /// The server's key of it.
    pub(super) fn key(&self, image: usize, tile: usize) -> &Polynomial {
        match &self.held {
            Held::Keys(keys) => &keys[image * self.tiles + tile],
            Held::Secrets(_) => unreachable!("invariant: the server has keys"),
        }
    }
}
