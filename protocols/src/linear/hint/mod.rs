//! `hint`: the server's weights times the client's mask, by ring learning with errors under public
//! polynomials that never change. What moves is a dozen bits an activation, whatever the
//! multiplications.
//!
//! Notation: `R = Z_(2^q)[X] / (X^2048 + 1)`, `q = l + d` for products modulo `2^l`, `D = 2^d`;
//! `a_c` for every chunk and `P` public; small polynomials are centered binomials of variance 1. A
//! layer is cut into tiles and chunks ([`layout`]).
//!
//! 1. Once (set-up), server, for every polynomial `k` of outputs: a fresh secret `r` and error
//!    `e1`; sends the hint `h = round((sum w_(k,c) a_c + P r + e1) / 2^j)`.
//! 2. Client, for every tile and image, once for all layers: a fresh secret `s`; sends `p = P s +
//!    e`. For every layer and chunk: `b_c = a_c s + e + D x` at the coefficients that used outputs
//!    touch. Its share of an output is `u = -(2^j h) s`. *Masks out of ciphertexts.* Where the mask
//!    is free, an element that is encrypted for the first time is `-floor(y / D)` for `y = a_c s +
//!    e`: uniform, since `y` is to everybody else. Then `b_c = y mod D`, of which `d` bits are
//!    sent.
//! 3. Server: `v = sum w_(k,c) b_c + p r + D / 4`. Then `u + v = D (W x) + nu + D / 4` for a small
//!    `nu`.
//! 4. *Exact rounding.* `u = D u1 + pu`, `v = D v1 + pv`, `B = D / 2`. Where `|nu| < D / 4`: `W x =
//!    u1 + v1 + 1 - [pu < B][pv < B]` modulo `2^l`. For `pu + pv` is `nu + D / 4`, within `[0, B)`,
//!    and then both are below `B`; or that plus `D`, and then not both are. The product of the two
//!    bits is one correlated OT an output: the client chooses. *Carry.* Or the client takes `2 u1 +
//!    [pu >= B]`, and the server `2 v1 + [pv >= B] + 1`. By the same three cases their sum is `2 (W
//!    x) + c`, `c` 0 or 1, modulo `2^(l + 1)`. A requantization that drops one bit more is exact,
//!    and nothing moves.
//!
//! A layer that reads the wire of another one may take that one's encryptions for its own step 2:
//! see [`Beside`].
//!
//! Nothing comes back but the corrections of those OTs, and nothing is flooded: the noise is never
//! in one party's hands.
//!
//! Cost: in set-up `2048 (q - j)` bits a polynomial of outputs, from the server; for every
//! inference `q` bits a coefficient, `d` where it is a mask's, and a bit an output, from the
//! client; `l - e` bits an output and an OT from the server, `e` the channel's shift; 2 rounds.
//! Beside it, once an inference for all layers, `2048 q` bits a tile ([`secrets`]).
//!
//! Exactness: given the hint, `nu` is a linear form in the client's `s` and `e`, every variable
//! once: sub-Gaussian with `tau^2 = |W|^2 + |r|^2 + |e1 + rounding|^2`. The server holds the norms
//! that it has drawn against `D >= 4 z tau` when it makes a hint; then all outputs of an inference
//! are right but with probability 2^-40 ([`parameters`]).
//!
//! Security. *The server* sees RLWE samples of fresh secrets under public polynomials: `b_c` and
//! `p` are pseudorandom, so they hide `x`; the choices are masked by the OTs. *The client* sees the
//! hint, an RLWE sample `P r + e1` of a fresh secret plus something else: pseudorandom, whatever
//! the weights are. Nothing else depends on the weights. Secrets of a hint are drawn anew whenever
//! one is made: two hints under one `r` would give the difference of what they hide. A hint may be
//! made once for all sessions, and kept in a file ([`crate::hints`]). Assumption: RLWE with the
//! parameters of [`crate::lattice`].
//!
//! Sources: the encoding is Cheetah's (USENIX Security 2022); hints and fixed public matrices are
//! those of SimplePIR (Henzinger et al., USENIX Security 2023); rounding of shares is as in lattice
//! based homomorphic secret sharing (Boyle, Kohl, Scholl, Eurocrypt 2019).

mod beside;
mod client;
mod direct;
mod file;
mod layout;
mod make;
mod parameters;
mod received;
mod rounding;
mod secrets;
mod server;

use serde::{Deserialize, Serialize};

use super::protocol::{Detail, LayerMemory, LayerSeconds, LinearProtocol, Run, State, Work};
use super::{Algorithm, Layer};
use crate::assumption::Assumption;
use crate::lattice::{DEGREE, Polynomial, SmallPolynomial};
use crate::ot::Demand;
use crate::{Bits, Cost, Phases, Role, Session, rates};
use layout::Layout;
use parameters::squares_bound;

pub use beside::Beside;
pub use secrets::{Secrets, SecretsNeeded};

/// What a plan says of a layer's hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    /// Outputs that share a polynomial.
    pub outputs: u16,
    /// `d`: bits below the products, for the noise.
    pub noise: u8,
    /// `j`: bits that are cut off the hint.
    pub cut: u8,
    /// Whether the client's mask comes out of the encryptions.
    pub draws: bool,
    /// Whether the carry of rounding stays in the shares, for what reads them: see
    /// [`Wire::carry`](crate::steps::Wire::carry).
    pub carry: bool,
    /// The layer whose encryptions it reads, where they are not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Beside>,
}

impl Hint {
    /// Ways to share polynomials for a layer whose inputs are up to `most` in magnitude.
    pub(crate) fn all(layer: &Layer, most: f64) -> impl Iterator<Item = Self> {
        let squares = squares_bound(layer, most);
        let outputs = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128].into_iter();
        outputs.filter_map(move |outputs| Self::for_weights(layer, outputs, squares))
    }

    /// The way with so many outputs a polynomial, likewise.
    pub(crate) fn of(layer: &Layer, most: f64, outputs: u16) -> Option<Self> {
        Self::for_weights(layer, outputs, squares_bound(layer, most))
    }

    /// The same with so many bits of noise.
    pub(crate) fn bearing(layer: &Layer, most: f64, of: (u16, u8)) -> Option<Self> {
        Self::with_noise(layer, of, squares_bound(layer, most))
    }

    /// The way of the fewest bits for a layer whose inputs are up to `most` in magnitude, where the
    /// hint is known, the mask is drawn and the carry is left; `None` where there is none.
    pub fn least(layer: &Layer, most: f64) -> Option<Self> {
        let hint = Self::for_weights(layer, 1, squares_bound(layer, most))?;
        let hint = hint.drawing(true).carrying(true);
        hint.check(layer).is_ok().then_some(hint)
    }

    /// The same, with the client's mask out of the encryptions or not.
    #[must_use]
    pub(crate) const fn drawing(self, draws: bool) -> Self {
        Self { draws, ..self }
    }

    /// The same, with the carry left to what reads the result or not.
    #[must_use]
    pub(crate) const fn carrying(self, carry: bool) -> Self {
        Self { carry, ..self }
    }

    /// The ring of the noise: of coefficients that are masks.
    fn noise_ring(&self) -> Bits {
        Bits::of(self.noise.into())
    }

    fn layout(&self, layer: &Layer) -> Layout {
        self.try_layout(layer).expect("invariant: a checked layer has a layout")
    }

    fn try_layout(&self, layer: &Layer) -> Option<Layout> {
        let (own, outputs) = (&layer.products().geometry, self.outputs.into());
        match &self.beside {
            Some(beside) => beside.layout(own, outputs),
            None => Layout::new(own, outputs),
        }
    }

    /// The ring of coefficients.
    fn coefficients(&self, layer: &Layer) -> Bits {
        Bits::of(layer.products().ring.get() + u32::from(self.noise))
    }

    /// The ring of a hint's coefficients.
    fn cut_coefficients(&self, layer: &Layer) -> Bits {
        Bits::of(self.coefficients(layer).get() - u32::from(self.cut))
    }
}

/// Bytes of a small polynomial.
const SMALL: u64 = DEGREE as u64;
/// Bytes of a polynomial's coefficients, before they are packed.
const UNPACKED: u64 = 8 * DEGREE as u64;

impl LinearProtocol for Hint {
    fn name(&self) -> String {
        let carry = if self.carry { " +carry" } else { "" };
        let beside = if self.beside.is_some() { " beside" } else { "" };
        match self.outputs {
            1 => format!("hint{beside}{carry}"),
            outputs => format!("hint b={outputs}{beside}{carry}"),
        }
    }

    fn check(&self, layer: &Layer) -> Result<(), String> {
        let Some(modulus) = self.modulus(layer.products().ring) else {
            return Err(format!(
                "a ring and noise of at most 46 bits together, found {} and {}",
                layer.products().ring,
                self.noise
            ));
        };
        if u32::from(self.cut) >= modulus.bits() || self.cut > self.noise || self.noise < 4 {
            return Err(format!("noise of at least 4 bits and a cut within it, found {self:?}"));
        }
        if (self.draws || self.carry) && layer.algorithm != Algorithm::Direct {
            let found = layer.algorithm;
            return Err(format!("masks and carries of direct convolutions, found {found:?}"));
        }
        if self.carry && layer.ring.get() > 62 {
            return Err(format!("a ring of at most 62 bits with a carry, found {}", layer.ring));
        }
        let outputs = layer.products().geometry.out_channels / layer.products().geometry.groups;
        if !(1..=outputs).contains(&usize::from(self.outputs)) {
            return Err(format!("1 to {outputs} outputs a polynomial, found {}", self.outputs));
        }
        if let Some(beside) = &self.beside {
            beside.check(layer, self)?;
        }
        match self.try_layout(layer) {
            Some(_) => Ok(()),
            None => Err("windows that fit a polynomial of 2048 coefficients".into()),
        }
    }

    fn cost(&self, layer: &Layer, images: usize) -> Phases {
        let layout = self.layout(layer);
        // All of the client's messages are one way, the choices of the OTs among them.
        let encryptions = match self.beside {
            Some(_) => Cost::ZERO,
            None => client::cost(self, layer, &layout, images),
        };
        let offline = match self.carry {
            true => encryptions,
            false => encryptions.beside(rounding::cost(layer, images)),
        };
        Phases { setup: make::cost(self, layer, &layout), offline, ..Phases::default() }
    }

    fn demands(&self, layer: &Layer, images: usize) -> Vec<Demand> {
        if self.carry { Vec::new() } else { rounding::demands(layer, images) }
    }

    fn seconds(&self, layer: &Layer, images: usize) -> LayerSeconds {
        let (layout, products) = (self.layout(layer), layer.products());
        let g = &products.geometry;
        let bundles = (g.groups * layout.bundles()) as f64;
        let tiles = (layout.tile_count() * images) as f64;
        let chunks = (g.groups * layout.chunks().len()) as f64;
        // Words of 64 bits are four times as slow, and a third limb half as much again.
        let wide = self.coefficients(layer).get() > 32;
        let mac = rates::POLYNOMIAL_MAC * if wide { 4.0 } else { 1.0 };
        let transform = rates::TRANSFORM * if wide { 1.5 } else { 1.0 };
        let outputs = (g.out_channels * g.positions() * images) as f64;
        let used = if self.carry { rates::ROUNDING / 4.0 } else { rates::ROUNDING } * outputs;
        let [coefficients, weights] =
            [g.in_shape().iter().product::<usize>() * images, g.weights()].map(|n| n as f64);
        let hidden = coefficients * rates::COEFFICIENT;
        // Every weight is fetched for every tile; then it meets all outputs between the first and
        // the last.
        let direct = weights * (rates::WEIGHT + layout.span() as f64 * mac);
        // Beside another layer nothing is encrypted.
        let encrypted = if self.beside.is_some() { 0.0 } else { 1.0 };
        let client =
            (tiles * (bundles + encrypted * chunks) + bundles) * transform + encrypted * hidden;
        let server = tiles * (bundles * 1.5 * transform + f64::from(self.outputs) * direct);
        LayerSeconds {
            setup: bundles * 2.0 * transform
                + chunks * 3.0 * transform
                + weights * (rates::WEIGHT + DEGREE as f64 * mac),
            offline: client.max(server + hidden / 2.0) + used,
        }
    }

    fn memory(&self, layer: &Layer, role: Role, images: usize) -> LayerMemory {
        let (layout, products) = (self.layout(layer), layer.products());
        let g = &products.geometry;
        let bundles = (g.groups * layout.bundles()) as u64;
        let (tiles, chunks) =
            ((layout.tile_count() * images) as u64, (g.groups * layout.chunks().len()) as u64);
        let packed = self.cut_coefficients(layer).packed_len(DEGREE) as u64;
        let transformed = self.modulus(products.ring).map_or(0, Polynomial::bytes);
        // Windows of polynomials, in words that hold the modulus: that of the encryptions, which
        // another layer's may be larger.
        let wide = self.coefficients(layer).get() > 32 || self.beside.is_some();
        let word = if wide { 8 } else { 4 };
        let window = word * SMALL * if self.outputs == 1 { 2 } else { 3 };
        let outputs = (g.out_channels * g.positions() * images) as u64;
        let encrypted = u64::from(self.beside.is_none());
        match role {
            Role::Server => LayerMemory {
                state: bundles * SMALL,
                preparing: chunks * window + 64 * (packed + 2 * UNPACKED),
                running: chunks * (window + word * SMALL)
                    + outputs * 24
                    + bundles.min(server::KEPT as u64) * SmallPolynomial::BYTES
                    + 64 * UNPACKED,
                frames: encrypted * tiles,
            },
            Role::Client => LayerMemory {
                state: bundles * packed + encrypted * chunks * transformed,
                preparing: 0,
                running: outputs * 24 + (2 * encrypted * chunks + 64) * UNPACKED,
                frames: 0,
            },
        }
    }

    fn detail(&self, _: &Layer, _: usize) -> Detail {
        Detail { aes_blocks: 0, group: self.outputs.into() }
    }

    fn assumptions(&self) -> &'static [Assumption] {
        &[Assumption::RingLearningWithErrors]
    }

    fn draws(&self) -> bool {
        self.draws
    }

    fn lasts(&self) -> bool {
        true
    }

    fn secrets(&self, layer: &Layer) -> Option<SecretsNeeded> {
        SecretsNeeded::of(self, layer)
    }

    fn prepare<'a>(
        &'a self,
        session: &'a mut Session,
        layer: &'a Layer,
        weights: Option<&'a [i8]>,
    ) -> Work<'a, State> {
        Box::pin(async move {
            let layout = self.layout(layer);
            Ok(match weights {
                Some(weights) => {
                    let weights = layer.weights_of_products(weights);
                    State::new(make::server(self, session, layer, &layout, &weights).await?)
                }
                None => State::new(make::client(self, session, layer, &layout).await?),
            })
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, run: Run<'a>) -> Work<'a, Vec<u64>> {
        Box::pin(async move {
            let layout = self.layout(run.layer);
            let secrets =
                run.secrets.expect("invariant: an inference has the secrets of its layers");
            match run.value {
                Some(value) => {
                    let task = (run.layer, run.images, run.state.get());
                    let shares =
                        client::run(self, session, &layout, task, (secrets, value)).await?;
                    match self.carry {
                        true => Ok(rounding::halves(self, (session.role(), run.layer), shares)),
                        false => rounding::client(self, session, run.layer, shares).await,
                    }
                }
                None => {
                    let shares = server::run(self, session, (&layout, secrets), &run).await?;
                    match self.carry {
                        true => Ok(rounding::halves(self, (session.role(), run.layer), shares)),
                        false => rounding::server(self, session, run.layer, shares).await,
                    }
                }
            }
        })
    }
}

/// What the server keeps of a layer: the secrets of its hint, `[group][bundle]`.
struct ServerState {
    secrets: Vec<zeroize::Zeroizing<Vec<i8>>>,
}

/// What the client keeps of a layer.
struct ClientState {
    /// The hint, `[group][bundle]`, packed.
    hint: file::Packed,
    /// The public polynomials of its chunks, `[group][chunk]`, transformed.
    chunks: Vec<Polynomial>,
}

/// The public polynomial of a chunk of a layer, modulo `2^64`. Chunks of all groups are numbered
/// on.
fn chunk_polynomial(layer: &Layer, chunk: usize) -> Vec<u64> {
    crate::lattice::public("chunk", [layer.encrypted_as() as u64, chunk as u64])
}

/// The public polynomial that secrets are hidden under.
fn key_polynomial() -> Vec<u64> {
    crate::lattice::public("key", [0, 0])
}

#[cfg(test)]
mod noise;
#[cfg(test)]
mod tests;
