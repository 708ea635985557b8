//! The client's half: encryptions of its value, and its share of the products, which it knows
//! before it has heard anything.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::layout::{Held, Layout, Run, Sent, Tile};
use super::{ClientState, Hint, Secrets};
use crate::lattice::{Modulus, Polynomial, SmallPolynomial, Transform, small};
use crate::linear::Layer;
use crate::linear::protocol::Value;
use crate::{Cost, Error, Role, Session};

/// Chunks that are encrypted at a time.
pub(super) const TOGETHER: usize = 32;

/// What the encryptions move.
pub(super) fn cost(hint: &Hint, layer: &Layer, layout: &Layout, images: usize) -> Cost {
    let all: Cost = layout
        .counts()
        .into_iter()
        .map(|counts| Cost::message(Role::Client, message_len(hint, layer, counts)))
        .sum();
    Cost { rounds: 1, ..all * images as u64 }
}

/// Bytes of a tile with so many coefficients that hold an element for the first time, and others.
pub(super) fn message_len(hint: &Hint, layer: &Layer, [first, other]: [usize; 2]) -> usize {
    let ring = hint.coefficients(layer);
    let (first, other) = if hint.draws { (first, other) } else { (0, first + other) };
    hint.noise_ring().packed_len(first) + ring.packed_len(other)
}

/// What all tiles and images have in common.
struct Encryptor<'a> {
    layer: &'a Layer,
    hint: &'a Hint,
    layout: &'a Layout,
    modulus: Modulus,
    state: &'a ClientState,
    images: usize,
}

/// Sends the encryptions; this party's share of every output times `2^d`, `[channel][image]
/// [position]`, modulo `2^q`.
pub(super) async fn run(
    hint: &Hint,
    session: &mut Session,
    layout: &Layout,
    (layer, images, state): (&Layer, usize, &ClientState),
    (secrets, mut value): (&Secrets, Value<'_>),
) -> Result<Vec<u64>, Error> {
    let modulus = hint.modulus_of(layer);
    let encryptor = Encryptor { layer, hint, layout, modulus, state, images };
    let seed = Zeroizing::new(session.rng().random::<[u8; 32]>());
    let tiles = layout.tiles();
    // Beside another layer there is nothing to encrypt.
    let encrypted = if hint.beside.is_some() { 0 } else { images };
    for image in 0..encrypted {
        for (number, tile) in tiles.iter().enumerate() {
            let mut rng = ChaCha20Rng::from_seed(*seed);
            rng.set_stream((image * tiles.len() + number) as u64);
            let sent = layout.sent(tile);
            let secret = secrets.secret(image, number);
            let message = encryptor.encrypt((&mut rng, secret), image, &sent, &mut value);
            session.channel.send(&message)?;
            session.channel.drained().await?;
        }
    }
    let bundles = layout.geometry.groups * layout.bundles();
    let shares: Vec<Vec<u64>> = (0..bundles)
        .into_par_iter()
        .map(|bundle| encryptor.shares(bundle, &tiles, secrets))
        .collect();
    Ok(shares.concat())
}

impl Encryptor<'_> {
    /// The encrypted coefficients of a tile of an image, `[group][chunk]`: first those that are
    /// masks, then all others.
    fn encrypt(
        &self,
        (rng, secret): (&mut ChaCha20Rng, &SmallPolynomial),
        image: usize,
        sent: &[Sent],
        value: &mut Value<'_>,
    ) -> Vec<u8> {
        let (mut masks, mut others) = (Vec::new(), Vec::new());
        for (sent, public) in sent.chunks(TOGETHER).zip(self.state.chunks.chunks(TOGETHER)) {
            let errors: Vec<Zeroizing<Vec<i8>>> = sent.iter().map(|_| small(rng)).collect();
            let masked: Vec<Zeroizing<Vec<u64>>> = public
                .par_iter()
                .zip(&errors)
                .map(|(public, error)| Zeroizing::new(self.masked(public, secret, error)))
                .collect();
            for (sent, masked) in sent.iter().zip(&masked) {
                for run in sent.runs.iter() {
                    let masked = &masked[run.at..][..run.len];
                    self.put((image, sent.base), run, masked, (value, &mut masks, &mut others));
                }
            }
        }
        let ring = self.hint.coefficients(self.layer);
        // Packing takes the low bits alone: of a mask's, those below it.
        let mut message = self.hint.noise_ring().pack(&masks);
        message.extend(ring.pack(&others));
        message
    }

    /// Hides the elements of a run of a chunk, whose first element of all is number `base`.
    fn put(
        &self,
        (image, base): (usize, usize),
        run: &Run,
        masked: &[u64],
        (value, masks, others): (&mut Value<'_>, &mut Vec<u64>, &mut Vec<u64>),
    ) {
        let Some(Held { element, first }) = run.held else {
            return others.extend_from_slice(masked);
        };
        // All of them are of one channel.
        let start = self.place(image, base + element);
        let places = start..=start + (run.len - 1) * self.layout.step();
        let step = self.layout.step();
        match value {
            Value::Drawn(mask) if first => {
                for (mask, coefficient) in mask[places].iter_mut().step_by(step).zip(masked) {
                    *mask = self.with_low_bits(*mask, *coefficient);
                }
                masks.extend_from_slice(masked);
            }
            Value::Drawn(mask) => others.extend(self.hidden(masked, mask[places].iter(), step)),
            Value::Given(value) => others.extend(self.hidden(masked, value[places].iter(), step)),
        }
    }

    /// Where an element of an image is in the value, `[channel][image][row][column]`.
    const fn place(&self, image: usize, element: usize) -> usize {
        let plane = self.layout.geometry.in_h * self.layout.geometry.in_w;
        let (channel, within) = (element / plane, element % plane);
        (channel * self.images + image) * plane + within
    }

    /// A mask whose low bits are minus the high ones of a coefficient.
    fn with_low_bits(&self, mask: u64, coefficient: u64) -> u64 {
        let low = self.layer.ring.mask();
        mask & !low | (coefficient >> self.hint.noise).wrapping_neg() & low
    }

    /// A public polynomial times the secret, plus a small error.
    fn masked(&self, public: &Polynomial, secret: &SmallPolynomial, error: &[i8]) -> Vec<u64> {
        let product = Transform::get().product(public, secret).into_iter().zip(error);
        product
            .map(|(value, &error)| self.modulus.reduce((value + i64::from(error)) as u64))
            .collect()
    }

    /// Coefficients, each with the value that it hides.
    fn hidden<'a>(
        &'a self,
        masked: &'a [u64],
        values: impl Iterator<Item = &'a u64> + 'a,
        step: usize,
    ) -> impl Iterator<Item = u64> + 'a {
        masked
            .iter()
            .zip(values.step_by(step))
            .map(|(coefficient, value)| coefficient.wrapping_add(value << self.hint.noise))
    }

    /// The shares of the outputs of one polynomial, `[output][image][position]`.
    fn shares(&self, bundle: usize, tiles: &[Tile], secrets: &Secrets) -> Vec<u64> {
        let (layout, modulus) = (self.layout, self.modulus);
        // Bits above the modulus, where the hint was made for a larger one, are dropped.
        let hint = self.state.hint.polynomial(bundle).into_iter();
        let hint = Transform::get().forward(modulus, hint.map(|value| value << self.hint.cut));
        let outputs = layout.channels_of(bundle).len();
        let (positions, width) = (layout.own.positions(), layout.own.out_w());
        let mut shares = vec![0; outputs * self.images * positions];
        for (image, (number, tile)) in
            (0..self.images).flat_map(|image| tiles.iter().enumerate().map(move |t| (image, t)))
        {
            let product = Transform::get().product(&hint, secrets.secret(image, number));
            let [rows, columns] = layout.own_lines(tile);
            for output in 0..outputs {
                let plane = &mut shares[(output * self.images + image) * positions..][..positions];
                for (row, at) in rows.iter() {
                    let start = layout.moved(output) + layout.exponent(at, columns.at);
                    let values = product[start..].iter().step_by(columns.every);
                    let line = &mut plane[row * width + columns.first..][..columns.count];
                    for (slot, value) in line.iter_mut().zip(values) {
                        *slot = modulus.reduce((*value as u64).wrapping_neg());
                    }
                }
            }
        }
        shares
    }
}
