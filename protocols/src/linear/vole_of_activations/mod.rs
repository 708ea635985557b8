//! `vole of activations`: the server's weights times the client's mask of the activations, with the
//! digits of the mask as puncture points.
//!
//! The other direction of [`super::vole`]: here the server owns the trees and the weights are the
//! correlation. A tree serves one digit of one element of the mask; its leaves are expanded to one
//! ring element for every *use* of that element, an output channel and a tap of the kernel that
//! reach an output. So a convolution multiplies no padding, and a dense layer has a use for each
//! output.
//!
//! *Identity.* The client's share of the wire is a mask `R` that it drew from the whole ring, so
//! modulo `2^l` it is the sum of its digits, `R = sum 2^low q`: no digit has a sign, none wraps,
//! and the digit at `low` is needed modulo `2^(l - low)` alone.
//!
//! For every tree, with leaves `r_z` and its puncture at the digit `q`:
//! 1. Client: for every level the side that it wants, masked by an OT's random choice.
//! 2. Server: the sums of left children, masked by the OTs (`ot::ggm`), and with `u = sum
//!    r_z`, `v = sum z r_z` the correction `c = w - u` for the weights `w` of the element's uses.
//!    Its share is `v`.
//! 3. Client: from all leaves but the puncture `S = sum r_z`, `V = sum z r_z`; its share is
//!    `q (c + S) - V = q w - v`.
//!
//! Nothing is left from one inference to the next, since the punctures are a fresh mask: no set-up
//! at all, which is what makes it worth its price where a session is short and a layer has few
//! columns.
//!
//! Cost, offline: for every element that is used `l` OTs that the server sends, `l` bits from
//! the client, 128 bits a level but the first of each tree and `l - low` bits a use and digit from
//! the server; 2 rounds. `l` is less by the least channel shift.
//!
//! Security: the client's choices are masked by uniform bits of which the server knows nothing. The
//! sums are masked by OTs of which the client knows one side; `u` contains the hidden leaf's
//! expansion, uniform by circular correlation robustness of the hash, and hides `w`. Trees, masks
//! and keys are fresh in every run, and a key serves a run of one chunk's trees
//! ([`keys`](super::keys)).
//!
//! The digits could be those of a share in the narrow ring `Z_(a+1)` of the activations instead,
//! with the wrap of the shares as one more OT. That OT's correlation depends on the
//! server's share, so its message would be online, a round of its own; here everything is offline
//! and the higher digits, which are needed in fewer bits each, cost little more.

mod expanded;
mod layout;
mod trees;

use std::ops::Range;

use zeroize::Zeroizing;

use super::Layer;
use super::keys::Keys;
use super::leaves::TreeWork;
use super::protocol::{Detail, LayerMemory, LayerSeconds, LinearProtocol, Run, State, Work};
use crate::assumption::Assumption;
use crate::bits::{Word, with_word, word_bits};
use crate::ot::SentCots;
use crate::{BitString, Bits, Block, Cost, Domain, Error, Phases, Role, Session, rates};
use expanded::Expanded;
use layout::{Class, Layout, fits};

/// What is at work on one message: leaves, their expansions and the message.
const CHUNK: u64 = 4 << 20;

/// Trees that are punctured at the digits of the client's mask.
pub(super) struct Vole {
    /// Bits of a digit.
    pub(super) k: u8,
}

impl LinearProtocol for Vole {
    fn name(&self) -> String {
        format!("vole of activations k={}", self.k)
    }

    fn check(&self, layer: &Layer) -> Result<(), String> {
        if !(1..=8).contains(&self.k) {
            return Err(format!("k within 1..=8, found {}", self.k));
        }
        if fits(&layer.products().geometry) {
            return Ok(());
        }
        Err(format!("image times kernel of up to 2^16 each way for {}", self.name()))
    }

    fn cost(&self, layer: &Layer, images: usize) -> Phases {
        Phases { offline: cost(&layer.products(), images, self.k), ..Phases::default() }
    }

    fn seconds(&self, layer: &Layer, images: usize) -> LayerSeconds {
        let work = work(&layer.products(), images, self.k);
        // Trees that are not kept are made anew, with their punctures.
        let offline = 3.0 * work.leaves * rates::LEAF
            + work.blocks * rates::LEAF_BLOCK
            + work.corrections * rates::MASK_CORRECTION;
        LayerSeconds { setup: 0.0, offline }
    }

    fn memory(&self, layer: &Layer, _: Role, images: usize) -> LayerMemory {
        // A copy of the OTs, and the choices.
        let levels = cost(&layer.products(), images, self.k).server_cots;
        let running = levels * (Block::BYTES as u64 + 1) + CHUNK;
        LayerMemory { running, ..LayerMemory::default() }
    }

    fn detail(&self, layer: &Layer, images: usize) -> Detail {
        let blocks = work(&layer.products(), images, self.k).blocks;
        Detail { aes_blocks: blocks as u64, group: 1 }
    }

    fn assumptions(&self) -> &'static [Assumption] {
        &[Assumption::CircularCorrelationRobustness]
    }

    fn prepare<'a>(
        &'a self,
        _: &'a mut Session,
        _: &'a Layer,
        _: Option<&'a [i8]>,
    ) -> Work<'a, State> {
        // Trees are as fresh as the mask.
        Box::pin(async { Ok(State::new(())) })
    }

    fn run<'a>(&'a self, session: &'a mut Session, run: Run<'a>) -> Work<'a, Vec<u64>> {
        Box::pin(async move {
            let (layer, images) = (run.layer.products(), run.images);
            let weights = run.weights.map(|weights| run.layer.weights_of_products(weights));
            let side = match (run.value, &weights) {
                (Some(mask), _) => Side::Client(mask.given()),
                (None, Some(weights)) => Side::Server(weights),
                (None, None) => unreachable!("invariant: the server has its weights"),
            };
            products(session, &layer, images, self.k, side).await
        })
    }
}

/// What a run moves.
fn cost(layer: &Layer, images: usize, k: u8) -> Cost {
    let layout = Layout::new(layer, images, k);
    let levels = layout.levels();
    let sent = layout.classes().map(|class| {
        let (trees, chunk) = (class.elements, class.chunk());
        let whole = Cost::message(Role::Server, class.message_len(chunk)) * (trees / chunk) as u64;
        match trees % chunk {
            0 => whole,
            rest => whole + Cost::message(Role::Server, class.message_len(rest)),
        }
    });
    let sent: Cost = sent.sum();
    let asked = Cost::message(Role::Client, Bits::ONE.packed_len(levels));
    asked + Cost::cots(Role::Server, levels as u64) + Cost { rounds: sent.rounds.min(1), ..sent }
}

/// How much there is to compute.
fn work(layer: &Layer, images: usize, k: u8) -> TreeWork {
    let layout = Layout::new(layer, images, k);
    let lanes = (128 / word_bits(layout.ring())) as usize;
    layout.classes().fold(TreeWork::default(), |sum, class| {
        let leaves = (class.elements << class.width) as f64;
        TreeWork {
            leaves: sum.leaves + leaves,
            blocks: sum.blocks + leaves * class.columns.div_ceil(lanes) as f64,
            corrections: sum.corrections + (class.elements * class.columns) as f64,
        }
    })
}

/// A party's share of weights times mask, `[channel][image][position]`, not reduced. The server
/// gives its weights, `[channel][fan-in]`, the client its mask.
async fn products(
    session: &mut Session,
    layer: &Layer,
    images: usize,
    k: u8,
    side: Side<'_>,
) -> Result<Vec<u64>, Error> {
    let layout = Layout::new(layer, images, k);
    let keys = RunKeys {
        trees: Keys::new(&session.fresh_key(Domain::Tree)),
        leaves: Keys::new(&session.fresh_key(Domain::MaskDigits)),
    };
    match side {
        Side::Server(weights) => {
            with_word!(layout.ring(), server::<_>(session, &layout, &keys, weights).await)
        }
        Side::Client(mask) => {
            with_word!(layout.ring(), client::<_>(session, &layout, &keys, mask).await)
        }
    }
}

/// The keys of a run.
struct RunKeys {
    /// Under which trees grow.
    trees: Keys,
    /// Under which leaves are expanded.
    leaves: Keys,
}

/// What a party brings.
enum Side<'a> {
    /// Weights.
    Server(&'a [i8]),
    /// The mask, `[channels][images][rows][columns]`.
    Client(&'a [u64]),
}

async fn server<W: Word>(
    session: &mut Session,
    layout: &Layout<'_>,
    run: &RunKeys,
    weights: &[i8],
) -> Result<Vec<u64>, Error> {
    // OTs and bits are in the order `[class][element][level]`, the highest level of a digit
    // first.
    let levels = layout.levels();
    let SentCots { delta, mut keys } = session.take_sent(levels)?;
    let moved = session.channel.receive(Bits::ONE.packed_len(levels)).await?;
    let moved = BitString::from_bytes(&moved, levels);
    // Now `M = K xor b Δ` holds for the side `b` that the client wants on each level; the server
    // does not learn it.
    keys.iter_mut().zip(moved.iter()).for_each(|(key, bit)| *key ^= delta.masked(bit));
    let mut output = Output::new(layout);
    let mut at = 0;
    for class in layout.classes() {
        let depth = class.width as usize;
        for elements in class.chunks() {
            let keys = &keys[at..][..elements.len() * depth];
            at += keys.len();
            // Messages are `[tree][level from the second on]` in blocks, then the packed
            // corrections, `[tree][use]`.
            let (sums, leaves) = class.sender_trees(&run.trees, elements.start, keys, *delta);
            let expanded = Expanded::<W>::new(&class, &run.leaves, elements.start, &leaves);
            let mut message = Block::pack(&sums);
            message.extend(expanded.corrections(layout, &class, elements.clone(), weights));
            output.join(&class, elements, &expanded.weighted);
            session.channel.send(&message)?;
            session.channel.drained().await?;
        }
    }
    Ok(output.values)
}

async fn client<W: Word>(
    session: &mut Session,
    layout: &Layout<'_>,
    run: &RunKeys,
    mask: &[u64],
) -> Result<Vec<u64>, Error> {
    let levels = layout.levels();
    let ots = session.take_received(levels)?;
    let wanted: BitString = layout
        .classes()
        .flat_map(|class| {
            let punctures = punctures(layout, &class, 0..class.elements, mask);
            let depth = class.width as usize;
            (0..class.elements * depth)
                .map(move |at| (punctures[at / depth] >> (depth - 1 - at % depth)) & 1 == 0)
        })
        .collect();
    session.channel.send(&wanted.xor(&ots.choices()).to_bytes())?;
    let keys = Zeroizing::new(ots.keys);
    let mut output = Output::new(layout);
    let mut at = 0;
    for class in layout.classes() {
        let depth = class.width as usize;
        for elements in class.chunks() {
            let keys = &keys[at..][..elements.len() * depth];
            at += keys.len();
            let message = session.channel.receive(class.message_len(elements.len())).await?;
            let (sums, corrections) = message.split_at(class.sums_len(elements.len()));
            let punctures = punctures(layout, &class, elements.clone(), mask);
            let leaves = class.receiver_trees(
                &run.trees,
                elements.start,
                keys,
                &punctures,
                &Block::unpack(sums),
            );
            let mut expanded = Expanded::<W>::new(&class, &run.leaves, elements.start, &leaves);
            // The client knows all leaves but the puncture's: it gets `q w - v`, and of `w` nothing
            // but this share.
            expanded.correct(&class, &punctures, corrections);
            output.join(&class, elements, &expanded.weighted);
        }
    }
    Ok(output.values)
}

/// The punctures of some trees of a class: digits of the mask.
fn punctures(
    layout: &Layout<'_>,
    class: &Class<'_>,
    elements: Range<usize>,
    mask: &[u64],
) -> Zeroizing<Vec<u32>> {
    // Modulo `2^l` a value is the sum of its digits, all of them unsigned, whatever it is as an
    // integer.
    let digits = elements.map(|element| {
        (mask[layout.source(class.part, element)] >> class.low) as u32 & ((1 << class.width) - 1)
    });
    Zeroizing::new(digits.collect())
}

/// This party's shares of the outputs.
struct Output<'a> {
    layout: &'a Layout<'a>,
    values: Vec<u64>,
}

impl<'a> Output<'a> {
    fn new(layout: &'a Layout<'a>) -> Self {
        let g = &layout.layer.geometry;
        Self { layout, values: vec![0; g.out_channels * layout.images * g.positions()] }
    }

    /// Adds the products of some elements' digits to the outputs that they reach.
    fn join<W: Word>(&mut self, class: &Class<'_>, elements: Range<usize>, products: &[W]) {
        // Corrections leave the least channel shift out, and the digit its place; both come back
        // here. What is above the ring is the caller's to cut off.
        let place = class.low + self.layout.shift;
        for (element, products) in elements.zip(products.chunks_exact(class.columns)) {
            for ((_, output), product) in self.layout.uses(class.part, element).zip(products) {
                let product: u64 = (*product).into();
                self.values[output] = self.values[output].wrapping_add(product << place);
            }
        }
    }
}

#[cfg(test)]
mod tests;
