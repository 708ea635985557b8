use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::*;
use crate::linear::testing::{any_geometry, any_three_by_three};
use crate::linear::{Geometry, Protocol};
use crate::testing::{extremes, two_parties};
use crate::{Bits, Phases};

fn weights(layer: &Layer, rng: &mut ChaCha20Rng) -> Vec<i8> {
    let bits = Bits::of(layer.weight_bits);
    let values = extremes(bits, layer.weights(), rng);
    values.into_iter().map(|v| bits.decode(v) as i8).collect()
}

/// The law, twice: two inferences with what was prepared once.
pub(in crate::linear) fn check(layer: &Layer, images: usize, seed: u64) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let weights = weights(layer, &mut rng);
    let [c, h, w] = layer.geometry.in_shape();
    let ring = Bits::of(rng.random_range(layer.ring.get()..=64));
    let inputs: Vec<Vec<u64>> =
        (0..2).map(|_| extremes(ring, c * images * h * w, &mut rng)).collect();
    let Phases { setup, offline, .. } = layer.cost(images);
    let cots = (setup.client_cots + 2 * offline.server_cots) as usize;
    let (server, client) = two_parties(
        seed,
        cots,
        async |session| {
            let weights = Some(&weights[..]);
            let state = &layer.prepare(session, weights).await?;
            let mut found = Vec::new();
            for _ in &inputs {
                let secrets = &secrets(session, layer, images).await?;
                let secrets = secrets.as_ref();
                let products = Products { layer, images, state, weights, secrets };
                found.push(session.run(&products, ClientHeld(None)).await?);
            }
            Ok(found)
        },
        async |session| {
            let state = &layer.prepare(session, None).await?;
            let mut found = Vec::new();
            for x in &inputs {
                let secrets = &secrets(session, layer, images).await?;
                let secrets = secrets.as_ref();
                let products = Products { layer, images, state, weights: None, secrets };
                let held = ClientHeld(Some(Share::new(ring, x.clone())));
                found.push(session.run(&products, held).await?);
            }
            Ok(found)
        },
    );
    for ((server, client), x) in server.iter().zip(&client).zip(&inputs) {
        let found = Share::reveal(server, client);
        let expected = Clear { ring: layer.ring, values: multiply(layer, &weights, images, x) };
        assert_eq!(found, expected, "seed {seed}");
    }
}

/// The secrets of one inference, where the layer needs any.
pub(in crate::linear) async fn secrets(
    session: &mut Session,
    layer: &Layer,
    images: usize,
) -> Result<Option<Secrets>, Error> {
    match layer.secrets() {
        Some(needed) => Ok(Some(needed.make(session, images).await?)),
        None => Ok(None),
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
            number: 0,
        };
        prop_assert!(layer.check().is_ok());
        check(&layer, images, seed);
    }
}
