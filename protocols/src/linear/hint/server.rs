//! The server's half: its weights times the client's encryptions.

use rayon::prelude::*;

use super::client::message_len;
use super::layout::{Chunk, Layout, Sent, Tap, Tile};
use super::{Hint, Secrets, ServerState};
use crate::bits::{Word, with_word};
use crate::lattice::{DEGREE, Modulus, Polynomial, Transform};
use crate::linear::protocol::Run;
use crate::{Error, Session};

/// Receives the encryptions; this party's share of every output times `2^d`, with a quarter of that
/// added, `[channel][image][position]`, modulo `2^q`.
pub(super) async fn run(
    hint: &Hint,
    session: &mut Session,
    (layout, secrets): (&Layout, &Secrets),
    run: &Run<'_>,
) -> Result<Vec<u64>, Error> {
    let layer = run.layer;
    let ring = hint.coefficients(layer);
    let weights = run.weights.expect("invariant: the server has its weights");
    let weights = layer.weights_of_products(weights);
    let modulus =
        hint.modulus(layer.products().ring).expect("invariant: a checked layer has a modulus");
    let quarter = 1u64 << (hint.noise - 2);
    let state = run.state.get::<ServerState>();
    let task = Task { layout, weights: &weights, modulus, quarter, state };
    let g = &layout.geometry;
    let positions = g.positions();
    let mut shares = vec![0; g.out_channels * run.images * positions];
    let counts = layout.counts();
    for image in 0..run.images {
        let mut seen = layout.unseen();
        for (number, (tile, counts)) in layout.tiles().into_iter().zip(&counts).enumerate() {
            let message = session.channel.receive(message_len(hint, layer, *counts)).await?;
            let [first, other] = if hint.draws { *counts } else { [0, counts[0] + counts[1]] };
            let key = secrets.of(image, number);
            let (masks, others) = message.split_at(hint.noise_ring().packed_len(first));
            let received = Received {
                masks: hint.noise_ring().unpack(masks, first),
                others: ring.unpack(others, other),
                sent: layout.sent(&tile, &mut seen),
                draws: hint.draws,
            };
            let products = with_word!(ring, multiply::<_>(&task, &tile, key, &received));
            // From `[channel][row][column]` of the tile to where it is in the image.
            for (channel, plane) in products.iter().enumerate() {
                let share = &mut shares[(channel * run.images + image) * positions..][..positions];
                for row in 0..tile.rows {
                    let line = (tile.row + row) * g.out_w() + tile.column;
                    share[line..line + tile.columns]
                        .copy_from_slice(&plane[row * tile.columns..][..tile.columns]);
                }
            }
        }
    }
    Ok(shares)
}

struct Task<'a> {
    layout: &'a Layout,
    weights: &'a [i8],
    modulus: Modulus,
    /// A quarter of `D`.
    quarter: u64,
    state: &'a ServerState,
}

/// The coefficients of a tile, as they were received.
struct Received<'a> {
    masks: Vec<u64>,
    others: Vec<u64>,
    sent: Vec<Sent<'a>>,
    /// Whether coefficients that are first are masks.
    draws: bool,
}

impl Received<'_> {
    /// The polynomials, `[group][chunk]`, unrolled.
    fn polynomials<W: Word>(&self) -> Vec<Vec<W>> {
        let (mut masks, mut others) = (self.masks.iter(), self.others.iter());
        let mut polynomials = Vec::with_capacity(self.sent.len());
        for Sent { places, .. } in &self.sent {
            let mut polynomial = vec![0u64; DEGREE];
            for &(place, first) in places {
                let next = if first && self.draws { masks.next() } else { others.next() };
                polynomial[place.at] = *next.expect("invariant: as many as were counted");
            }
            let unrolled = super::make::unrolled(&polynomial).into_iter();
            polynomials.push(unrolled.map(W::truncate).collect());
        }
        polynomials
    }
}

/// The products of all output channels with one tile, `[channel][row][column]`.
fn multiply<W: Word>(
    task: &Task<'_>,
    tile: &Tile,
    key: &Polynomial,
    received: &Received<'_>,
) -> Vec<Vec<u64>> {
    let layout = task.layout;
    let polynomials = received.polynomials::<W>();
    let bundles = layout.geometry.groups * layout.bundles();
    let products: Vec<Vec<Vec<u64>>> = (0..bundles)
        .into_par_iter()
        .map(|bundle| bundle_products(task, tile, key, (bundle, &polynomials)))
        .collect();
    products.concat()
}

/// The products of the output channels of one polynomial.
fn bundle_products<W: Word>(
    task: &Task<'_>,
    tile: &Tile,
    key: &Polynomial,
    (bundle, polynomials): (usize, &[Vec<W>]),
) -> Vec<Vec<u64>> {
    let layout = task.layout;
    let (group, first) = (bundle / layout.bundles(), bundle % layout.bundles() * layout.outputs);
    let outputs = layout.outputs.min(layout.group_outputs() - first);
    let secret = task.state.secrets[bundle].iter().map(|&value| value.into());
    let hidden = Transform::get().product(key, &Transform::get().forward(secret));
    let mut sums = vec![vec![W::zero(); layout.span(tile)]; outputs];
    for (number, chunk) in layout.chunks().enumerate() {
        let polynomial = &polynomials[group * layout.chunks().len() + number];
        let channels = group * layout.group_outputs() + first;
        for (output, sums) in sums.iter_mut().enumerate() {
            add_weights(task, chunk, (channels, outputs, output), polynomial, sums);
        }
    }
    let plane = |(output, sums): (usize, &Vec<W>)| {
        let mut plane = Vec::with_capacity(tile.rows * tile.columns);
        for row in 0..tile.rows {
            let start = layout.exponent(row, 0);
            let hidden = &hidden[layout.moved(output) + start..][..tile.columns];
            for (sum, hidden) in sums[start..][..tile.columns].iter().zip(hidden) {
                let sum: u64 = (*sum).into();
                let value = sum.wrapping_add(*hidden as u64).wrapping_add(task.quarter);
                plane.push(task.modulus.reduce(value));
            }
        }
        plane
    };
    sums.iter().enumerate().map(plane).collect()
}

/// Adds what one output of a polynomial gets of a chunk: of its own weights, and of those that share
/// the polynomial, which meet zeros and their noise.
fn add_weights<W: Word>(
    task: &Task<'_>,
    chunk: Chunk<'_>,
    (channels, outputs, output): (usize, usize, usize),
    polynomial: &[W],
    sums: &mut [W],
) {
    let layout = task.layout;
    let fan_in = layout.geometry.fan_in();
    let kernel = layout.kernel(chunk);
    for other in 0..outputs {
        let weights = &task.weights[(channels + other) * fan_in..][..fan_in];
        for &Tap { offset, weight } in &kernel {
            let weight = W::truncate(i64::from(weights[weight]) as u64);
            // Every weight is multiplied, zeros too: time tells nothing.
            let shift = layout.moved(output) as isize - layout.moved(other) as isize;
            let from = super::make::place(offset as isize + shift);
            for (sum, value) in sums.iter_mut().zip(&polynomial[from..]) {
                *sum = sum.wrapping_add(&value.wrapping_mul(&weight));
            }
        }
    }
}
