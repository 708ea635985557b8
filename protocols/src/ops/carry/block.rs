//! Blocks: what neighboring digits do to a carry, told before the carry is known.
//!
//! Of all ways to build a block within an AND depth, the one of the fewest bits, by a table of them
//! all.

use std::sync::LazyLock;

use super::MAX_DIGIT;
use super::circuit::{Circuit, Wire, ands};
use super::leaf::{Flag, bits as leaf_bits};

/// Widest block.
const WIDEST: usize = 63;
/// Levels that bring a block of any width together; more gain nothing.
const DEEPEST: usize = 6;

/// How a block comes about.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// An OT of the flags.
    Leaf,
    /// Flags of the bits, and two ANDs: of the uppermost blocks alone.
    Early,
    /// From a lower block of some bits, and an upper one.
    Join(u32),
}

/// The fewest bits, and the way to them.
type Best = Option<(u32, Way)>;

/// By width and AND depth.
type Rows = Vec<[Best; DEEPEST + 1]>;

/// All blocks.
struct Tables {
    carries: Rows,
    lower: Rows,
    above: Rows,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut tables = Tables { carries: Vec::new(), lower: Vec::new(), above: Vec::new() };
    for width in 0..=WIDEST as u32 {
        let mut rows = [[None; DEEPEST + 1]; 3];
        for and_depth in 0..=DEEPEST {
            let [carries, lower, above] = &mut rows;
            carries[and_depth] = tables.carries(width, and_depth);
            lower[and_depth] = tables.lower(width, and_depth);
            above[and_depth] = tables.above(width, and_depth);
        }
        let [carries, lower, above] = rows;
        tables.carries.push(carries);
        tables.lower.push(lower);
        tables.above.push(above);
    }
    tables
});

fn bits(rows: &Rows, width: u32, and_depth: usize) -> Option<u32> {
    rows[width as usize][and_depth].map(|(bits, _)| bits)
}

impl Tables {
    fn carries(&self, width: u32, and_depth: usize) -> Best {
        let alone = flags(width, 2).map(|bits| (bits, Way::Leaf));
        // A join is `t' g` and `t' t`, which share `t'`.
        joined([&self.carries; 2], width, and_depth, alone, ands(2))
    }

    fn lower(&self, width: u32, and_depth: usize) -> Best {
        let alone = flags(width, 4).map(|bits| (bits, Way::Leaf));
        // A join is two products with the lower block's `nothing`, and three with the upper one's
        // t.
        joined([&self.lower; 2], width, and_depth, alone, ands(2) + ands(3))
    }

    fn above(&self, width: u32, and_depth: usize) -> Best {
        if width == 0 {
            return Some((0, Way::Leaf));
        }
        // A leaf is one OT of z and t with the top bit, and one of g and t without it; it
        // takes no level.
        let leaf =
            flags(width, 2).filter(|_| width < MAX_DIGIT).map(|own| leaf_bits(width + 1, 2) + own);
        let early = flags(width, 3).filter(|_| and_depth > 0).map(|own| own + 2 * ands(1));
        let ways = [leaf.map(|bits| (bits, Way::Leaf)), early.map(|bits| (bits, Way::Early))];
        let alone = ways.into_iter().flatten().min_by_key(|(bits, _)| *bits);
        // A join is one product with `zero`, two with `ones` and two with `flips`.
        joined([&self.lower, &self.above], width, and_depth, alone, ands(1) + 2 * ands(2))
    }
}

/// An OT of some flags of a digit; those of a digit of one bit follow from one of them.
fn flags(width: u32, flags: u32) -> Option<u32> {
    match width {
        1 => Some(leaf_bits(1, 1)),
        2..=MAX_DIGIT => Some(leaf_bits(width, flags)),
        _ => None,
    }
}

/// A block of its own, or of a lower and an upper one that some ANDs bring together.
fn joined(
    [lower, upper]: [&Rows; 2],
    width: u32,
    and_depth: usize,
    alone: Best,
    ands: u32,
) -> Best {
    let joins = (1..width).filter(|_| and_depth > 0).filter_map(|low| {
        let parts = bits(lower, low, and_depth - 1)? + bits(upper, width - low, and_depth - 1)?;
        Some((parts + ands, Way::Join(low)))
    });
    alone.into_iter().chain(joins).min_by_key(|(bits, _)| *bits)
}

/// The fewest bits of [`Carries::build`] within an AND depth.
pub(super) fn carries_bits(width: u32, and_depth: usize) -> Option<u32> {
    bits(&TABLES.carries, width, and_depth.min(DEEPEST))
}

/// The fewest bits of [`UpperBlock::build`] within an AND depth.
pub(super) fn above_bits(width: u32, and_depth: usize) -> Option<u32> {
    bits(&TABLES.above, width, and_depth.min(DEEPEST))
}

fn way(rows: &Rows, width: u32, and_depth: usize) -> Way {
    rows[width as usize][and_depth].expect("invariant: the caller has chosen for the price").1
}

/// `g`: the block carries; `t`: it propagates a carry on.
#[derive(Clone, Copy)]
pub(super) struct Carries {
    pub g: Wire,
    pub t: Wire,
}

impl Carries {
    /// Of `width` bits from `at` on, within an AND depth.
    pub(super) fn build(circuit: &mut Circuit, at: u32, width: u32, and_depth: usize) -> Self {
        let and_depth = and_depth.min(DEEPEST);
        match way(&TABLES.carries, width, and_depth) {
            Way::Join(low) => {
                let lower = Self::build(circuit, at, low, and_depth - 1);
                let upper = Self::build(circuit, at + low, width - low, and_depth - 1);
                lower.join(circuit, upper)
            }
            _ if width == 1 => {
                let [g] = circuit.digit(at, 1, &[Flag::Carry]);
                Self { g, t: circuit.both(at) }
            }
            Way::Leaf | Way::Early => {
                let [g, t] = circuit.digit(at, width, &[Flag::Carry, Flag::Propagate]);
                Self { g, t }
            }
        }
    }

    /// The product of the carry out of the block with `wanted`: `g wanted xor c (t wanted)`. Only
    /// the last product waits for the carry that comes in.
    pub(super) fn out_times(self, circuit: &mut Circuit, carry: Wire, wanted: Wire) -> Wire {
        let (carried, passed) = (circuit.and(self.g, wanted), circuit.and(self.t, wanted));
        let passed = circuit.and(carry, passed);
        circuit.xor(carried, passed)
    }

    /// The carry out of the block, given the one that comes in.
    pub(super) fn out(self, circuit: &mut Circuit, carry: Wire) -> Wire {
        let passed = circuit.and(carry, self.t);
        circuit.xor(self.g, passed)
    }

    fn join(self, circuit: &mut Circuit, upper: Self) -> Self {
        // The upper block carries on its own, or propagates on what the lower one carries: never
        // both.
        let (passed, t) = (circuit.and(upper.t, self.g), circuit.and(upper.t, self.t));
        Self { g: circuit.xor(upper.g, passed), t }
    }
}

/// Of digits below the top: also whether their sum is 0, and whether it is the power of two that
/// carries and leaves zero.
#[derive(Clone, Copy)]
struct LowerBlock {
    carries: Carries,
    nothing: Wire,
    full: Wire,
}

impl LowerBlock {
    fn build(circuit: &mut Circuit, at: u32, width: u32, and_depth: usize) -> Self {
        match way(&TABLES.lower, width, and_depth) {
            Way::Join(low) => {
                let lower = Self::build(circuit, at, low, and_depth - 1);
                let upper = Self::build(circuit, at + low, width - low, and_depth - 1);
                lower.join(circuit, upper)
            }
            _ if width == 1 => {
                // two bits whose sum is 2 where it carries, 1 where it propagates, else 0
                let carries = Carries::build(circuit, at, 1, 0);
                let some = circuit.xor(carries.g, carries.t);
                Self { carries, nothing: circuit.not(some), full: carries.g }
            }
            Way::Leaf | Way::Early => {
                let flags = &[Flag::Carry, Flag::Propagate, Flag::Nothing, Flag::Full];
                let [g, t, nothing, full] = circuit.digit(at, width, flags);
                Self { carries: Carries { g, t }, nothing, full }
            }
        }
    }

    fn join(self, circuit: &mut Circuit, upper: Self) -> Self {
        let nothing = circuit.and(self.nothing, upper.nothing);
        // The sum is the power of two: nothing below and the upper one full, or full below and the
        // upper one all ones.
        let (from_nothing, from_full) =
            (circuit.and(self.nothing, upper.full), circuit.and(upper.carries.t, self.full));
        let full = circuit.xor(from_nothing, from_full);
        Self { carries: self.carries.join(circuit, upper.carries), nothing, full }
    }
}

/// All bits above the kept ones with the top bit, as functions of the carry c that comes in: they
/// are zero where `zero xor c changes`, with `changes = zero xor ones`, and their top bit is 0
/// where `positive xor c flips`.
///
/// Of one digit with the top bit, `zero` and `ones` are flags z and t of all its bits, `positive =
/// not (top xor g)` and `flips = t` are those of the bits below the top; or, from the flags of
/// those bits alone, `zero = z positive` and `ones = t top`. A digit below with sum s adds: `zero =
/// [s = 0] zero' xor [s = 2^w] ones'`, `ones = t ones'`, `positive = positive' xor g flips'`,
/// `flips = t flips'`.
#[derive(Clone, Copy)]
pub(super) struct UpperBlock {
    pub zero: Wire,
    pub ones: Wire,
    pub changes: Wire,
    pub positive: Wire,
    pub flips: Wire,
}

impl UpperBlock {
    fn new(circuit: &mut Circuit, [zero, ones]: [Wire; 2], positive: Wire, flips: Wire) -> Self {
        Self { zero, ones, changes: circuit.xor(zero, ones), positive, flips }
    }

    /// Of `width` saturating bits from `at` on and the top one, within an AND depth.
    pub(super) fn build(circuit: &mut Circuit, at: u32, width: u32, and_depth: usize) -> Self {
        let and_depth = and_depth.min(DEEPEST);
        if width == 0 {
            let top = circuit.both(at);
            let not = circuit.not(top);
            return Self::new(circuit, [not, top], not, top);
        }
        let way = way(&TABLES.above, width, and_depth);
        if let Way::Join(low) = way {
            let lower = LowerBlock::build(circuit, at, low, and_depth - 1);
            let above = Self::build(circuit, at + low, width - low, and_depth - 1);
            return above.behind(circuit, lower);
        }
        let top = circuit.both(at + width);
        if let Way::Early = way {
            let (Carries { g, t }, zero) = with_zero(circuit, at, width);
            let positive = positive(circuit, top, g);
            // Without a carry all bits are zero where the digit and the top bit are. With one, they
            // are where all below are ones and the top bits differ.
            let zero = [circuit.and(zero, positive), circuit.and(t, top)];
            return Self::new(circuit, zero, positive, t);
        }
        let zero = circuit.digit(at, width + 1, &[Flag::Zero, Flag::Propagate]);
        let Carries { g, t } = Carries::build(circuit, at, width, 0);
        let positive = positive(circuit, top, g);
        Self::new(circuit, zero, positive, t)
    }

    fn behind(self, circuit: &mut Circuit, lower: LowerBlock) -> Self {
        let LowerBlock { carries: Carries { g, t }, nothing, full } = lower;
        let (from_nothing, from_full) =
            (circuit.and(self.zero, nothing), circuit.and(self.ones, full));
        let zero = [circuit.xor(from_nothing, from_full), circuit.and(self.ones, t)];
        let (flips, flipped) = (circuit.and(self.flips, t), circuit.and(self.flips, g));
        let positive = circuit.xor(self.positive, flipped);
        Self::new(circuit, zero, positive, flips)
    }
}

/// Whether a sum is positive: the top bits' sum, and the carry into it.
fn positive(circuit: &mut Circuit, top: Wire, carry: Wire) -> Wire {
    let negative = circuit.xor(top, carry);
    circuit.not(negative)
}

/// A digit's flags with that of zero.
pub(super) fn with_zero(circuit: &mut Circuit, at: u32, width: u32) -> (Carries, Wire) {
    if width == 1 {
        let carries = Carries::build(circuit, at, 1, 0);
        return (carries, circuit.not(carries.t));
    }
    let [g, t, zero] = circuit.digit(at, width, &[Flag::Carry, Flag::Propagate, Flag::Zero]);
    (Carries { g, t }, zero)
}
