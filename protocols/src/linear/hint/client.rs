//! The client's half: encryptions of its value, and its share of the products, which it knows before
//! it has heard anything.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::layout::{Layout, Place, Tile};
use super::{ClientState, Hint, key_polynomial};
use crate::lattice::{DEGREE, Modulus, Polynomial, Transform, small};
use crate::linear::Layer;
use crate::linear::protocol::Run;
use crate::{Cost, Error, Role, Session};

/// What the encryptions move.
pub(super) fn cost(hint: &Hint, layer: &Layer, layout: &Layout, images: usize) -> Cost {
    let ring = hint.coefficients(layer);
    let message = |tile: &Tile| {
        let key = ring.packed_len(DEGREE);
        Cost::message(Role::Client, key + ring.packed_len(coefficients(layout, tile)))
    };
    let all: Cost = layout.tiles().iter().map(message).sum();
    Cost { rounds: 1, ..all * images as u64 }
}

/// Coefficients of a tile that are sent, of all groups.
pub(super) fn coefficients(layout: &Layout, tile: &Tile) -> usize {
    let each = layout.chunks().map(|chunk| layout.places(tile, 0, chunk).len());
    layout.geometry.groups * each.sum::<usize>()
}

/// The secret of one tile and image.
struct Encryptor<'a> {
    layer: &'a Layer,
    hint: &'a Hint,
    layout: &'a Layout,
    modulus: Modulus,
    state: &'a ClientState,
    images: usize,
    value: &'a [u64],
}

/// One tile of one image, with a secret that serves nothing else.
struct Encrypted {
    message: Vec<u8>,
    secret: Polynomial,
}

/// Sends the encryptions; this party's share of every output times `2^d`, `[channel][image]
/// [position]`, modulo `2^q`.
pub(super) async fn run(
    hint: &Hint,
    session: &mut Session,
    (layer, layout): (&Layer, &Layout),
    run: &Run<'_>,
    value: &[u64],
) -> Result<Vec<u64>, Error> {
    let modulus =
        hint.modulus(layer.products().ring).expect("invariant: a checked layer has a modulus");
    let (state, images) = (run.state.get::<ClientState>(), run.images);
    let encryptor = Encryptor { layer, hint, layout, modulus, state, images, value };
    let seed = Zeroizing::new(session.rng().random::<[u8; 32]>());
    let tiles = layout.tiles();
    let mut secrets = Vec::with_capacity(images * tiles.len());
    for image in 0..images {
        for tile in &tiles {
            let mut rng = ChaCha20Rng::from_seed(*seed);
            rng.set_stream(secrets.len() as u64);
            let Encrypted { message, secret } = encryptor.encrypt(&mut rng, image, tile);
            session.channel.send(&message)?;
            session.channel.drained().await?;
            secrets.push(secret);
        }
    }
    let bundles = layout.geometry.groups * layout.bundles();
    let shares: Vec<Vec<u64>> = (0..bundles)
        .into_par_iter()
        .map(|bundle| encryptor.shares(bundle, &tiles, &secrets))
        .collect();
    Ok(shares.concat())
}

impl Encryptor<'_> {
    /// The key of a tile of an image, and its encrypted coefficients, `[group][chunk]`.
    fn encrypt(&self, rng: &mut ChaCha20Rng, image: usize, tile: &Tile) -> Encrypted {
        let transform = Transform::get();
        let small_secret = small(rng);
        let secret = transform.forward(small_secret.iter().map(|&value| value.into()));
        let key = key_polynomial().into_iter().map(|v| self.modulus.center(self.modulus.reduce(v)));
        let key = self.masked(&transform.forward(key), &secret, &small(rng));
        let chunks: Vec<_> = (0..self.layout.geometry.groups)
            .flat_map(|group| self.layout.chunks().map(move |chunk| (group, chunk)))
            .collect();
        let errors: Vec<Zeroizing<Vec<i8>>> = chunks.iter().map(|_| small(rng)).collect();
        let encrypted = chunks.par_iter().zip(&self.state.chunks).zip(&errors).map(
            |((&(group, chunk), public), error)| {
                let masked = self.masked(public, &secret, error);
                let places = self.layout.places(tile, group, chunk).into_iter();
                places.map(|place| self.hide(&masked, image, place)).collect::<Vec<u64>>()
            },
        );
        let encrypted: Vec<Vec<u64>> = encrypted.collect();
        let ring = self.hint.coefficients(self.layer);
        let mut message = ring.pack(&key);
        message.extend(ring.pack(&encrypted.concat()));
        Encrypted { message, secret }
    }

    /// A public polynomial times the secret, plus a small error.
    fn masked(&self, public: &Polynomial, secret: &Polynomial, error: &[i8]) -> Vec<u64> {
        let product = Transform::get().product(public, secret).into_iter().zip(error);
        product.map(|(value, &error)| self.modulus.reduce((value + i64::from(error)) as u64)).collect()
    }

    /// A coefficient, with the element that it holds.
    fn hide(&self, masked: &[u64], image: usize, place: Place) -> u64 {
        let element = place.element.map_or(0, |element| {
            let plane = self.layout.geometry.in_h * self.layout.geometry.in_w;
            let (channel, within) = (element / plane, element % plane);
            self.value[(channel * self.images + image) * plane + within]
        });
        masked[place.at].wrapping_add(element << self.hint.noise)
    }

    /// The shares of the outputs of one polynomial, `[output][image][position]`.
    fn shares(&self, bundle: usize, tiles: &[Tile], secrets: &[Polynomial]) -> Vec<u64> {
        let (layout, modulus) = (self.layout, self.modulus);
        let cut = self.hint.cut_coefficients(self.layer);
        let hint = cut.unpack(&self.state.hint[bundle], DEGREE).into_iter();
        let hint = hint.map(|value| modulus.center(modulus.reduce(value << self.hint.cut)));
        let hint = Transform::get().forward(hint);
        let first = bundle % layout.bundles() * layout.outputs;
        let outputs = layout.outputs.min(layout.group_outputs() - first);
        let (positions, columns) = (layout.geometry.positions(), layout.geometry.out_w());
        let mut shares = vec![0; outputs * self.images * positions];
        for (at, secret) in secrets.iter().enumerate() {
            let (image, tile) = (at / tiles.len(), &tiles[at % tiles.len()]);
            let product = Transform::get().product(&hint, secret);
            for output in 0..outputs {
                let plane = &mut shares[(output * self.images + image) * positions..][..positions];
                for row in 0..tile.rows {
                    let start = layout.moved(output) + layout.exponent(row, 0);
                    let line = (tile.row + row) * columns + tile.column;
                    let values = &product[start..start + tile.columns];
                    for (slot, value) in plane[line..].iter_mut().zip(values) {
                        *slot = modulus.reduce((*value as u64).wrapping_neg());
                    }
                }
            }
        }
        shares
    }
}
