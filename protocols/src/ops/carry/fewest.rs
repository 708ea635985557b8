//! The network of the fewest bits within an AND depth.
//!
//! The carry ripples from the lowest bit upwards: a step adds a digit of one bit, or a block
//! ([`super::block`]) that was told while the carry was under way. What lies above the kept bits is
//! a function of the carry c2 into it ([`UpperBlock`]); where there is depth enough, its lower
//! digits are cheaper as steps of the ripple, each with a flag of its zero. Dynamic programs find
//! the cheapest ripple and the cheapest end of it.
//!
//! Where the depth is small, what is wanted of c2 = g xor t c1 is multiplied by g and by t beside
//! c1, and only then by c1: one level less.

use std::collections::HashMap;

use super::block::{Carries, UpperBlock, above_bits, carries_bits};
use super::chain::{ripple_and_zero, step};
use super::circuit::{Circuit, Wire, ands};
use super::leaf::{self, Flag};
use super::{Decision, MAX_DIGIT, Network, Parts};

/// Widest block of a ripple.
const WIDEST: u32 = 32;

/// The network within `and_depth`, or else within as few as there can be.
pub(super) fn network(parts: Parts, and_depth: u32, kept_wrap: bool) -> Network {
    // with a level a bit, more gain nothing
    let and_depth = and_depth.min(parts.dropped + parts.kept + parts.saturating + 3);
    let found = (and_depth as usize..).find_map(|and_depth| {
        let ripple = Ripple::new(parts, and_depth);
        let ways = [
            direct(parts, &ripple, and_depth, kept_wrap),
            beside(parts, &ripple, and_depth, kept_wrap),
        ];
        ways.into_iter().flatten().min_by_key(|network| network.circuit.bits())
    });
    found.expect("invariant: every network is of fewer and_depth than bits")
}

/// The last step to a carry, and the bits of the whole way.
#[derive(Clone, Copy)]
struct Step {
    bits: u32,
    width: u32,
    /// Whether no carry comes in.
    first: bool,
}

/// The cheapest carries out of the first bits, by their number and level.
struct Ripple(Vec<Vec<Option<Step>>>);

impl Ripple {
    /// Over the dropped and the kept bits, with a step that ends between them.
    fn new(Parts { dropped, kept, .. }: Parts, and_depth: usize) -> Self {
        let mut steps: Vec<Vec<Option<Step>>> = vec![vec![None; and_depth + 1]];
        for end in 1..=dropped + kept {
            // No step goes across the border of dropped and kept bits: the carry there is wanted
            // for itself.
            let start = if end > dropped { dropped } else { 0 };
            let alone = Some(end).filter(|_| start == 0 && end <= MAX_DIGIT);
            let alone = alone.map(|width| Step { bits: leaf::bits(width, 1), width, first: true });
            let row = (0..=and_depth).map(|level| {
                let longest = (end - start).min(WIDEST);
                // The carry before the step and the block of the step are both known one level
                // earlier; one AND joins them.
                let stepped = (1..=longest).filter(|_| level > 0).filter_map(|width| {
                    let before = steps[(end - width) as usize][level - 1]?.bits;
                    let own = if width == 1 { 0 } else { carries_bits(width, level - 1)? };
                    Some(Step { bits: before + own + ands(1), width, first: false })
                });
                alone.into_iter().chain(stepped).min_by_key(|step| step.bits)
            });
            let row = row.collect();
            steps.push(row);
        }
        Self(steps)
    }

    fn bits(&self, end: u32, level: usize) -> Option<u32> {
        self.0[end as usize].get(level)?.map(|step| step.bits)
    }

    /// The carry out of the first `end` bits, and the one out of the first `noted`.
    fn build(
        &self,
        circuit: &mut Circuit,
        end: u32,
        level: usize,
        noted: u32,
    ) -> (Wire, Option<Wire>) {
        let Step { width, first, .. } =
            self.0[end as usize][level].expect("invariant: the caller has chosen for the price");
        let at = end - width;
        let (carry, noticed) = if first {
            let [carry] = circuit.digit(at, width, &[Flag::Carry]);
            (carry, None)
        } else {
            let (carry, noticed) = self.build(circuit, at, level - 1, noted);
            (step(circuit, at, width, level - 1, carry), noticed)
        };
        (carry, noticed.or((end == noted).then_some(carry)))
    }
}

/// The ripple to c2, and from there on.
fn direct(parts: Parts, ripple: &Ripple, and_depth: usize, kept_wrap: bool) -> Option<Network> {
    let Parts { dropped, kept, saturating } = parts;
    let mut ends = Tails { and_depth, kept_wrap, known: HashMap::new() };
    let whole = (0..=and_depth).filter_map(|level| {
        let (bits, _) = ends.cheapest(Tail::new(saturating, level))?;
        Some((ripple.bits(dropped + kept, level)? + bits, level))
    });
    let (_, level) = whole.min()?;

    let circuit = &mut Circuit::default();
    let (wrap, rounding) = ripple.build(circuit, dropped + kept, level, dropped);
    let (mut end, mut at) = (Tail::new(saturating, level), dropped + kept);
    let (mut last, mut zeros) = (wrap, Vec::new());
    // `last` is the carry into bit `at`, and `zeros` says of every digit rippled over whether the
    // sum's is zero.
    while let Some((_, Some(width))) = ends.cheapest(end) {
        let (carry, zero) = ripple_and_zero(circuit, at, width, last);
        last = carry;
        zeros.push(zero);
        (end, at) = (end.after(width), at + width);
    }
    let above = UpperBlock::build(circuit, at, end.width, end.above(and_depth, kept_wrap)?);
    let (mut keep, positive) = match end.width {
        0 => {
            let positive = circuit.xor(above.positive, last);
            (positive, positive)
        }
        _ => {
            let (changed, flipped) =
                (circuit.and(last, above.changes), circuit.and(last, above.flips));
            (circuit.xor(above.zero, changed), circuit.xor(above.positive, flipped))
        }
    };
    let alone = zeros.is_empty();
    zeros.push(keep);
    keep = circuit.product(zeros)?;
    let kept_wrap = kept_wrap
        .then(|| if alone { circuit.and(last, above.ones) } else { circuit.and(wrap, keep) });
    let saturated = (saturating > 0).then(|| circuit.xor(positive, keep));
    let decision = Decision { rounding, wrap: Some(wrap), kept_wrap, keep, saturated };
    Some(Network { circuit: std::mem::take(circuit), decision })
}

/// The products with g and t beside the ripple to c1.
fn beside(parts: Parts, ripple: &Ripple, and_depth: usize, kept_wrap: bool) -> Option<Network> {
    let Parts { dropped, kept, saturating } = parts;
    // Blocks are finished two levels early: one is for the products with g and t, one for those
    // with c1.
    let early = and_depth.checked_sub(2)?;
    let possible = carries_bits(kept, early).is_some()
        && above_bits(saturating, early).is_some()
        && ripple.bits(dropped, and_depth - 1).is_some();
    if !possible || (saturating == 0 && !kept_wrap) {
        return None;
    }
    let circuit = &mut Circuit::default();
    let (rounding, _) = ripple.build(circuit, dropped, and_depth - 1, dropped);
    let own = Carries::build(circuit, dropped, kept, early);
    let above = UpperBlock::build(circuit, dropped + kept, saturating, early);
    let needed = saturating == 0 || !kept_wrap;
    let wrap = needed.then(|| own.out(circuit, rounding));
    let kept_wrap = kept_wrap.then(|| own.out_times(circuit, rounding, above.ones));
    let (keep, saturated) = if saturating > 0 {
        let changed = own.out_times(circuit, rounding, above.changes);
        let flipped = own.out_times(circuit, rounding, above.flips);
        let keep = circuit.xor(above.zero, changed);
        let positive = circuit.xor(above.positive, flipped);
        (keep, Some(circuit.xor(positive, keep)))
    } else {
        (circuit.xor(above.positive, wrap?), None)
    };
    let decision = Decision { rounding: Some(rounding), wrap, kept_wrap, keep, saturated };
    Some(Network { circuit: std::mem::take(circuit), decision })
}

/// What is left of the ripple behind c2: saturating bits, the level of the carry into them, and how
/// much deeper or not the product of the zeros so far is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Tail {
    width: u32,
    level: usize,
    zeros: Option<i8>,
}

impl Tail {
    /// Of all saturating bits, behind the carry into them.
    const fn new(width: u32, level: usize) -> Self {
        Self { width, level, zeros: None }
    }

    /// Behind a digit that the carry ripples over.
    fn after(self, width: u32) -> Self {
        // relative to the new carry, its zero is one level before where the digit is a bit
        let own = if width == 1 { -1 } else { 0 };
        let zeros = self.zeros.map_or(own, |zeros| (zeros - 1).max(own) + 1);
        Self { width: self.width - width, level: self.level + 1, zeros: Some(zeros) }
    }

    /// The level of the product of the zeros so far.
    fn product(self) -> usize {
        self.zeros.map_or(0, |zeros| self.level.saturating_add_signed(zeros.into()))
    }

    /// Levels that are left for the carry and what lies above, before the last ANDs.
    fn above(self, and_depth: usize, kept_wrap: bool) -> Option<usize> {
        let product =
            if self.zeros.is_some() || self.width == 0 { usize::from(kept_wrap) } else { 0 };
        and_depth
            .checked_sub(product + usize::from(self.zeros.is_some()) + usize::from(self.width > 0))
    }
}

/// The cheapest ends.
struct Tails {
    and_depth: usize,
    kept_wrap: bool,
    known: HashMap<Tail, Option<(u32, Option<u32>)>>,
}

impl Tails {
    /// Its bits, and the width of the next digit that the carry ripples over, if it does.
    fn cheapest(&mut self, end: Tail) -> Option<(u32, Option<u32>)> {
        if let Some(known) = self.known.get(&end) {
            return *known;
        }
        let mut best = self.last(end).map(|bits| (bits, None));
        let widest = if end.level < self.and_depth { end.width.min(MAX_DIGIT) } else { 0 };
        for width in 1..=widest {
            let flags = if width == 1 { ands(1) } else { leaf::bits(width, 3) + ands(2) };
            let product = if end.zeros.is_some() { ands(1) } else { 0 };
            let Some((rest, _)) = self.cheapest(end.after(width)) else { continue };
            let bits = flags + product + rest;
            if best.is_none_or(|(least, _)| bits < least) {
                best = Some((bits, Some(width)));
            }
        }
        self.known.insert(end, best);
        best
    }

    /// The bits of an end without a further digit.
    fn last(&self, end: Tail) -> Option<u32> {
        let within = end.above(self.and_depth, self.kept_wrap)?;
        let product = if end.width > 0 { within + 1 } else { within };
        if end.level > within || (end.zeros.is_some() && end.product() > product) {
            return None;
        }
        // The carry with `changes` and with `flips` is one group of two ANDs. Without saturating
        // bits the top bit takes none.
        let wanted = if end.width > 0 { ands(2) } else { 0 };
        // For the wrap that is kept: a third AND of the carry's group, or an AND of its own. With
        // zeros, one AND more joins them and `keep`.
        let (kept, product) = match end.zeros {
            Some(_) => (ands(1), ands(1)),
            None if end.width > 0 => (ands(3) - ands(2), 0),
            None => (ands(1), 0),
        };
        Some(
            above_bits(end.width, within)?
                + wanted
                + product
                + if self.kept_wrap { kept } else { 0 },
        )
    }
}
