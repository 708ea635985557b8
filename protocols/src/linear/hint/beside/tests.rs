use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::*;
use crate::linear::testing::any_geometry;
use crate::linear::{ClientHeld, Products, Protocol, multiply};
use crate::testing::two_parties;
use crate::{Bits, Clear, Error, Session, Share, Shared};

/// One axis of a layer, `[kernel, dilation, stride, pad before]`, that takes some taps and some
/// outputs of another one's: from tap `from` on every `step`th, and every `every`th output.
fn axis([kernel, dilation, stride, pad]: [usize; 4], picks: [usize; 4]) -> Option<[usize; 4]> {
    let [from, step, taps, every] = picks;
    let from = from % kernel;
    let most = (kernel - 1 - from) / step + 1;
    let pad = pad.checked_sub(from * dilation)?;
    Some([1 + taps % most, step * dilation, every * stride, pad])
}

/// A host, and a layer that can be beside it.
fn any_pair() -> impl Strategy<Value = (Geometry, Geometry)> {
    let picks = || [0usize..3, 1..3, 0..3, 1..4];
    (any_geometry(), picks(), picks(), (0usize..3, 0usize..3), 1usize..4).prop_filter_map(
        "taps and outputs of the host",
        |(host, rows, columns, after, outputs)| {
            let Geometry { kernel_h, kernel_w, stride_h, stride_w, .. } = host;
            let Geometry { dilation_h, dilation_w, pad_top, pad_left, .. } = host;
            let rows = axis([kernel_h, dilation_h, stride_h, pad_top], rows)?;
            let columns = axis([kernel_w, dilation_w, stride_w, pad_left], columns)?;
            let own = Geometry {
                out_channels: outputs * host.groups,
                kernel_h: rows[0],
                dilation_h: rows[1],
                stride_h: rows[2],
                pad_top: rows[3],
                kernel_w: columns[0],
                dilation_w: columns[1],
                stride_w: columns[2],
                pad_left: columns[3],
                pad_bottom: after.0,
                pad_right: after.1,
                ..host
            };
            own.check().ok()?;
            Layout::read_by(&host, &own, 1)?;
            Some((host, own))
        },
    )
}

/// Layers of one wire, the first of which the others are beside.
fn layers(geometries: &[Geometry], rings: &[u32], outputs: u16, carries: &[bool]) -> Vec<Layer> {
    let layers = geometries.iter().zip(rings).enumerate().map(|(at, (&geometry, &ring))| {
        let (shifts, ring, protocol) = (Vec::new(), Bits::of(ring), Protocol::Cot);
        let algorithm = Algorithm::Direct;
        Layer { geometry, weight_bits: 4, shifts, ring, algorithm, protocol, number: 5 + at }
    });
    let mut layers: Vec<Layer> = layers.collect();
    let squares = |layer: &Layer| layer.geometry.fan_in() as f64 * 64.0;
    let needed = layers.iter().map(|layer| Hint::for_weights(layer, outputs, squares(layer)));
    let noise = needed.map(|hint| hint.expect("a narrow ring").noise).max().unwrap();
    let host = Beside { host: layers[0].number, geometry: layers[0].geometry };
    for (at, (layer, &carry)) in layers.iter_mut().zip(carries).enumerate() {
        let hint = Hint::with_noise(layer, (outputs, noise), squares(layer)).unwrap();
        let beside = (at > 0).then_some(host);
        let hint = Hint { beside, carry, draws: at == 0, ..hint };
        layer.protocol = Protocol::Hint(hint);
    }
    layers
}

/// One party's shares of the products of all layers, with its mask.
async fn run(
    session: &mut Session,
    layers: &[Layer],
    weights: &[Option<Vec<i8>>],
    (images, wire): (usize, Bits),
) -> Result<(Vec<Share>, Option<Share>), Error> {
    let mut states = Vec::new();
    for (layer, weights) in layers.iter().zip(weights) {
        states.push(layer.prepare(session, weights.as_deref()).await?);
    }
    let needed = layers.iter().filter_map(Layer::secrets).reduce(|a, b| a.and(b)).unwrap();
    let readers = BTreeMap::from([(layers[0].number, layers.len() - 1)]);
    let secrets = needed.make(session, images).await?.with_readers(readers);
    let (mut shares, mut mask) = (Vec::new(), None);
    for ((layer, state), weights) in layers.iter().zip(&states).zip(weights) {
        let (weights, secrets) = (weights.as_deref(), Some(&secrets));
        let products = Products { layer, images, state, weights, secrets };
        if layer.draws() {
            let (share, drawn) = products.draw(session, wire).await?;
            shares.push(share);
            mask = drawn;
        } else {
            shares.push(session.run(&products, ClientHeld(mask.clone())).await?);
        }
    }
    assert!(secrets.keeps_nothing(), "behind the last reader encryptions are gone");
    Ok((shares, mask))
}

/// All layers' products are the plaintext ones, or twice them and a carry.
fn check(layers: &[Layer], images: usize, wire: Bits, seed: u64) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut draw = |layer: &Layer| -> Vec<i8> {
        (0..layer.weights()).map(|_| rng.random_range(-8..8)).collect()
    };
    let weights: Vec<Option<Vec<i8>>> = layers.iter().map(|layer| Some(draw(layer))).collect();
    let cots = layers.iter().map(|layer| layer.cost(images).offline.server_cots).sum::<u64>();
    let none = vec![None; layers.len()];
    let (server, client) = two_parties(
        seed,
        cots as usize,
        async |session| run(session, layers, &weights, (images, wire)).await,
        async |session| run(session, layers, &none, (images, wire)).await,
    );
    let mask = client.1.unwrap();
    for (at, layer) in layers.iter().enumerate() {
        let expected = multiply(layer, weights[at].as_ref().unwrap(), images, mask.values());
        let found = Share::reveal(&server.0[at], &client.0[at]);
        if !layer.protocol.carries() {
            assert_eq!(found, Clear { ring: layer.ring, values: expected }, "{at}, seed {seed}");
            continue;
        }
        for (found, expected) in found.values.iter().zip(&expected) {
            let carry = layer.share_ring().reduce(found.wrapping_sub(expected << 1));
            assert!(carry <= 1, "layer {at}: {found} of {expected}, seed {seed}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn one_encryption_serves_a_host_and_the_layers_beside_it(
        (host, own) in any_pair(),
        images in 1usize..3,
        rings in (8u32..=24, 0u32..=12),
        share in any::<prop::sample::Index>(),
        carries in any::<[bool; 3]>(),
        seed in any::<u64>(),
    ) {
        let [a, b] = [host, own].map(|geometry| geometry.out_channels / geometry.groups);
        let outputs = 1 + share.index(a.min(b)) as u16;
        let (ring, less) = rings;
        let rings = [ring, ring.saturating_sub(less).max(6), ring];
        let layers = layers(&[host, own, host], &rings, outputs, &carries);
        for layer in &layers {
            prop_assert_eq!(layer.check(), Ok(()));
        }
        for layer in &layers[1..] {
            let alone = Hint { beside: None, ..*layer.protocol.hint().unwrap() };
            let alone = Layer { protocol: Protocol::Hint(alone), ..layer.clone() };
            let moved = |layer: &Layer| layer.cost(images).offline.client_bytes;
            prop_assert!(moved(layer) < moved(&alone));
            prop_assert_eq!(layer.setup_cost(), alone.setup_cost());
        }
        check(&layers, images, Bits::of(ring + 3), seed);
    }
}

/// A convolution of 8 channels on 8x8.
fn same(kernel: usize) -> Geometry {
    Geometry::same_size([8, 4], [8; 2], kernel)
}

#[test]
fn a_layer_needs_taps_and_outputs_of_its_host() {
    let halved = |geometry| Geometry { stride_h: 2, stride_w: 2, ..geometry };
    let unpadded = Geometry { pad_top: 0, pad_bottom: 0, pad_left: 0, pad_right: 0, ..same(3) };
    for (host, own, fits) in [
        (same(3), same(1), true),
        (same(1), same(1), true),
        (same(5), same(3), true),
        (halved(same(3)), halved(same(1)), true),
        (same(1), halved(same(1)), true),
        (same(1), same(3), false),
        (halved(same(1)), same(1), false),
        // Its outputs at the edges are none of the host's.
        (unpadded, same(1), false),
        (same(3), Geometry { dilation_h: 2, dilation_w: 2, ..same(3) }, false),
        (same(3), Geometry::same_size([4, 4], [8; 2], 1), false),
        (same(3), Geometry { groups: 2, ..same(1) }, false),
    ] {
        let layers = layers(&[host, own], &[16, 16], 1, &[false, false]);
        assert_eq!(layers[1].check().is_ok(), fits, "{host:?} {own:?}: {:?}", layers[1].check());
    }
    let mut layers = layers(&[same(3), same(1)], &[16, 16], 1, &[false, false]);
    let mut hint = *layers[1].protocol.hint().unwrap();
    hint.draws = true;
    layers[1].protocol = Protocol::Hint(hint);
    assert!(layers[1].check().unwrap_err().contains("whose mask that draws"));
}

#[test]
fn images_of_several_tiles_are_read_tile_by_tile() {
    let image = |channels, size, kernel| Geometry::same_size(channels, size, kernel);
    let by = |geometry, stride| Geometry { stride_h: stride, stride_w: stride, ..geometry };
    let cut = Geometry { pad_bottom: 0, pad_right: 0, ..by(image([2, 2], [75, 53], 3), 2) };
    for (seed, (host, own)) in [
        (image([2, 3], [75, 53], 1), by(image([2, 3], [75, 53], 1), 2)),
        (image([2, 3], [75, 53], 1), by(image([2, 3], [75, 53], 1), 3)),
        (by(image([2, 3], [131, 90], 3), 2), by(image([2, 3], [131, 90], 1), 2)),
        (image([2, 3], [75, 53], 3), by(image([2, 3], [75, 53], 3), 2)),
        (image([2, 3], [75, 53], 3), cut),
    ]
    .into_iter()
    .enumerate()
    {
        for outputs in [1, 2] {
            let layers = layers(&[host, own], &[16, 14], outputs, &[true, false]);
            let hint = layers[1].protocol.hint().unwrap();
            assert_eq!(layers[1].check(), Ok(()));
            assert!(hint.layout(&layers[1]).tile_count() > 1, "{host:?}");
            check(&layers, 2, Bits::of(20), seed as u64);
        }
    }
}
