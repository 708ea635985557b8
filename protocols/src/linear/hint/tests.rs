use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::*;
use crate::linear::products::tests::check;
use crate::linear::testing::{any_geometry, any_three_by_three};
use crate::linear::{Algorithm, Geometry, Products, Protocol, multiply};
use crate::testing::two_parties;
use crate::{Clear, Error, Share, Shared};

/// A layer with a hint that bears any weights.
fn layer(geometry: Geometry, algorithm: Algorithm, weight_bits: u32, ring: u32) -> Layer {
    let protocol = Protocol::Cot;
    let ring = Bits::of(ring);
    Layer { geometry, weight_bits, shifts: Vec::new(), ring, algorithm, protocol, number: 3 }
}

/// The hint for the largest weights that there are.
fn hint(layer: &Layer, outputs: u16) -> Hint {
    let products = layer.products();
    let bits = products.weight_bits;
    let squares = products.geometry.fan_in() as f64 * 4f64.powi(bits as i32 - 1);
    Hint::for_weights(layer, outputs, squares).expect("a ring that is narrow enough")
}

#[test]
fn the_rounding_is_exact_wherever_the_noise_is_within_a_quarter() {
    let (noise, ring) = (5, 3);
    let (d, modulus) = (1i64 << noise, 1i64 << (noise + ring));
    let mut cases = 0;
    for product in 0..1 << ring {
        for error in 1 - d / 4..d / 4 {
            for u in 0..modulus {
                let v = (d * product + error + d / 4 - u).rem_euclid(modulus);
                let both = i64::from(u % d < d / 2 && v % d < d / 2);
                let found = (u / d + v / d + 1 - both).rem_euclid(1 << ring);
                assert_eq!(found, product, "{product} {error} {u}");
                cases += 1;
            }
        }
    }
    println!("{cases} cases");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn products_by_hints_are_the_plaintext_ones(
        (geometry, algorithm) in prop_oneof![
            any_geometry().prop_map(|geometry| (geometry, Algorithm::Direct)),
            (any_three_by_three(), Just(Algorithm::WinogradExact)),
        ],
        images in 1usize..3,
        weight_bits in 2u32..=8,
        ring in 4u32..=20,
        share in any::<prop::sample::Index>(),
        shifted in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let exact = algorithm == Algorithm::WinogradExact;
        let weight_bits = if exact { weight_bits.min(4) } else { weight_bits };
        let mut layer = layer(geometry, algorithm, weight_bits, ring + weight_bits + 2);
        if shifted {
            layer.shifts = (0..geometry.out_channels).map(|_| rng.random_range(0..3)).collect();
        }
        let outputs = layer.products().geometry.out_channels / layer.products().geometry.groups;
        let hint = hint(&layer, 1 + share.index(outputs) as u16);
        layer.protocol = Protocol::Hint(hint);
        prop_assert_eq!(layer.check(), Ok(()));
        check(&layer, images, seed);
    }

    #[test]
    fn masks_out_of_ciphertexts_are_multiplied(
        geometry in any_geometry(),
        images in 1usize..3,
        ring in 8u32..=20,
        wider in 0u32..8,
        share in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let mut layer = layer(geometry, Algorithm::Direct, 4, ring);
        let outputs = geometry.out_channels / geometry.groups;
        let hint = hint(&layer, 1 + share.index(outputs) as u16).drawing(true);
        layer.protocol = Protocol::Hint(hint);
        prop_assert_eq!(layer.check(), Ok(()));
        drawn(&layer, images, Bits::of(ring + wider), seed);
    }

    #[test]
    fn with_a_carry_shares_are_of_twice_the_products_and_one_at_the_most(
        geometry in any_geometry(),
        images in 1usize..3,
        ring in 8u32..=20,
        share in any::<prop::sample::Index>(),
        shifted in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut layer = layer(geometry, Algorithm::Direct, 4, ring);
        if shifted {
            layer.shifts = (0..geometry.out_channels).map(|_| rng.random_range(0..3)).collect();
        }
        let outputs = geometry.out_channels / geometry.groups;
        let hint = hint(&layer, 1 + share.index(outputs) as u16).drawing(true).carrying(true);
        layer.protocol = Protocol::Hint(hint);
        prop_assert_eq!(layer.check(), Ok(()));
        drawn(&layer, images, Bits::of(ring), seed);
    }

    #[test]
    fn every_output_is_a_coefficient_of_one_product(
        geometry in any_geometry(), share in any::<prop::sample::Index>(), seed in any::<u64>()) {
        let outputs = geometry.out_channels / geometry.groups;
        let layout = Layout::new(&geometry, 1 + share.index(outputs)).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let [c, h, w] = geometry.in_shape();
        let x: Vec<i64> = (0..c * h * w).map(|_| rng.random_range(-9..=9)).collect();
        let weights: Vec<i64> = (0..geometry.weights()).map(|_| rng.random_range(-8..=7)).collect();
        let mut found = vec![i64::MIN; geometry.out_shape().iter().product()];
        for tile in layout.tiles() {
            for group in 0..geometry.groups {
                for bundle in 0..layout.bundles() {
                    outputs_of(&layout, &tile, (group, bundle), (&x, &weights), &mut found);
                }
            }
        }
        prop_assert_eq!(found, convolution(&geometry, &x, &weights));
    }
}

/// Both parties draw a mask, and have shares of its products: of twice these and the carry, where
/// there is one.
fn drawn(layer: &Layer, images: usize, wire: Bits, seed: u64) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let most = 1i8 << (layer.weight_bits - 1);
    let weights: Vec<i8> = (0..layer.weights()).map(|_| rng.random_range(-most..most)).collect();
    let cots = layer.cost(images).offline.server_cots as usize;
    let (server, client) = two_parties(
        seed,
        cots,
        async |session| {
            let state = &layer.prepare(session, Some(&weights)).await?;
            let secrets = &layer.secrets().unwrap().make(session, images).await?;
            let (weights, secrets) = (Some(&weights[..]), Some(secrets));
            let products = Products { layer, images, state, weights, secrets };
            products.draw(session, wire).await
        },
        async |session| {
            let state = &layer.prepare(session, None).await?;
            products_drawn(session, layer, images, state, wire).await
        },
    );
    let mask = client.1.unwrap();
    assert_eq!((mask.ring(), server.1.is_none()), (wire, true));
    let expected = multiply(layer, &weights, images, mask.values());
    let found = Share::reveal(&server.0, &client.0);
    if layer.share_ring() == layer.ring {
        assert_eq!(found, Clear { ring: layer.ring, values: expected }, "seed {seed}");
        return;
    }
    let columns = images * layer.geometry.positions();
    for (at, (found, expected)) in found.values.iter().zip(&expected).enumerate() {
        let carry = layer.share_ring().reduce(found.wrapping_sub(expected << 1));
        let one = 1 << layer.shift(at / columns);
        assert!(carry == 0 || carry == one, "output {at}: {found} of {expected}, seed {seed}");
    }
}

async fn products_drawn(
    session: &mut Session,
    layer: &Layer,
    images: usize,
    state: &State,
    wire: Bits,
) -> Result<(Share, Option<Share>), Error> {
    let secrets = &layer.secrets().unwrap().make(session, images).await?;
    let products = Products { layer, images, state, weights: None, secrets: Some(secrets) };
    products.draw(session, wire).await
}

/// The outputs of one polynomial for one tile, by the definition of a product.
fn outputs_of(
    layout: &Layout,
    tile: &layout::Tile,
    (group, bundle): (usize, usize),
    (x, weights): (&[i64], &[i64]),
    found: &mut [i64],
) {
    let g = &layout.geometry;
    let start = bundle * layout.outputs;
    let range = start..layout.group_outputs().min(start + layout.outputs);
    let mut product = vec![0i64; DEGREE];
    for chunk in layout.chunks() {
        let mut polynomial = vec![0i64; DEGREE];
        for (at, element) in layout.places(tile, group, chunk) {
            polynomial[at] = element.map_or(0, |element| x[element]);
        }
        for output in range.clone() {
            let channel = group * layout.group_outputs() + output;
            for tap in layout.kernel(chunk) {
                let weight = weights[channel * g.fan_in() + tap.weight];
                let exponent = layout.moved(output) as isize - tap.offset as isize;
                for (at, value) in polynomial.iter().enumerate() {
                    let to = at as isize + exponent;
                    let turns = to.div_euclid(DEGREE as isize);
                    let sign = if turns.rem_euclid(2) == 0 { 1 } else { -1 };
                    product[to.rem_euclid(DEGREE as isize) as usize] += sign * weight * value;
                }
            }
        }
    }
    for output in range {
        let channel = group * layout.group_outputs() + output;
        for row in 0..tile.rows {
            for column in 0..tile.columns {
                let at = (channel * g.out_h() + tile.row + row) * g.out_w() + tile.column + column;
                found[at] = product[layout.moved(output) + layout.exponent(row, column)];
            }
        }
    }
}

fn convolution(g: &Geometry, x: &[i64], weights: &[i64]) -> Vec<i64> {
    let mut out = Vec::new();
    let (inputs, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
    let line = |at: usize, tap: usize, dilation: usize, pad: usize, len: usize| {
        (at + tap * dilation).checked_sub(pad).filter(|&line| line < len)
    };
    for channel in 0..g.out_channels {
        for row in 0..g.out_h() {
            for column in 0..g.out_w() {
                let mut sum = 0;
                for input in 0..inputs {
                    for i in 0..g.kernel_h {
                        for j in 0..g.kernel_w {
                            let y = line(row * g.stride_h, i, g.dilation_h, g.pad_top, g.in_h);
                            let z = line(column * g.stride_w, j, g.dilation_w, g.pad_left, g.in_w);
                            let (Some(y), Some(z)) = (y, z) else { continue };
                            let from = (channel / outputs * inputs + input) * g.in_h + y;
                            let weight =
                                ((channel * inputs + input) * g.kernel_h + i) * g.kernel_w + j;
                            sum += weights[weight] * x[from * g.in_w + z];
                        }
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

/// A convolution of 3x3 with padding.
fn three_by_three(channels: [usize; 2], side: usize, stride: usize) -> Geometry {
    let same = Geometry::same_size(channels, [side; 2], 3);
    Geometry { stride_h: stride, stride_w: stride, ..same }
}

#[test]
fn prices_of_real_layers_are_near_those_of_the_design() {
    // Bytes up, with every coefficient whole, and the hint's: of the design's model.
    for (name, geometry, ring, squares) in [
        ("stem 3->16, 32x32", three_by_three([3, 16], 32, 1), 14, 4000.0),
        ("16->16, 32x32", three_by_three([16, 16], 32, 1), 14, 4000.0),
        ("16->32, stride 2", three_by_three([16, 32], 32, 2), 14, 4000.0),
        ("32->32, 16x16", three_by_three([32, 32], 16, 1), 15, 4000.0),
        ("64->64, 8x8", three_by_three([64, 64], 8, 1), 17, 9000.0),
        ("64->64, 32x32", three_by_three([64, 64], 32, 1), 14, 4000.0),
        ("fc 64->10", Geometry::dense(64, 10), 13, 1000.0),
    ] {
        let mut layer = layer(geometry, Algorithm::Direct, 4, ring);
        let hint = Hint::for_weights(&layer, 1, squares).unwrap();
        layer.protocol = Protocol::Hint(hint);
        let (layout, cost) = (hint.layout(&layer), layer.cost(1));
        let counts = layout.counts().into_iter();
        let [first, other] = counts.fold([0; 2], |[a, b], [c, d]| [a + c, b + d]);
        println!(
            "{name}: {hint:?}, {} tiles, block {}, {} blocks; {first} first, {other} others; up {} \
             (of {} with masks out of it), down {}, hint {}",
            layout.tiles().len(),
            layout.block,
            layout.blocks,
            cost.offline.client_bytes,
            (first * usize::from(hint.noise)
                + other * (ring as usize + usize::from(hint.noise))
                + geometry.out_shape().iter().product::<usize>())
                / 8,
            cost.offline.server_bytes,
            cost.setup.server_bytes
        );
        assert_eq!(layer.check(), Ok(()));
    }
}
