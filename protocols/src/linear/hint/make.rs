//! Set-up: the server makes a layer's hint, and the client gets it.

use std::ops::Range;
use std::sync::Arc;

use rand::RngExt;
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::direct::Kernels;
use super::file::{Packed, generator};
use super::layout::Layout;
use super::{ClientState, Hint, ServerState, chunk_polynomial, key_polynomial};
use crate::bits::Word;
use crate::lattice::{DEGREE, Modulus, Polynomial, Transform, small};
use crate::linear::Layer;
use crate::{Cost, Error, Role, Session};

/// Polynomials of outputs that travel in one message.
pub(super) const TOGETHER: usize = 64;

/// What a hint moves, once.
pub(super) fn cost(hint: &Hint, layer: &Layer, layout: &Layout) -> Cost {
    let ring = hint.cut_coefficients(layer);
    let bundles = layout.geometry.groups * layout.bundles();
    let message = |count: usize| Cost::message(Role::Server, count * ring.packed_len(DEGREE));
    let all = message(TOGETHER) * (bundles / TOGETHER) as u64;
    let last = bundles % TOGETHER;
    let all = if last > 0 { all + message(last) } else { all };
    Cost { rounds: all.rounds.min(1), ..all }
}

/// One polynomial of outputs: its hint, packed, and its secret.
pub(super) struct Made {
    pub(super) packed: Vec<u8>,
    pub(super) secret: Zeroizing<Vec<i8>>,
    /// The deviation bound of its noise: as secret as the rest.
    pub(super) deviation: f64,
}

/// Makes the hint, with secrets that nobody has used before, and sends it.
pub(super) async fn server(
    hint: &Hint,
    session: &mut Session,
    layer: &Layer,
    layout: &Layout,
    weights: &[i8],
) -> Result<ServerState, Error> {
    // Never from the weights, nor from anything that stays: two hints under one secret would tell
    // the difference of what they hide.
    let seed = Zeroizing::new(session.rng().random::<[u8; 32]>());
    let bundles = layout.geometry.groups * layout.bundles();
    let maker = Maker::new(hint, layer, layout, weights);
    let mut secrets = Vec::with_capacity(bundles);
    for start in (0..bundles).step_by(TOGETHER) {
        let mut message = Vec::new();
        for made in maker.make_some(&seed, start..bundles.min(start + TOGETHER))? {
            message.extend(made.packed);
            secrets.push(made.secret);
        }
        session.channel.send(&message)?;
        session.channel.drained().await?;
    }
    Ok(ServerState { secrets })
}

/// The hint, under secrets of a seed that serves no other.
pub(super) fn all(
    hint: &Hint,
    layer: &Layer,
    layout: &Layout,
    weights: &[i8],
    seed: &[u8; 32],
) -> Result<Vec<Made>, Error> {
    let bundles = layout.geometry.groups * layout.bundles();
    Maker::new(hint, layer, layout, weights).make_some(seed, 0..bundles)
}

/// The hint, whatever its noise is.
#[cfg(test)]
pub(super) fn unchecked(
    hint: &Hint,
    layer: &Layer,
    layout: &Layout,
    weights: &[i8],
    seed: &[u8; 32],
) -> Vec<Made> {
    let maker = Maker::new(hint, layer, layout, weights);
    let bundles = layout.geometry.groups * layout.bundles();
    (0..bundles).map(|bundle| maker.unchecked(seed, bundle)).collect()
}

/// Receives the hint.
pub(super) async fn client(
    hint: &Hint,
    session: &mut Session,
    layer: &Layer,
    layout: &Layout,
) -> Result<ClientState, Error> {
    let bytes = Arc::new(receive(hint, layer, session).await?);
    let packed = Packed { bytes, start: 0, ring: hint.cut_coefficients(layer) };
    Ok(ClientState::new(hint, layer, layout, packed))
}

/// Receives the hint's polynomials, packed.
pub(super) async fn receive(
    hint: &Hint,
    layer: &Layer,
    session: &mut Session,
) -> Result<Vec<u8>, Error> {
    let len = hint.cut_coefficients(layer).packed_len(DEGREE);
    let all = layer.hint_len().expect("invariant: the layer has a hint");
    let mut packed = Vec::with_capacity(all);
    while packed.len() < all {
        let due = (TOGETHER * len).min(all - packed.len());
        packed.extend(session.channel.receive(due).await?);
    }
    Ok(packed)
}

impl ClientState {
    /// Of a hint, with the public polynomials.
    pub(super) fn new(hint: &Hint, layer: &Layer, layout: &Layout, packed: Packed) -> Self {
        let modulus = hint.modulus_of(layer);
        // Of another layer's encryptions it makes none.
        let encrypted = usize::from(hint.beside.is_none());
        let count = encrypted * layout.geometry.groups * layout.chunks().len();
        let chunks = (0..count)
            .into_par_iter()
            .map(|chunk| Transform::get().forward(modulus, chunk_polynomial(layer, chunk)));
        Self { hint: packed, chunks: chunks.collect() }
    }
}

/// What all polynomials of a layer are made of.
struct Maker<'a> {
    hint: &'a Hint,
    layer: &'a Layer,
    layout: &'a Layout,
    weights: &'a [i8],
    modulus: Modulus,
    /// The public polynomial that secrets are hidden under.
    key: Polynomial,
    kernels: Kernels,
    windows: Windows,
}

/// Windows of public polynomials, `[group][chunk]`, in words that hold the modulus; none where each
/// serves one polynomial of outputs, which then makes its own.
enum Windows {
    Narrow(Option<Vec<Vec<u32>>>),
    Wide(Option<Vec<Vec<u64>>>),
}

impl<'a> Maker<'a> {
    fn new(hint: &'a Hint, layer: &'a Layer, layout: &'a Layout, weights: &'a [i8]) -> Self {
        let modulus = hint.modulus_of(layer);
        let key = Transform::get().forward(modulus, key_polynomial());
        let kernels = Kernels::new(layout, DEGREE);
        let windows = match modulus.bits() {
            0..=32 => Windows::Narrow(windows(layer, layout, &kernels)),
            _ => Windows::Wide(windows(layer, layout, &kernels)),
        };
        Self { hint, layer, layout, weights, modulus, key, kernels, windows }
    }

    /// The hints of some polynomials of outputs.
    fn make_some(&self, seed: &[u8; 32], bundles: Range<usize>) -> Result<Vec<Made>, Error> {
        bundles.into_par_iter().map(|bundle| self.make(seed, bundle)).collect()
    }

    /// The hint of one polynomial of outputs.
    fn make(&self, seed: &[u8; 32], bundle: usize) -> Result<Made, Error> {
        let made = self.unchecked(seed, bundle);
        self.check(made.deviation)?;
        Ok(made)
    }

    fn unchecked(&self, seed: &[u8; 32], bundle: usize) -> Made {
        match &self.windows {
            Windows::Narrow(windows) => self.make_of(seed, windows.as_deref(), bundle),
            Windows::Wide(windows) => self.make_of(seed, windows.as_deref(), bundle),
        }
    }

    fn make_of<W: Word>(&self, seed: &[u8; 32], windows: Option<&[Vec<W>]>, bundle: usize) -> Made {
        // The secret is drawn first: whoever has the seed draws it again alone.
        let mut rng = generator(seed, bundle);
        let (secret, error) = (small(&mut rng), small(&mut rng));
        let transform = Transform::get();
        let product = transform.product(&self.key, &transform.small(&secret));
        let product = product.into_iter().zip(error.iter());
        let noisy = product.map(|(value, &error)| (value + i64::from(error)) as u64);
        let mut sums: Vec<W> = noisy.map(W::truncate).collect();
        let squares = self.add_weights(windows, bundle, &mut sums);
        // Rounded: what is cut off comes back as an error of its own.
        let cut = u32::from(self.hint.cut);
        let half = (1u64 << cut) >> 1;
        let mut errors = 0.0;
        let mut values = Vec::with_capacity(DEGREE);
        for (sum, error) in sums.into_iter().zip(error.iter()) {
            let sum = self.modulus.reduce(sum.into());
            let value = self.modulus.reduce(sum.wrapping_add(half)) >> cut;
            let rounded =
                self.modulus.center(self.modulus.reduce((value << cut).wrapping_sub(sum)));
            errors += (rounded + i64::from(*error)).pow(2) as f64;
            values.push(value);
        }
        let norm: f64 = secret.iter().map(|&value| f64::from(value).powi(2)).sum();
        let packed = self.hint.cut_coefficients(self.layer).pack(&values);
        Made { packed, secret, deviation: (squares + norm + errors).sqrt() }
    }

    /// Noise that is larger than was planned for.
    fn check(&self, deviation: f64) -> Result<(), Error> {
        if self.hint.bears(self.layer, deviation) {
            return Ok(());
        }
        // The norm itself is the server's secret.
        let expected = format!("weights that {} bits of noise bear", self.hint.noise);
        Err(Error::invalid("weights of a hint", expected, "larger ones"))
    }

    /// Adds the weights times the public polynomials; the sum of their squares.
    fn add_weights<W: Word>(
        &self,
        windows: Option<&[Vec<W>]>,
        bundle: usize,
        sums: &mut [W],
    ) -> f64 {
        let layout = self.layout;
        let (fan_in, chunks) = (layout.own.fan_in(), layout.chunks().len());
        let channels = layout.channels_of(bundle);
        let weights = &self.weights[channels.start * fan_in..channels.end * fan_in];
        for number in 0..chunks {
            let chunk = bundle / layout.bundles() * chunks + number;
            let own: Vec<W>;
            let window = match windows {
                Some(windows) => &windows[chunk],
                None => {
                    own = window(self.layer, &self.kernels, chunk);
                    &own
                }
            };
            self.kernels.add(sums, (number, window), (0, weights));
        }
        weights.iter().map(|&weight| f64::from(weight).powi(2)).sum()
    }
}

fn windows<W: Word>(layer: &Layer, layout: &Layout, kernels: &Kernels) -> Option<Vec<Vec<W>>> {
    let count = layout.geometry.groups * layout.chunks().len();
    (layout.bundles() > 1)
        .then(|| (0..count).into_par_iter().map(|chunk| window(layer, kernels, chunk)).collect())
}

/// The window of the public polynomial of a chunk.
fn window<W: Word>(layer: &Layer, kernels: &Kernels, chunk: usize) -> Vec<W> {
    kernels.window(|window| {
        for (to, value) in window.iter_mut().zip(chunk_polynomial(layer, chunk)) {
            *to = W::truncate(value);
        }
    })
}
