//! The noise of products by hints, held against what is claimed of it.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::file::Packed;
use super::*;
use crate::linear::products::tests::secrets;
use crate::linear::protocol::Value;
use crate::linear::{Algorithm, Geometry, Protocol, multiply};
use crate::testing::two_parties;

/// 16 to 16 channels, 3x3, on 32x32: 16,384 outputs an image.
const CHANNELS: usize = 16;

fn layer(noise: Option<u8>) -> (Layer, Hint) {
    let geometry = Geometry::same_size([CHANNELS; 2], [32; 2], 3);
    let (shifts, ring, protocol) = (Vec::new(), Bits::of(16), Protocol::Cot);
    let algorithm = Algorithm::Direct;
    let mut layer =
        Layer { geometry, weight_bits: 4, shifts, ring, algorithm, protocol, number: 1 };
    // Weights within [-8, 7] have a square of 22 on the average.
    let squares = 40.0 * geometry.fan_in() as f64;
    let planned = Hint::for_weights(&layer, 1, squares).expect("a narrow ring");
    let hint = Hint { noise: noise.unwrap_or(planned.noise), ..planned }.drawing(true);
    layer.protocol = Protocol::Hint(hint);
    (layer, hint)
}

/// The noise of every output over its deviation bound, as many as there are in some images, and
/// how often the shares would be rounded to something wrong.
struct Measured {
    /// `nu / tau` of every output.
    noise: Vec<f64>,
    /// `D / 4` over the mean `tau`.
    limit: f64,
    wrong: usize,
}

/// Both parties' shares before they are rounded, and what they should be of.
fn measure(noise: Option<u8>, images: usize, seed: u64) -> Measured {
    let (layer, hint) = layer(noise);
    let (layout, mut rng) = (hint.layout(&layer), ChaCha20Rng::seed_from_u64(seed));
    let weights: Vec<i8> = (0..layer.weights()).map(|_| rng.random_range(-8..8)).collect();
    let made = make::unchecked(&hint, &layer, &layout, &weights, &rng.random());
    let deviations: Vec<f64> = made.iter().map(|made| made.deviation).collect();
    let bytes = Arc::new(made.iter().flat_map(|made| made.packed.clone()).collect::<Vec<u8>>());
    let packed = Packed { bytes, start: 0, ring: hint.cut_coefficients(&layer) };
    let client = ClientState::new(&hint, &layer, &layout, packed);
    let server =
        State::new(ServerState { secrets: made.into_iter().map(|made| made.secret).collect() });
    let [channels, rows, columns] = layer.geometry.in_shape();
    let mut mask: Vec<u64> =
        (0..channels * rows * columns * images).map(|_| rng.random()).collect();
    let (v, u) = two_parties(
        seed,
        0,
        async |session| {
            let own = secrets(session, &layer, images).await?;
            let own = own.as_ref();
            let weights = Some(&weights[..]);
            let run =
                Run { layer: &layer, images, state: &server, weights, secrets: own, value: None };
            server::run(&hint, session, (&layout, own.expect("a hint's layer")), &run).await
        },
        async |session| {
            let own = secrets(session, &layer, images).await?.expect("a hint's layer");
            let value = Value::Drawn(&mut mask);
            client::run(&hint, session, &layout, (&layer, images, &client), (&own, value)).await
        },
    );
    let products = multiply(&layer, &weights, images, &mask);
    let modulus = hint.modulus_of(&layer);
    let (d, positions) = (1u64 << hint.noise, images * layer.geometry.positions());
    let mut measured = Measured { noise: Vec::new(), limit: 0.0, wrong: 0 };
    for (at, ((u, v), product)) in u.iter().zip(&v).zip(&products).enumerate() {
        let sum = u.wrapping_add(*v).wrapping_sub(product << hint.noise).wrapping_sub(d / 4);
        measured
            .noise
            .push(modulus.center(modulus.reduce(sum)) as f64 / deviations[at / positions]);
        let both = u64::from(u % d < d / 2 && v % d < d / 2);
        let rounded = (u >> hint.noise) + (v >> hint.noise) + 1 - both;
        measured.wrong += usize::from(layer.ring.reduce(rounded) != *product);
    }
    measured.limit = d as f64 / 4.0 / (deviations.iter().sum::<f64>() / deviations.len() as f64);
    measured
}

#[test]
fn the_noise_is_what_its_bound_says() {
    let Measured { noise, limit, wrong } = measure(None, 4, 7);
    let squares: f64 = noise.iter().map(|x| x * x).sum();
    let rms = (squares / noise.len() as f64).sqrt();
    let most = noise.iter().fold(0f64, |most, x| most.max(x.abs()));
    println!("{} outputs: {rms:.3} of tau, at most {most:.2}, limit {limit:.2}", noise.len());
    assert!((rms - 1.0).abs() < 0.03, "{rms}");
    assert!(most < limit && wrong == 0, "{most} {wrong}");
}

#[test]
fn too_little_room_for_the_noise_fails_as_often_as_predicted() {
    let (_, planned) = layer(None);
    let mut tried = 0;
    for less in 1..=3 {
        let Measured { noise, limit, wrong } = measure(Some(planned.noise - less), 4, 11);
        let count = noise.len() as f64;
        let beyond = noise.iter().filter(|x| x.abs() >= limit).count() as f64;
        let normal = count * tail(limit);
        let bound = count * 2.0 * (-limit * limit / 2.0).exp();
        println!(
            "limit {limit:.2} tau: {beyond} of {count} beyond it, {normal:.1} if normal, at \
                  most {bound:.1}; {wrong} wrong"
        );
        if normal < 100.0 {
            continue;
        }
        tried += 1;
        assert!((beyond / normal - 1.0).abs() < 0.25, "{beyond} {normal}");
        assert!(beyond <= bound && wrong > 0 && wrong as f64 <= beyond, "{wrong} {bound}");
    }
    assert!(tried > 0, "no failures to count");
}

/// The probability that a normal variable is as many deviations away from its mean, by a continued
/// fraction.
fn tail(x: f64) -> f64 {
    let fraction = (1..=60).rev().fold(x, |below, n| x + f64::from(n) / below);
    2.0 * (-x * x / 2.0).exp() / (fraction * (2.0 * std::f64::consts::PI).sqrt())
}

#[test]
fn ten_million_products_are_right() {
    // Checked arithmetic takes its time.
    let images = if cfg!(debug_assertions) { 8 } else { 640 };
    let mut outputs = 0;
    for (seed, images) in (0..).zip([16; 40].into_iter().take(images / 16 + 1)) {
        let Measured { noise, wrong, .. } = measure(None, images, seed);
        outputs += noise.len();
        assert_eq!(wrong, 0, "seed {seed}");
    }
    println!("{outputs} outputs");
}

#[test]
fn what_is_sent_does_not_depend_on_the_weights() {
    let (layer, hint) = layer(None);
    let layout = hint.layout(&layer);
    let lengths = [0i8, -8, 7].map(|weight| {
        let weights = vec![weight; layer.weights()];
        let made = make::unchecked(&hint, &layer, &layout, &weights, &[5; 32]);
        made.iter().map(|made| made.packed.len()).sum::<usize>()
    });
    let expected = layer.hint_len().expect("a hint's layer");
    assert_eq!(lengths, [expected; 3]);
}
