//! `vole`: the server's weights times a value that the client holds, by small-field vector
//! oblivious linear evaluation.
//!
//! Input: the server's weights `W` in planted trees, the client's `x`. Output: shares of `W x` over
//! `Z_{2^l}`, each channel shifted left as the layer says. Source of the idea that a punctured
//! tree is a vector oblivious linear evaluation: SoftSpokenOT (Roy, Crypto 2022, section 3).
//!
//! For every tree, with leaves `r_z` expanded under keys that are never used again
//! ([`super::keys`]) to one ring element a column, a hole at the digit `q`
//! and `digit(z)` that same digit of a leaf's index:
//!
//! 1. Client: `u = sum r_z`, `v = sum digit(z) r_z`; sends the correction `c = x - u` of its input
//!    row.
//! 2. Server: from all leaves but the hole, `S = sum r_z` and `V = sum digit(z) r_z` with any value
//!    for the hole's leaf: the terms cancel in `q S - V = q u - v`. Its share is `q (c + S) - V = q
//!    x - v`; the client's is `v`.
//!
//! Digits of a weight add up with their place values; the top digit is signed, so no offset term
//! involves `x`. With trees of depth one this *is* the bitwise correlated transfer of SiRNN and
//! PrivQuant (protocol `cot`).
//!
//! Cost: `l - e - low` bits a tree and column, client to server, for the tree's channel shift `e`
//! and lowest bit `low`. Weights of one tree share them: `K N D l w / k` bits in all at `w <= k`.
//!
//! Security: the server sees `x - u`; `u` contains the hidden leaf's expansion, uniform by circular
//! correlation robustness of the hash, of which at most `2^13` calls are made under one key. The
//! client receives nothing.

use super::kernel::{Chunk, column_blocks};
use super::keys::Keys;
use super::layer::{Layer, Planted};
use super::layout::Part;
use super::{Algorithm, Protocol, layout, mask, multiply, winograd};
use crate::bits::{Word, with_word};
use crate::{Clear, Cost, Domain, Error, Operator, Role, Session, Share, Shared};

/// The products of a planted layer with a value that the client holds.
pub struct Products<'a> {
    /// The layer.
    pub layer: &'a Layer,
    /// Images.
    pub images: usize,
    /// This party's trees.
    pub planted: &'a Planted,
    /// The server's weights, in the order of [`Layer::weights`]: the ideal is computed where they
    /// are, and some protocols need them.
    pub weights: Option<&'a [i8]>,
}

/// A value that the client alone holds, laid out `[channels][images][rows][columns]`; the server
/// holds nothing.
#[derive(Clone, Debug)]
pub struct ClientHeld(pub Option<Share>);

impl Shared for ClientHeld {
    type Clear = Clear;

    fn share(clear: &Clear, _: &mut impl rand::Rng) -> (Self, Self) {
        (Self(None), Self(Some(Share::new(clear.ring, clear.values.clone()))))
    }

    fn reveal(_: &Self, client: &Self) -> Clear {
        let share = client.0.as_ref().expect("invariant: the client holds the value");
        Clear { ring: share.ring(), values: share.values().to_vec() }
    }
}

impl Operator for Products<'_> {
    type Input = ClientHeld;
    type Output = Share;

    const NAME: &'static str = "vole";

    fn ideal(&self, input: &Clear) -> Clear {
        let weights = self.weights.expect("invariant: the ideal is computed where the weights are");
        let values = multiply(self.layer, weights, self.images, &input.values);
        Clear { ring: self.layer.ring, values }
    }

    fn cost(&self) -> Cost {
        products_cost(self.layer, self.images)
    }

    async fn run(&self, session: &mut Session, input: ClientHeld) -> Result<Share, Error> {
        let (layer, geometry) = (self.layer.products(), &self.layer.geometry);
        let values = match self.layer.algorithm {
            Algorithm::Direct => {
                self.multiply(session, &layer, input.0.as_ref().map(Share::values)).await?
            }
            Algorithm::Winograd | Algorithm::WinogradExact => {
                let x =
                    input.0.map(|x| winograd::transform_input(geometry, self.images, x.values()));
                let products = self.multiply(session, &layer, x.as_deref()).await?;
                winograd::transform_output(geometry, self.images, &products)
            }
        };
        let exact = self.layer.algorithm == Algorithm::WinogradExact;
        let quarter = |value| winograd::quarter(session.role(), layer.ring, value);
        let values = if exact { values.into_iter().map(quarter).collect() } else { values };
        Ok(Share::new(self.layer.ring, values))
    }
}

impl Products<'_> {
    /// This party's share of the weights times what the client gives, for the layer of the
    /// products.
    async fn multiply(
        &self,
        session: &mut Session,
        layer: &Layer,
        x: Option<&[u64]>,
    ) -> Result<Vec<u64>, Error> {
        if let Protocol::VoleOfMask { k } = layer.protocol {
            let weights = self.weights.map(|weights| self.layer.weights_of_products(weights));
            let side = match (x, &weights) {
                (Some(mask), _) => mask::Side::Client(mask),
                (None, weights) => mask::Side::Server(
                    weights.as_ref().expect("invariant: the server has its weights"),
                ),
            };
            return mask::run(session, layer, self.images, k, side).await;
        }
        // A fresh key for every run: trees are kept, but no leaf is expanded twice under one key.
        let keys = Keys::new(&session.fresh_key(Domain::Weights));
        // Sums modulo a word's bits are sums modulo any smaller power of two. So one word, for the
        // widest ring, serves all classes.
        let widest = self.planted.classes.iter().map(|(class, _)| class.ring).max();
        let ring = widest.unwrap_or(layer.ring);
        match x {
            Some(x) => with_word!(ring, client::<_>(session, self, layer, &keys, x).await),
            None => with_word!(ring, server::<_>(session, self, layer, &keys).await),
        }
    }
}

/// What the products of a layer with `images` images move; trees are planted before.
pub fn products_cost(layer: &Layer, images: usize) -> Cost {
    let products = layer.products();
    if let Protocol::VoleOfMask { k } = layer.protocol {
        return mask::cost(&products, images, k);
    }
    let columns = images * products.geometry.positions();
    let classes = layer.classes();
    let messages = layout::chunks(&classes, columns).into_iter().map(|chunk| {
        let trees = chunk.iter().flat_map(|part| {
            let classes = &classes[part.classes.clone()];
            classes.iter().map(|class| (class.ring, class.trees_of(&part.rows).len()))
        });
        Cost::message(Role::Client, layout::message_len(&trees.collect::<Vec<_>>(), columns))
    });
    let all: Cost = messages.sum();
    Cost { rounds: all.rounds.min(1), ..all }
}

/// The state of one run: keys, and accumulators `[column block][channel][lane]`.
struct Run<'a, W> {
    layer: &'a Layer,
    columns: usize,
    keys: &'a Keys,
    accumulators: Vec<W>,
}

impl<'a, W: Word> Run<'a, W> {
    fn new(layer: &'a Layer, images: usize, keys: &'a Keys) -> Self {
        let columns = images * layer.geometry.positions();
        let width = column_blocks::<W>(columns) * W::LANES;
        let accumulators = vec![W::zero(); width * layer.geometry.out_channels];
        Self { layer, columns, keys, accumulators }
    }

    /// What travels together.
    fn chunks(&self, planted: &Planted) -> Vec<Vec<Part>> {
        layout::chunks(planted.classes.iter().map(|(class, _)| class), self.columns)
    }

    /// The party's share, `[channel][column]`, shifted.
    fn finish(self) -> Vec<u64> {
        let channels = self.layer.geometry.out_channels;
        let at = |channel: usize, column: usize| {
            let (block, lane) = (column / W::LANES, column % W::LANES);
            self.accumulators[(block * channels + channel) * W::LANES + lane].into()
        };
        (0..channels)
            .flat_map(|channel| (0..self.columns).map(move |column| (channel, column)))
            // Accumulators are right modulo `2^(l - e)`, which the shift by e makes right modulo
            // `2^l`. What is above is not reduced here.
            .map(|(channel, column)| at(channel, column) << self.layer.shift(channel))
            .collect()
    }
}

async fn client<W: Word>(
    session: &mut Session,
    products: &Products<'_>,
    layer: &Layer,
    keys: &Keys,
    x: &[u64],
) -> Result<Vec<u64>, Error> {
    let x: Vec<W> = x.iter().map(|&v| W::truncate(v)).collect();
    let mut run = Run::new(layer, products.images, keys);
    for (number, parts) in run.chunks(products.planted).iter().enumerate() {
        let chunk = Chunk::new(products.planted, (number, parts), run.keys, run.columns);
        // Chunk by chunk, so that the server works on one while this party computes the next.
        // Nothing the server says is waited for.
        let matrix = chunk.matrix(&layer.geometry, products.images, &x);
        let message = chunk.send(&matrix, &mut run.accumulators);
        session.channel.send(&message)?;
        session.channel.drained().await?;
    }
    Ok(run.finish())
}

async fn server<W: Word>(
    session: &mut Session,
    products: &Products<'_>,
    layer: &Layer,
    keys: &Keys,
) -> Result<Vec<u64>, Error> {
    let mut run = Run::<W>::new(layer, products.images, keys);
    for (number, parts) in run.chunks(products.planted).iter().enumerate() {
        let chunk = Chunk::new(products.planted, (number, parts), run.keys, run.columns);
        // Every correction is masked by the hidden leaf's expansion. Behind it, the accumulators
        // hold the server's share of the products with all rows so far.
        let message = session.channel.receive(chunk.message_len()).await?;
        chunk.receive(&message, &mut run.accumulators);
    }
    Ok(run.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::Bits;
    use crate::linear::Protocol;
    use crate::linear::testing::{any_geometry, any_three_by_three};
    use crate::testing::{extremes, two_parties};

    fn weights(layer: &Layer, rng: &mut ChaCha20Rng) -> Vec<i8> {
        let bits = Bits::of(layer.weight_bits);
        let values = extremes(bits, layer.weights(), rng);
        values.into_iter().map(|v| bits.decode(v) as i8).collect()
    }

    fn check(layer: &Layer, images: usize, seed: u64) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let weights = weights(layer, &mut rng);
        let [c, h, w] = layer.geometry.in_shape();
        let ring = Bits::of(rng.random_range(layer.ring.get()..=64));
        let inputs: Vec<Vec<u64>> =
            (0..2).map(|_| extremes(ring, c * images * h * w, &mut rng)).collect();
        let each = products_cost(layer, images);
        let cots = (layer.setup_cost().client_cots + 2 * each.server_cots) as usize;
        let (server, client) = two_parties(
            seed,
            cots,
            async |session| {
                let weights = Some(&weights[..]);
                let planted = Planted::plant(session, layer, weights).await?;
                let products = Products { layer, images, planted: &planted, weights };
                Ok([
                    session.run(&products, ClientHeld(None)).await?,
                    session.run(&products, ClientHeld(None)).await?,
                ])
            },
            async |session| {
                let planted = Planted::plant(session, layer, None).await?;
                let products = Products { layer, images, planted: &planted, weights: None };
                let held = |x: &Vec<u64>| ClientHeld(Some(Share::new(ring, x.clone())));
                Ok([
                    session.run(&products, held(&inputs[0])).await?,
                    session.run(&products, held(&inputs[1])).await?,
                ])
            },
        );
        for ((server, client), x) in server.iter().zip(&client).zip(&inputs) {
            let found = Share::reveal(server, client);
            let expected = Clear { ring: layer.ring, values: multiply(layer, &weights, images, x) };
            assert_eq!(found, expected, "seed {seed}");
        }
    }

    fn any_convolution() -> impl Strategy<Value = (Geometry, Algorithm)> {
        let winograd = prop::sample::select(vec![Algorithm::WinogradExact, Algorithm::Winograd]);
        prop_oneof![
            any_geometry().prop_map(|geometry| (geometry, Algorithm::Direct)),
            (any_three_by_three(), winograd),
        ]
    }

    fn any_protocol() -> impl Strategy<Value = Protocol> {
        prop::sample::select(Protocol::all().chain([Protocol::Vole { k: 1 }]).collect::<Vec<_>>())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn products_are_the_plaintext_ones_in_every_inference(
            (geometry, algorithm) in any_convolution(),
            images in 1usize..3,
            weight_bits in 2u32..=8,
            protocol in any_protocol(),
            spare in 0u32..=48,
            shifted in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let (weight_bits, shifts) = match algorithm {
                Algorithm::Direct => (weight_bits, geometry.out_channels),
                Algorithm::WinogradExact => (weight_bits.min(4), geometry.out_channels),
                Algorithm::Winograd => (weight_bits, winograd::POSITIONS * geometry.out_channels),
            };
            let shifts: Vec<u8> = (0..shifts).map(|_| rng.random_range(0..3)).collect();
            let layer = Layer {
                geometry,
                weight_bits,
                shifts: if shifted { shifts } else { Vec::new() },
                ring: Bits::of((weight_bits + 4 + spare).min(62)),
                algorithm,
                protocol,
            };
            prop_assert!(layer.check().is_ok());
            check(&layer, images, seed);
        }
    }

    #[test]
    fn the_price_is_that_of_the_specification() {
        let layer = |weight_bits, protocol| Layer {
            geometry: Geometry::dense(64, 64),
            weight_bits,
            shifts: Vec::new(),
            ring: Bits::of(14),
            algorithm: Algorithm::Direct,
            protocol,
        };
        let bits_per_mac = |layer: &Layer| {
            let columns = 1024;
            let payload: usize =
                layer.classes().iter().map(|c| c.ring.packed_len(c.trees() * columns) * 8).sum();
            payload as f64 / (layer.geometry.macs() as usize * columns) as f64
        };
        assert_eq!(bits_per_mac(&layer(4, Protocol::Cot)), 50.0);
        assert_eq!(bits_per_mac(&layer(4, Protocol::Vole { k: 4 })), 12.5);
        assert_eq!(bits_per_mac(&layer(4, Protocol::Vole { k: 8 })), 6.25);
        assert_eq!(bits_per_mac(&layer(2, Protocol::Cot)), 27.0);
        assert_eq!(bits_per_mac(&layer(2, Protocol::Vole { k: 4 })), 6.75);
        assert_eq!(bits_per_mac(&layer(2, Protocol::Vole { k: 8 })), 3.375);
    }

    use crate::linear::Geometry;
}
