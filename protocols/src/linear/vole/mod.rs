//! `vole`: the server's weights times a value that the client holds, by small-field vector
//! oblivious linear evaluation.
//!
//! Input: the server's weights `W` in trees that are set up, the client's `x`. Output: shares of `W
//! x` over `Z_{2^l}`, each channel shifted left as the layer says. Source of the idea that a
//! punctured tree is a vector oblivious linear evaluation: SoftSpokenOT (Roy, Crypto 2022, section
//! 3).
//!
//! For every tree, with leaves `r_z` expanded under keys that are never used again
//! ([`super::keys`]) to one ring element a column, a puncture at the digit `q`
//! and `digit(z)` that same digit of a leaf's index:
//!
//! 1. Client: `u = sum r_z`, `v = sum digit(z) r_z`; sends the correction `c = x - u` of its input
//!    row.
//! 2. Server: from all leaves but the puncture, `S = sum r_z` and `V = sum digit(z) r_z` with any
//!    value for the puncture's leaf: the terms cancel in `q S - V = q u - v`. Its share is `q (c +
//!    S) - V = q x - v`; the client's is `v`.
//!
//! Digits of a weight add up with their place values; the top digit is signed, so no offset term
//! involves `x`. With trees of depth one this *is* the bitwise correlated OT of SiRNN and
//! PrivQuant (protocol `cot`).
//!
//! Cost: `l - e - low` bits a tree and column, client to server, for the tree's channel shift `e`
//! and lowest bit `low`. Weights of one tree share them: `K N D l w / k` bits in all at `w <= k`.
//!
//! Security: the server sees `x - u`; `u` contains the hidden leaf's expansion, uniform by circular
//! correlation robustness of the hash, of which at most `2^13` calls are made under one key. The
//! client receives nothing.

mod kernel;
mod layout;
mod memory;
mod trees;

use super::keys::Keys;
use super::leaves::TreeWork;
use super::protocol::{Detail, LayerMemory, LayerSeconds, LinearProtocol, Run, State, Work};
use super::{Algorithm, Layer, winograd};
use crate::assumption::Assumption;
use crate::bits::{Word, with_word, word_bits};
use crate::{Cost, Domain, Error, Phases, Role, Session, rates};
use kernel::{Chunk, column_blocks};
use layout::{Class, Part};
use trees::Trees;

/// Trees of the weights' digits.
pub(super) struct Vole {
    /// Digits of one tree together, in bits.
    k: u8,
    /// Whether people call it by its own name, `cot`.
    cot: bool,
}

impl Vole {
    /// Trees of `2^k` leaves.
    pub(super) const fn of(k: u8) -> Self {
        Self { k, cot: false }
    }

    /// Trees of two leaves: bitwise correlated OTs.
    pub(super) const fn cot() -> Self {
        Self { k: 1, cot: true }
    }

    /// All classes of a layer.
    fn classes(&self, layer: &Layer) -> Vec<Class> {
        classes(layer, u32::from(self.k))
    }
}

/// All classes of a layer, with trees of at most `k` levels.
fn classes(layer: &Layer, k: u32) -> Vec<Class> {
    let products = layer.products();
    let groups = products.geometry.groups;
    layout::classes(
        &products.geometry,
        |group: usize| match layer.algorithm {
            Algorithm::Direct | Algorithm::Winograd => layer.weight_bits,
            Algorithm::WinogradExact => winograd::exact_bits(layer.weight_bits, group, groups),
        },
        &products.shifts,
        products.ring,
        k,
    )
}

impl LinearProtocol for Vole {
    fn name(&self) -> String {
        if self.cot { "cot".into() } else { format!("vole k={}", self.k) }
    }

    fn check(&self, _: &Layer) -> Result<(), String> {
        if (1..=8).contains(&self.k) {
            return Ok(());
        }
        Err(format!("k within 1..=8, found {}", self.k))
    }

    fn cost(&self, layer: &Layer, images: usize) -> Phases {
        let classes = self.classes(layer);
        let offline = products_cost(&classes, columns(layer, images));
        Phases { setup: Trees::cost(&classes), offline, ..Phases::default() }
    }

    fn seconds(&self, layer: &Layer, images: usize) -> LayerSeconds {
        let work = self.work(layer, images);
        LayerSeconds {
            setup: work.leaves * 2.0 * rates::LEAF,
            offline: work.leaves * rates::LEAF
                + work.blocks * rates::LEAF_BLOCK
                + work.corrections * rates::CORRECTION,
        }
    }

    fn memory(&self, layer: &Layer, role: Role, images: usize) -> LayerMemory {
        memory::of(layer, &self.classes(layer), role, images)
    }

    fn detail(&self, layer: &Layer, images: usize) -> Detail {
        let classes = self.classes(layer);
        Detail {
            aes_blocks: self.work(layer, images).blocks as u64,
            group: classes.iter().map(|class| class.bundles[0].len()).max().unwrap_or(1),
        }
    }

    fn assumptions(&self) -> &'static [Assumption] {
        &[Assumption::CircularCorrelationRobustness]
    }

    fn prepare<'a>(
        &'a self,
        session: &'a mut Session,
        layer: &'a Layer,
        weights: Option<&'a [i8]>,
    ) -> Work<'a, State> {
        Box::pin(async move {
            let weights = weights.map(|weights| layer.weights_of_products(weights));
            let classes = self.classes(layer);
            let trees = Trees::set_up(session, &classes, weights.as_deref()).await?;
            Ok(State::new(TreeState { classes: classes.into_iter().zip(trees).collect() }))
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, run: Run<'a>) -> Work<'a, Vec<u64>> {
        Box::pin(products(session, run))
    }
}

/// A layer's trees, one party's half.
struct TreeState {
    classes: Vec<(Class, Trees)>,
}

impl Vole {
    /// How much there is to compute, for a batch of `images`.
    fn work(&self, layer: &Layer, images: usize) -> TreeWork {
        let (classes, columns) = (self.classes(layer), columns(layer, images));
        let widest = classes.iter().map(|class| class.ring).max().unwrap_or(layer.ring);
        let blocks = columns.div_ceil(128 / word_bits(widest) as usize);
        let trees: f64 = classes.iter().map(|class| class.trees() as f64).sum();
        let leaves: f64 = classes.iter().map(|class| (class.trees() << class.depth()) as f64).sum();
        TreeWork { leaves, blocks: leaves * blocks as f64, corrections: trees * columns as f64 }
    }
}

/// Columns of a layer's products.
fn columns(layer: &Layer, images: usize) -> usize {
    images * layer.products().geometry.positions()
}

async fn products(session: &mut Session, run: Run<'_>) -> Result<Vec<u64>, Error> {
    let state: &TreeState = run.state.get();
    let layer = run.layer.products();
    // A fresh key for every run: trees are kept, but no leaf is expanded twice under one key.
    let keys = Keys::new(&session.fresh_key(Domain::Weights));
    // Sums modulo a word's bits are sums modulo any smaller power of two. So one word, for the
    // widest ring, serves all classes.
    let widest = state.classes.iter().map(|(class, _)| class.ring).max();
    let ring = widest.unwrap_or(layer.ring);
    let task = Expansion { layer: &layer, images: run.images, state, keys: &keys };
    match run.value {
        Some(x) => with_word!(ring, client::<_>(session, task, x.given()).await),
        None => with_word!(ring, server::<_>(session, task).await),
    }
}

/// What the products with so many columns move; trees are set up before.
fn products_cost(classes: &[Class], columns: usize) -> Cost {
    let messages = layout::chunks(classes, columns).into_iter().map(|chunk| {
        let trees = layout::trees_by_ring(classes, &chunk);
        Cost::message(Role::Client, layout::message_len(&trees, columns))
    });
    let all: Cost = messages.sum();
    Cost { rounds: all.rounds.min(1), ..all }
}

/// One expansion of a layer's trees.
#[derive(Clone, Copy)]
struct Expansion<'a> {
    layer: &'a Layer,
    images: usize,
    state: &'a TreeState,
    keys: &'a Keys,
}

/// The state of one expansion: accumulators `[column block][channel][lane]`.
struct Sums<'a, W> {
    task: Expansion<'a>,
    columns: usize,
    accumulators: Vec<W>,
}

impl<'a, W: Word> Sums<'a, W> {
    fn new(task: Expansion<'a>) -> Self {
        let columns = task.images * task.layer.geometry.positions();
        let width = column_blocks::<W>(columns) * W::LANES;
        let accumulators = vec![W::zero(); width * task.layer.geometry.out_channels];
        Self { task, columns, accumulators }
    }

    /// What travels together.
    fn chunks(&self) -> Vec<Vec<Part>> {
        layout::chunks(self.task.state.classes.iter().map(|(class, _)| class), self.columns)
    }

    /// The leaves of what travels in one message.
    fn chunk(&self, number: usize, parts: &[Part]) -> Chunk<'a> {
        Chunk::new(self.task.state, (number, parts), self.task.keys, self.columns)
    }

    /// The party's share, `[channel][column]`, shifted.
    fn finish(self) -> Vec<u64> {
        let channels = self.task.layer.geometry.out_channels;
        (0..channels)
            .flat_map(|channel| (0..self.columns).map(move |column| (channel, column)))
            // Accumulators are right modulo `2^(l - e)`, which the shift by e makes right modulo
            // `2^l`. What is above is not reduced here.
            .map(|(channel, column)| {
                let (block, lane) = (column / W::LANES, column % W::LANES);
                let at = (block * channels + channel) * W::LANES + lane;
                let sum: u64 = self.accumulators[at].into();
                sum << self.task.layer.shift(channel)
            })
            .collect()
    }
}

async fn client<W: Word>(
    session: &mut Session,
    task: Expansion<'_>,
    x: &[u64],
) -> Result<Vec<u64>, Error> {
    let x: Vec<W> = x.iter().map(|&v| W::truncate(v)).collect();
    let mut sums = Sums::new(task);
    for (number, parts) in sums.chunks().iter().enumerate() {
        let chunk = sums.chunk(number, parts);
        // Chunk by chunk, so that the server works on one while this party computes the next.
        // Nothing the server says is waited for.
        let matrix = chunk.matrix(&task.layer.geometry, task.images, &x);
        let message = chunk.send(&matrix, &mut sums.accumulators);
        session.channel.send(&message)?;
        session.channel.drained().await?;
    }
    Ok(sums.finish())
}

async fn server<W: Word>(session: &mut Session, task: Expansion<'_>) -> Result<Vec<u64>, Error> {
    let mut sums = Sums::<W>::new(task);
    for (number, parts) in sums.chunks().iter().enumerate() {
        let chunk = sums.chunk(number, parts);
        // Every correction is masked by the hidden leaf's expansion. Behind it, the accumulators
        // hold the server's share of the products with all rows so far.
        let message = session.channel.receive(chunk.message_len()).await?;
        chunk.receive(&message, &mut sums.accumulators);
    }
    Ok(sums.finish())
}

#[cfg(test)]
mod tests;
