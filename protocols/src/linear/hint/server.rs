//! The server's half: its weights times the client's encryptions.

use rayon::prelude::*;

use super::client::message_len;
use super::direct::{self, Kernels};
use super::layout::{Layout, Sent, Tile};
use super::{Hint, Secrets, ServerState};
use crate::bits::Word;
use crate::lattice::{Modulus, Polynomial, SmallPolynomial, Transform};
use crate::linear::protocol::Run;
use crate::{Bits, Error, Session};

/// Polynomials of outputs whose secrets stay transformed from tile to tile; of more, each is
/// transformed again.
pub(super) const KEPT: usize = 256;

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
    let modulus = hint.modulus_of(layer);
    let quarter = 1u64 << (hint.noise - 2);
    let state = run.state.get::<ServerState>();
    let positions = layout.geometry.positions();
    let (tiles, counts) = (layout.tiles(), layout.counts());
    let kept = tiles.len() * run.images > 1 && state.secrets.len() <= KEPT;
    let hidden =
        if kept { state.secrets.par_iter().map(|r| transformed(r)).collect() } else { vec![] };
    let task = Task {
        layout,
        weights: &weights,
        modulus,
        quarter,
        kernels: Kernels::new(layout, layout.span()),
        state,
        hidden,
        columns: run.images * positions,
    };
    let mut shares = vec![0; layout.geometry.out_channels * task.columns];
    for image in 0..run.images {
        for (number, (tile, counts)) in tiles.iter().zip(&counts).enumerate() {
            let message = session.channel.receive(message_len(hint, layer, *counts)).await?;
            let [first, other] = if hint.draws { *counts } else { [0, counts[0] + counts[1]] };
            let (masks, others) = message.split_at(hint.noise_ring().packed_len(first));
            let received = Received {
                masks: (hint.noise_ring(), first, masks),
                others: (ring, other, others),
                sent: layout.sent(tile),
                draws: hint.draws,
            };
            let place = Place { tile, key: secrets.key(image, number), start: image * positions };
            match modulus.bits() {
                0..=32 => task.multiply::<u32>(&place, &received, &mut shares),
                _ => task.multiply::<u64>(&place, &received, &mut shares),
            }
        }
    }
    Ok(shares)
}

/// A secret of a hint, transformed.
fn transformed(secret: &[i8]) -> SmallPolynomial {
    Transform::get().small(secret)
}

struct Task<'a> {
    layout: &'a Layout,
    weights: &'a [i8],
    modulus: Modulus,
    /// A quarter of `D`.
    quarter: u64,
    kernels: Kernels,
    state: &'a ServerState,
    /// The secrets of the hint, transformed, where they are kept so.
    hidden: Vec<SmallPolynomial>,
    /// Outputs of a channel.
    columns: usize,
}

/// A tile of an image, its key, and where the image begins among a channel's outputs.
struct Place<'a> {
    tile: &'a Tile,
    key: &'a Polynomial,
    start: usize,
}

/// The coefficients of a tile, as they were received: their rings, their numbers and the bytes.
struct Received<'a> {
    masks: (Bits, usize, &'a [u8]),
    others: (Bits, usize, &'a [u8]),
    sent: Vec<Sent>,
    /// Whether coefficients that are first are masks.
    draws: bool,
}

impl Received<'_> {
    /// Windows of the polynomials, `[group][chunk]`.
    fn windows<W: Word>(&self, kernels: &Kernels) -> Vec<Vec<W>> {
        let unpack = |(ring, count, bytes): (Bits, usize, &[u8])| {
            let mut values = vec![W::zero(); count];
            ring.unpack_into(bytes, &mut values);
            values
        };
        let (masks, others) = (unpack(self.masks), unpack(self.others));
        let (mut masks, mut others) = (&masks[..], &others[..]);
        let mut fill = |sent: &Sent, window: &mut [W]| {
            for run in sent.runs.iter() {
                let is_mask = self.draws && run.held.is_some_and(|held| held.first);
                let from = if is_mask { &mut masks } else { &mut others };
                let values = from.split_off(..run.len).expect("invariant: as many as were counted");
                window[run.at..][..run.len].copy_from_slice(values);
            }
        };
        self.sent.iter().map(|sent| kernels.window(|window| fill(sent, window))).collect()
    }
}

impl Task<'_> {
    /// The products of all output channels with one tile.
    fn multiply<W: Word>(&self, place: &Place<'_>, received: &Received<'_>, shares: &mut [u64]) {
        let windows = received.windows::<W>(&self.kernels);
        let (of_group, of_bundle) =
            (self.layout.group_outputs() * self.columns, self.layout.outputs * self.columns);
        shares.par_chunks_mut(of_group).enumerate().for_each(|(group, shares)| {
            shares.par_chunks_mut(of_bundle).enumerate().for_each(|(number, shares)| {
                let bundle = group * self.layout.bundles() + number;
                self.multiply_bundle(place, (bundle, &windows), shares);
            });
        });
    }

    /// The products of the output channels of one polynomial.
    fn multiply_bundle<W: Word>(
        &self,
        place: &Place<'_>,
        (bundle, windows): (usize, &[Vec<W>]),
        shares: &mut [u64],
    ) {
        let (layout, tile) = (self.layout, place.tile);
        let secret = &self.state.secrets[bundle];
        let own = self.hidden.is_empty().then(|| transformed(secret));
        let secret = own.as_ref().unwrap_or_else(|| &self.hidden[bundle]);
        let hidden = Transform::get().product(place.key, secret);
        let (channels, fan_in) = (layout.channels_of(bundle), layout.geometry.fan_in());
        let weights = &self.weights[channels.start * fan_in..channels.end * fan_in];
        let first = bundle / layout.bundles() * layout.chunks().len();
        let windows = &windows[first..first + layout.chunks().len()];
        let span = layout.exponent(tile.rows - 1, tile.columns - 1) + 1;
        let mut sums = vec![W::zero(); direct::whole(span)];
        for (output, shares) in shares.chunks_exact_mut(self.columns).enumerate() {
            sums.fill(W::zero());
            for window in windows.iter().enumerate() {
                self.kernels.add(&mut sums, (window.0, window.1), (output, weights));
            }
            let hidden = &hidden[layout.moved(output)..];
            for row in 0..tile.rows {
                let start = layout.exponent(row, 0);
                let line = place.start + (tile.row + row) * layout.geometry.out_w() + tile.column;
                let values = sums[start..].iter().zip(&hidden[start..]);
                for (share, (sum, hidden)) in shares[line..][..tile.columns].iter_mut().zip(values)
                {
                    let sum: u64 = (*sum).into();
                    let value = sum.wrapping_add(*hidden as u64).wrapping_add(self.quarter);
                    *share = self.modulus.reduce(value);
                }
            }
        }
    }
}
