//! `vole of mask`: the server's weights times a mask of the client, with the digits of the mask as
//! puncture points.
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
//! For every tree, with leaves `r_z` and its hole at the digit `q`:
//! 1. Client: for every level the side that it wants, masked by a transfer's random choice.
//! 2. Server: the sums of left children, masked by the transfers (`ot::ggm`), and with `u = sum
//!    r_z`, `v = sum z r_z` the correction `c = w - u` for the weights `w` of the element's uses.
//!    Its share is `v`.
//! 3. Client: from all leaves but the hole `S = sum r_z`, `V = sum z r_z`; its share is `q (c + S)
//!    - V = q w - v`.
//!
//! Nothing is left from one inference to the next, since the holes are a fresh mask: no set-up at
//! all, which is what makes it worth its price where a session is short and a layer has few
//! columns.
//!
//! Cost, offline: for every element that is used `l` transfers that the server sends, `l` bits from
//! the client, 128 bits a level but the first of each tree and `l - low` bits a use and digit from
//! the server; 2 rounds. `l` is less by the least channel shift.
//!
//! Security: the client's choices are masked by uniform bits of which the server knows nothing. The
//! sums are masked by transfers of which the client knows one side; `u` contains the hidden leaf's
//! expansion, uniform by circular correlation robustness of the hash, and hides `w`. Trees, masks
//! and keys are fresh in every run, and a key serves a run of one chunk's trees ([`super::keys`]).
//!
//! The digits could be those of a share in the narrow ring `Z_(a+1)` of the activations instead,
//! with the wrap of the shares as one more transfer. That transfer's correlation depends on the
//! server's share, so its message would be online, a round of its own; here everything is offline
//! and the higher digits, which are needed in fewer bits each, cost little more.

use std::collections::BTreeMap;
use std::ops::Range;

use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::Geometry;
use super::keys::{self, Allotment, Keys};
use super::layer::{Layer, Work};
use super::trees::Leaves;
use crate::bits::{Word, with_word, word_bits};
use crate::kernels::{Expansion, Quad};
use crate::ot::{SentCots, ggm};
use crate::{BitString, Bits, Block, Cost, Domain, Error, Role, Session};

/// Leaves of one chunk: 128 KiB.
const LEAVES: usize = 1 << 13;
/// Corrections in one chunk.
const CORRECTIONS: usize = 1 << 18;

/// Rows or columns of the input, by the number of kernel rows or columns that meet them at an
/// output; those that none meets are in none.
type Lines = BTreeMap<usize, Vec<usize>>;

/// Elements of the input with equally many uses: some rows, each with some columns.
#[derive(Clone, Copy)]
struct Part<'a> {
    /// Kernel taps that reach an output.
    taps: usize,
    rows: &'a [usize],
    columns: &'a [usize],
}

impl Part<'_> {
    const fn spots(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

/// The trees of one digit of all elements of a part.
#[derive(Clone, Copy)]
struct Class<'a> {
    part: Part<'a>,
    /// Its number.
    number: usize,
    elements: usize,
    columns: usize,
    low: u32,
    width: u32,
    ring: Bits,
}

/// The public layout of a run.
struct Layout<'a> {
    layer: &'a Layer,
    images: usize,
    k: u32,
    /// The least shift of a channel: the products are needed in as many bits less.
    shift: u32,
    rows: Lines,
    columns: Lines,
}

impl<'a> Layout<'a> {
    fn new(layer: &'a Layer, images: usize, k: u8) -> Self {
        let shift =
            (0..layer.geometry.out_channels).map(|channel| layer.shift(channel)).min().unwrap_or(0);
        let g = &layer.geometry;
        let lines = |count: usize, meets: &dyn Fn(usize) -> usize| {
            let mut lines = Lines::new();
            (0..count).for_each(|line| lines.entry(meets(line)).or_default().push(line));
            lines.remove(&0);
            lines
        };
        let (rows, columns) =
            (lines(g.in_h, &|y| rows(g, y).count()), lines(g.in_w, &|x| columns(g, x).count()));
        Self { layer, images, k: u32::from(k), shift, rows, columns }
    }

    fn ring(&self) -> Bits {
        Bits::of(self.layer.ring.get() - self.shift)
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.rows.iter().flat_map(move |(down, rows)| {
            self.columns.iter().map(move |(across, columns)| Part {
                taps: down * across,
                rows,
                columns,
            })
        })
    }

    fn classes(&self) -> impl Iterator<Item = Class<'_>> {
        let (g, ring) = (&self.layer.geometry, self.ring().get());
        self.parts().enumerate().flat_map(move |(at, part)| {
            (0..ring).step_by(self.k as usize).map(move |low| Class {
                part,
                // No ring has more bits.
                number: 64 * at + low as usize,
                elements: g.in_channels * self.images * part.spots(),
                columns: g.out_channels / g.groups * part.taps,
                low,
                width: self.k.min(ring - low),
                ring: Bits::of(ring - low),
            })
        })
    }

    /// The transfers of all trees.
    fn levels(&self) -> usize {
        self.classes().map(|class| class.elements * class.width as usize).sum()
    }

    /// Channel, image, row and column of an element of a part.
    const fn place(&self, part: Part<'_>, element: usize) -> (usize, usize, (usize, usize)) {
        let (plane, spot) = (element / part.spots(), element % part.spots());
        let place = (part.rows[spot / part.columns.len()], part.columns[spot % part.columns.len()]);
        (plane / self.images, plane % self.images, place)
    }

    /// Where an element of the mask is.
    fn source(&self, part: Part<'_>, element: usize) -> usize {
        let (channel, image, (y, x)) = self.place(part, element);
        let g = &self.layer.geometry;
        ((channel * self.images + image) * g.in_h + y) * g.in_w + x
    }

    /// For every use of an element the weight and the output, in the order of the columns.
    fn uses(&self, part: Part<'_>, element: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let g = self.layer.geometry;
        let (channel, image, (y, x)) = self.place(part, element);
        let (inputs, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
        let (group, row) = (channel / inputs, channel % inputs * g.kernel_h * g.kernel_w);
        let images = self.images;
        (group * outputs..(group + 1) * outputs).flat_map(move |out| {
            rows(&g, y).flat_map(move |(ky, oy)| {
                columns(&g, x).map(move |(kx, ox)| {
                    let weight = out * g.fan_in() + row + ky * g.kernel_w + kx;
                    (weight, (out * images + image) * g.positions() + oy * g.out_w() + ox)
                })
            })
        })
    }
}

impl Class<'_> {
    /// Trees whose messages travel together.
    fn chunk(&self) -> usize {
        (LEAVES >> self.width).min(CORRECTIONS / self.columns.max(1)).max(1)
    }

    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (elements, chunk) = (self.elements, self.chunk());
        (0..elements).step_by(chunk).map(move |start| start..elements.min(start + chunk))
    }

    /// The owner's masked sums and leaves of the trees from `first` on, from their transfers,
    /// `[tree][level]`.
    fn own(
        &self,
        keys: &Keys,
        first: usize,
        transfers: &[Block],
        delta: Block,
    ) -> (Vec<Block>, Leaves) {
        let (depth, mut sums) = (self.width as usize, Vec::new());
        let mut leaves = Leaves::with_room_for(transfers.len() / depth, self.width);
        for run in self.runs(transfers.len() / depth) {
            let hash = keys.hash(self.number, first + run.start, 0);
            let transfers = &transfers[run.start * depth..run.end * depth];
            let roots: Vec<Block> = transfers.iter().step_by(depth).copied().collect();
            let roots = Zeroizing::new(roots);
            let others = transfers.chunks_exact(depth).flat_map(|tree| &tree[1..]);
            let own = ggm::owner_sums(&hash, &roots, delta, self.width);
            sums.extend(own.into_iter().zip(others).map(|(sum, key)| sum ^ *key));
            leaves.append(ggm::owner_leaves(&hash, &roots, delta, self.width));
        }
        (sums, leaves.ready())
    }

    /// The holder's leaves of the trees from `first` on, from their transfers and the owner's
    /// masked sums.
    fn hold(
        &self,
        keys: &Keys,
        first: usize,
        transfers: &[Block],
        holes: &[u32],
        sums: &[Block],
    ) -> Leaves {
        let depth = self.width as usize;
        let mut leaves = Leaves::with_room_for(holes.len(), self.width);
        for run in self.runs(holes.len()) {
            let hash = keys.hash(self.number, first + run.start, 0);
            let transfers = &transfers[run.start * depth..run.end * depth];
            let (sums, holes) =
                (&sums[run.start * (depth - 1)..run.end * (depth - 1)], &holes[run]);
            let of_first: Vec<Block> = transfers.iter().step_by(depth).copied().collect();
            let of_first = Zeroizing::new(of_first);
            let others = transfers.chunks_exact(depth).flat_map(|tree| &tree[1..]);
            let sums: Vec<Block> = others.zip(sums).map(|(key, sum)| *key ^ *sum).collect();
            let sums = Zeroizing::new(sums);
            let copaths =
                Zeroizing::new(ggm::holder_copaths(&hash, holes, &of_first, &sums, self.width));
            leaves.append(ggm::holder_leaves(&hash, holes, &copaths, self.width));
        }
        leaves.ready()
    }

    /// Runs of the trees of one chunk, of whole quads but for the last.
    fn runs(&self, trees: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        keys::runs(self.width, 0..trees).map(|(_, run)| run)
    }

    fn sums_len(&self, trees: usize) -> usize {
        trees * (self.width as usize - 1) * Block::BYTES
    }

    fn message_len(&self, trees: usize) -> usize {
        self.sums_len(trees) + self.ring.packed_len(trees * self.columns)
    }
}

/// Whether the layout of a layer is soon made: images and kernels within reason.
pub(super) const fn fits(geometry: &Geometry) -> bool {
    geometry.in_h.saturating_mul(geometry.kernel_h) <= 1 << 16
        && geometry.in_w.saturating_mul(geometry.kernel_w) <= 1 << 16
}

/// What a run moves.
pub(super) fn cost(layer: &Layer, images: usize, k: u8) -> Cost {
    let layout = Layout::new(layer, images, k);
    let levels = layout.levels();
    let sent = layout.classes().map(|class| {
        let message = |trees| Cost::message(Role::Server, class.message_len(trees));
        let (trees, chunk) = (class.elements, class.chunk());
        message(chunk) * (trees / chunk) as u64
            + if trees % chunk > 0 { message(trees % chunk) } else { Cost::ZERO }
    });
    let sent: Cost = sent.sum();
    let asked = Cost::message(Role::Client, Bits::ONE.packed_len(levels));
    asked + Cost::cots(Role::Server, levels as u64) + Cost { rounds: sent.rounds.min(1), ..sent }
}

/// How much there is to compute.
pub(super) fn work(layer: &Layer, images: usize, k: u8) -> Work {
    let layout = Layout::new(layer, images, k);
    let lanes = (128 / word_bits(layout.ring())) as usize;
    layout.classes().fold(Work::default(), |sum, class| {
        let leaves = (class.elements << class.width) as f64;
        Work {
            leaves: sum.leaves + leaves,
            blocks: sum.blocks + leaves * class.columns.div_ceil(lanes) as f64,
            corrections: sum.corrections + (class.elements * class.columns) as f64,
        }
    })
}

/// A party's share of weights times mask, `[channel][image][position]`, not reduced. The server
/// gives its weights, `[channel][fan-in]`, the client its mask.
pub(super) async fn run(
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
pub(super) enum Side<'a> {
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
    let levels = layout.levels();
    let SentCots { delta, mut keys } = session.take_sent(levels)?;
    let moved = session.channel.receive(Bits::ONE.packed_len(levels)).await?;
    let moved = BitString::from_bytes(&moved, levels);
    keys.iter_mut().zip(moved.iter()).for_each(|(key, bit)| *key ^= delta.masked(bit));
    let mut output = Output::new(layout);
    let mut at = 0;
    for class in layout.classes() {
        let depth = class.width as usize;
        for elements in class.chunks() {
            let keys = &keys[at..][..elements.len() * depth];
            at += keys.len();
            let (sums, leaves) = class.own(&run.trees, elements.start, keys, *delta);
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
    let transfers = session.take_received(levels)?;
    let holes = |class: &Class<'_>, elements: Range<usize>| -> Zeroizing<Vec<u32>> {
        let digit = |element| {
            (mask[layout.source(class.part, element)] >> class.low) as u32
                & ((1 << class.width) - 1)
        };
        Zeroizing::new(elements.map(digit).collect())
    };
    let wanted: BitString = layout
        .classes()
        .flat_map(|class| {
            let holes = holes(&class, 0..class.elements);
            let depth = class.width as usize;
            let wanted = move |at: usize| (holes[at / depth] >> (depth - 1 - at % depth)) & 1 == 0;
            (0..class.elements * depth).map(wanted)
        })
        .collect();
    session.channel.send(&wanted.xor(&transfers.choices()).to_bytes())?;
    let keys = Zeroizing::new(transfers.keys);
    let mut output = Output::new(layout);
    let mut at = 0;
    for class in layout.classes() {
        let depth = class.width as usize;
        for elements in class.chunks() {
            let keys = &keys[at..][..elements.len() * depth];
            at += keys.len();
            let message = session.channel.receive(class.message_len(elements.len())).await?;
            let (sums, corrections) = message.split_at(class.sums_len(elements.len()));
            let holes = holes(&class, elements.clone());
            let leaves = class.hold(&run.trees, elements.start, keys, &holes, &Block::unpack(sums));
            let mut expanded = Expanded::<W>::new(&class, &run.leaves, elements.start, &leaves);
            expanded.correct(&class, &holes, corrections);
            output.join(&class, elements, &expanded.weighted);
        }
    }
    Ok(output.values)
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
        let place = class.low + self.layout.shift;
        for (element, products) in elements.zip(products.chunks_exact(class.columns)) {
            for ((_, output), product) in self.layout.uses(class.part, element).zip(products) {
                let product: u64 = (*product).into();
                self.values[output] = self.values[output].wrapping_add(product << place);
            }
        }
    }
}

/// What belongs to all bits of a digit, with their place values, of what belongs to each,
/// `[quad][bit]`.
fn weigh<W: Word>(bits: &[Quad], depth: usize) -> Vec<Quad> {
    let mut weighted = vec![Quad::ZERO; bits.len() / depth];
    for (digit, bits) in weighted.iter_mut().zip(bits.chunks_exact(depth)) {
        let digit: &mut [W] = cast_slice_mut(std::slice::from_mut(digit));
        for (level, bit) in bits.iter().enumerate() {
            let words: &[W] = cast_slice(std::slice::from_ref(bit));
            digit
                .iter_mut()
                .zip(words)
                .for_each(|(sum, word)| *sum = sum.wrapping_add(&(*word << level)));
        }
    }
    weighted
}

/// Sums and digit-weighted sums of the leaves of some trees, `[tree][column]`.
struct Expanded<W> {
    sums: Vec<W>,
    weighted: Vec<W>,
}

impl<W: Word> Expanded<W> {
    /// Of the trees from `first` on.
    fn new(class: &Class<'_>, keys: &Keys, first: usize, leaves: &Leaves) -> Self {
        let quads = leaves.quads().len() >> class.width;
        let (blocks, depth) = (class.columns.div_ceil(W::LANES), class.width as usize);
        let runs = Allotment::default().runs(class.width, quads, quads);
        let of_block = |block: usize| -> [Vec<Quad>; 2] {
            let (mut sums, mut bits) = (vec![Quad::ZERO; quads], vec![Quad::ZERO; quads * depth]);
            for run in &runs {
                let (quads, slots) =
                    (run.quads.clone(), run.quads.start * depth..run.quads.end * depth);
                let leaves = &leaves.quads()[quads.start << depth..quads.end << depth];
                let of = Expansion { depth, trees: 4 * quads.len(), leaves, holes: None };
                let hash = keys.hash(class.number, first + run.key, block);
                hash.bit_sums::<W>(of, &mut sums[quads], &mut bits[slots]);
            }
            [sums, weigh::<W>(&bits, depth)]
        };
        let each: Vec<[Vec<Quad>; 2]> = (0..blocks).into_par_iter().map(of_block).collect();
        let gather = |which: usize| {
            let blocks: Vec<&[W]> = each.iter().map(|pair| cast_slice(&pair[which])).collect();
            let tree = |tree: usize| {
                let lanes =
                    blocks.iter().flat_map(move |block| &block[tree * W::LANES..][..W::LANES]);
                lanes.take(class.columns).copied()
            };
            (0..4 * quads).flat_map(tree).collect()
        };
        Self { sums: gather(0), weighted: gather(1) }
    }

    /// The server's corrections `w - u` of some elements, packed.
    fn corrections(
        &self,
        layout: &Layout<'_>,
        class: &Class<'_>,
        elements: Range<usize>,
        weights: &[i8],
    ) -> Vec<u8> {
        let (count, outputs) =
            (elements.len() * class.columns, layout.images * layout.layer.geometry.positions());
        let values = elements.flat_map(|element| layout.uses(class.part, element)).zip(&self.sums);
        let values = values.map(|((weight, output), sum)| {
            let shift = layout.layer.shift(output / outputs) - layout.shift;
            let weight = (i64::from(weights[weight]) as u64) << shift;
            let sum: u64 = (*sum).into();
            weight.wrapping_sub(sum)
        });
        class.ring.pack_from(count, values)
    }

    /// The client's products `q (c + S) - V`, in the place of `V`.
    fn correct(&mut self, class: &Class<'_>, holes: &[u32], corrections: &[u8]) {
        let corrections = class.ring.unpack(corrections, holes.len() * class.columns);
        let trees = self
            .weighted
            .chunks_exact_mut(class.columns)
            .zip(self.sums.chunks_exact(class.columns));
        for ((hole, corrections), (weighted, sums)) in
            holes.iter().zip(corrections.chunks_exact(class.columns)).zip(trees)
        {
            let factor = W::truncate(u64::from(*hole));
            for ((slot, sum), correction) in weighted.iter_mut().zip(sums).zip(corrections) {
                let known = sum.wrapping_add(&W::truncate(*correction));
                *slot = known.wrapping_mul(&factor).wrapping_sub(slot);
            }
        }
    }
}

/// The kernel rows that an input row meets, and the output rows there.
fn rows(g: &Geometry, y: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
    meets(y + g.pad_top, g.kernel_h, g.dilation_h, g.stride_h, g.out_h())
}

/// The kernel columns that an input column meets, and the output columns there.
fn columns(g: &Geometry, x: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
    meets(x + g.pad_left, g.kernel_w, g.dilation_w, g.stride_w, g.out_w())
}

fn meets(
    at: usize,
    kernel: usize,
    dilation: usize,
    stride: usize,
    outputs: usize,
) -> impl Iterator<Item = (usize, usize)> {
    (0..kernel).filter_map(move |tap| {
        let start = at.checked_sub(tap * dilation)?;
        let output = start / stride;
        (start.is_multiple_of(stride) && output < outputs).then_some((tap, output))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linear::testing::any_geometry;
    use crate::linear::{Algorithm, Protocol};

    #[test]
    fn the_price_is_that_of_the_head_of_this_file() {
        let layer = Layer {
            geometry: Geometry::dense(64, 10),
            weight_bits: 4,
            shifts: Vec::new(),
            ring: Bits::of(14),
            algorithm: Algorithm::Direct,
            protocol: Protocol::VoleOfMask { k: 8 },
        };
        let cost = layer.setup_cost() + cost(&layer, 1, 8);
        // Digits of 8 and 6 bits, needed modulo 2^14 and 2^6.
        let (levels, corrections) = (7 + 5, 10 * (14 + 6));
        assert_eq!((cost.server_cots, cost.client_cots, cost.rounds), (64 * 14, 0, 2));
        assert_eq!(8 * cost.client_bytes, 64 * 14 + 12 * 8);
        // A chunk of 32 trees of 256 leaves twice, one of 64 trees of 64.
        assert_eq!(8 * cost.server_bytes, 64 * (128 * levels + corrections) + 3 * 12 * 8);
    }

    proptest! {
        #[test]
        fn every_multiplication_that_is_not_with_padding_is_one_use(
            geometry in any_geometry(),
            images in 1usize..3,
        ) {
            let g = &geometry;
            let layer = Layer {
                geometry,
                weight_bits: 2,
                shifts: Vec::new(),
                ring: Bits::of(4),
                algorithm: Algorithm::Direct,
                protocol: Protocol::VoleOfMask { k: 4 },
            };
            let layout = Layout::new(&layer, images, 4);
            let mut found = Vec::new();
            for part in layout.parts() {
                let elements = g.in_channels * images * part.spots();
                for element in 0..elements {
                    let uses: Vec<_> = layout.uses(part, element).collect();
                    prop_assert_eq!(uses.len(), g.out_channels / g.groups * part.taps);
                    let source = layout.source(part, element);
                    found.extend(uses.into_iter().map(|(weight, output)| (source, weight, output)));
                }
            }
            let input: Vec<usize> = (1..=g.in_channels * images * g.in_h * g.in_w).collect();
            let (mut row, mut expected) = (vec![0; images * g.positions()], Vec::new());
            let rows = (0..g.groups).flat_map(|group| (0..g.fan_in()).map(move |r| (group, r)));
            for (group, r) in rows {
                crate::linear::im2col_row(g, images, group, r, &input, &mut row);
                let outputs = g.out_channels / g.groups;
                for out in group * outputs..(group + 1) * outputs {
                    let columns = row.iter().enumerate().filter(|(_, source)| **source > 0);
                    expected.extend(columns.map(|(column, source)| {
                        (source - 1, out * g.fan_in() + r, out * images * g.positions() + column)
                    }));
                }
            }
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
