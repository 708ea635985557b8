//! The server's half: its weights times the client's encryptions.

use rayon::prelude::*;

use super::client::message_len;
use super::direct::{self, Kernels};
use super::layout::{Layout, Tile};
use super::received::{Received, Source};
use super::{Hint, Secrets, ServerState};
use crate::bits::Word;
use crate::lattice::{Modulus, Polynomial, SmallPolynomial, Transform};
use crate::linear::protocol::Run;
use crate::{Error, Session};

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
    let weights = run.weights.expect("invariant: the server has its weights");
    let weights = layer.weights_of_products(weights);
    let state = run.state.get::<ServerState>();
    let positions = layout.own.positions();
    let (tiles, counts) = (layout.tiles(), layout.counts());
    let kept = tiles.len() * run.images > 1 && state.secrets.len() <= KEPT;
    let hidden =
        if kept { state.secrets.par_iter().map(|r| transformed(r)).collect() } else { vec![] };
    let task = Task {
        layout,
        weights: &weights,
        modulus: hint.modulus_of(layer),
        quarter: 1u64 << (hint.noise - 2),
        kernels: Kernels::new(layout, layout.span()),
        state,
        hidden,
        columns: run.images * positions,
    };
    let mut source = Source::new(hint, layer, secrets);
    let mut shares = vec![0; layout.own.out_channels * task.columns];
    for image in 0..run.images {
        for (number, (tile, counts)) in tiles.iter().zip(&counts).enumerate() {
            let message = source.next(session, message_len(hint, layer, *counts)).await?;
            let place = Place { tile, key: secrets.key(image, number), start: image * positions };
            let received = source.received(&message, *counts, layout.sent(tile));
            // Words hold what was encrypted: a host's modulus may be the larger one.
            match source.widest().get() {
                0..=32 => task.multiply::<u32>(&place, &received, &mut shares),
                _ => task.multiply::<u64>(&place, &received, &mut shares),
            }
        }
    }
    source.finish(secrets);
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
        let (channels, fan_in) = (layout.channels_of(bundle), layout.own.fan_in());
        let weights = &self.weights[channels.start * fan_in..channels.end * fan_in];
        let first = bundle / layout.bundles() * layout.chunks().len();
        let windows = &windows[first..first + layout.chunks().len()];
        let span = layout.exponent(tile.rows - 1, tile.columns - 1) + 1;
        let mut sums = vec![W::zero(); direct::whole(span)];
        let [rows, columns] = layout.own_lines(tile);
        for (output, shares) in shares.chunks_exact_mut(self.columns).enumerate() {
            sums.fill(W::zero());
            for window in windows.iter().enumerate() {
                self.kernels.add(&mut sums, (window.0, window.1), (output, weights));
            }
            let hidden = &hidden[layout.moved(output)..];
            for (row, at) in rows.iter() {
                let start = layout.exponent(at, columns.at);
                let line = place.start + row * layout.own.out_w() + columns.first;
                let values = sums[start..].iter().zip(&hidden[start..]).step_by(columns.every);
                let line = &mut shares[line..][..columns.count];
                for (share, (sum, hidden)) in line.iter_mut().zip(values) {
                    let sum: u64 = (*sum).into();
                    let value = sum.wrapping_add(*hidden as u64).wrapping_add(self.quarter);
                    *share = self.modulus.reduce(value);
                }
            }
        }
    }
}
