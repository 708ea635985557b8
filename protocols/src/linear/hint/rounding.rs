//! From shares of noisy multiples to exact shares: one correlated OT an output.

use super::Hint;
use crate::linear::Layer;
use crate::ops::{BitProduct, Incoming, Messages, pass};
use crate::ot::Demand;
use crate::{BitString, Bits, Cost, Error, Role, Session};

/// Output channels of one shift: their products are needed in a ring of as many bits less.
struct Alike {
    channels: Vec<usize>,
    shift: u32,
    ring: Bits,
}

/// Output channels by shift, the least first.
fn by_shift(layer: &Layer) -> Vec<Alike> {
    let products = layer.products();
    let mut channels: Vec<usize> = (0..products.geometry.out_channels).collect();
    channels.sort_by_key(|&channel| products.shift(channel));
    let alike = channels.chunk_by(|&a, &b| products.shift(a) == products.shift(b));
    alike
        .map(|channels| {
            let shift = products.shift(channels[0]);
            let ring = Bits::of(products.ring.get() - shift);
            Alike { channels: channels.to_vec(), shift, ring }
        })
        .collect()
}

/// Outputs of a channel, of all images.
fn columns(layer: &Layer, images: usize) -> usize {
    images * layer.products().geometry.positions()
}

/// What the OTs move.
pub(super) fn cost(layer: &Layer, images: usize) -> Cost {
    messages(layer, images).cost()
}

/// What is drawn.
pub(super) fn demands(layer: &Layer, images: usize) -> Vec<Demand> {
    messages(layer, images).into_demands()
}

fn messages(layer: &Layer, images: usize) -> Messages {
    let mut messages = Messages::default();
    let (mut choices, mut corrections) = (0, 0);
    for alike in by_shift(layer) {
        let len = alike.channels.len() * columns(layer, images);
        let (chosen, responded) = BitProduct::price(&mut messages, Role::Client, alike.ring, len);
        choices += chosen;
        corrections += responded;
    }
    messages.send(Role::Client, choices);
    messages.send(Role::Server, corrections);
    messages
}

/// The values of some channels, one behind the other.
fn gather<'a>(
    values: &'a [u64],
    alike: &'a Alike,
    columns: usize,
) -> impl Iterator<Item = u64> + 'a {
    alike
        .channels
        .iter()
        .flat_map(move |&channel| &values[channel * columns..(channel + 1) * columns])
        .copied()
}

/// Puts the results of some channels in their places.
fn scatter(results: &[u64], alike: &Alike, columns: usize, values: &mut [u64]) {
    for (channel, results) in alike.channels.iter().zip(results.chunks_exact(columns)) {
        for (value, &result) in values[channel * columns..].iter_mut().zip(results) {
            *value = result << alike.shift;
        }
    }
}

/// Shares of `2 W x + c`, `c` 0 or `2^e` in a channel of shift `e`, without a message: those of the
/// two halves of `D` that the low bits are in.
pub(super) fn halves(hint: &Hint, (role, layer): (Role, &Layer), mut values: Vec<u64>) -> Vec<u64> {
    let below = u32::from(hint.noise) - 1;
    let columns = values.len() / layer.products().geometry.out_channels;
    let one = u64::from(role == Role::Server);
    for (channel, values) in values.chunks_exact_mut(columns.max(1)).enumerate() {
        let shift = layer.products().shift(channel);
        values.iter_mut().for_each(|value| *value = ((*value >> below) + one) << shift);
    }
    values
}

/// Whether the low bits of a share are in the lower half.
const fn low_half(value: u64, noise: u32) -> u64 {
    (value >> (noise - 1) & 1) ^ 1
}

/// The client's exact shares, of its share `u`.
pub(super) async fn client(
    hint: &Hint,
    session: &mut Session,
    layer: &Layer,
    mut values: Vec<u64>,
) -> Result<Vec<u64>, Error> {
    let noise = u32::from(hint.noise);
    let columns = values.len() / layer.products().geometry.out_channels;
    let classes = by_shift(layer);
    let (mut choices, mut products) = (Vec::new(), Vec::new());
    for alike in &classes {
        let bits: BitString =
            gather(&values, alike, columns).map(|value| low_half(value, noise) == 1).collect();
        products.push(BitProduct::choose(session, Role::Client, alike.ring, &bits, &mut choices)?);
    }
    let len = choices.len();
    pass(session, Role::Client, &choices, len).await?;
    let corrections =
        classes.iter().map(|alike| alike.ring.packed_len(alike.channels.len() * columns));
    let message = session.channel.receive(corrections.sum()).await?;
    let mut incoming = Incoming::of(&message);
    for (alike, product) in classes.iter().zip(products) {
        let both = product.finish(&mut incoming);
        // `W x = u1 + v1 + 1 - [pu < B][pv < B]`: the one is the server's.
        let results = gather(&values, alike, columns).zip(both);
        let results = results.map(|(value, both)| (value >> noise).wrapping_sub(both));
        let results: Vec<u64> = results.collect();
        scatter(&results, alike, columns, &mut values);
    }
    Ok(values)
}

/// The server's exact shares, of its share `v`.
pub(super) async fn server(
    hint: &Hint,
    session: &mut Session,
    layer: &Layer,
    mut values: Vec<u64>,
) -> Result<Vec<u64>, Error> {
    let noise = u32::from(hint.noise);
    let columns = values.len() / layer.products().geometry.out_channels;
    let classes = by_shift(layer);
    let mut products = Vec::new();
    for alike in &classes {
        let len = alike.channels.len() * columns;
        let unknown: BitString = std::iter::repeat_n(false, len).collect();
        let ring = alike.ring;
        products.push(BitProduct::choose(session, Role::Client, ring, &unknown, &mut Vec::new())?);
    }
    let choices =
        classes.iter().map(|alike| Bits::ONE.packed_len(alike.channels.len() * columns)).sum();
    let message = session.channel.receive(choices).await?;
    let (mut incoming, mut corrections) = (Incoming::of(&message), Vec::new());
    for (alike, product) in classes.iter().zip(&mut products) {
        let bits = gather(&values, alike, columns).map(|value| low_half(value, noise));
        let bits: Vec<u64> = bits.collect();
        product.respond(session, &bits, &mut incoming, &mut corrections)?;
    }
    session.channel.send(&corrections)?;
    for (alike, product) in classes.iter().zip(products) {
        let both = product.finish(&mut Incoming::of(&[]));
        let results = gather(&values, alike, columns).zip(both);
        let results =
            results.map(|(value, both)| (value >> noise).wrapping_add(1).wrapping_sub(both));
        let results: Vec<u64> = results.collect();
        scatter(&results, alike, columns, &mut values);
    }
    Ok(values)
}
