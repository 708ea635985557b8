//! Trees: neighbouring digits are combined pair by pair, at the fewest levels.
//!
//! What lies above the kept bits is a function of the carry c2 into it: with carry c it is zero where
//! `zero_0 xor c (zero_0 xor zero_1)`, and its top bit is 0 where `positive_0 xor c flips`. Of one digit with the top bit,
//! `zero_0` and `zero_1` are flags z and t of all its bits, `positive_0 = not (top xor g)` and `flips = t` are those of the
//! bits below the top. A digit below with sum s adds: `zero_0 = [s = 0] zero_0' xor [s = 2^w] zero_1'`, `zero_1 = t zero_1'`,
//! `positive_0 = positive_0' xor g flips'`, `flips = t flips'`.
//!
//! Where the carry into the kept bits is as deep as their own flags, what is wanted of c2 = g xor t c1 is multiplied by g
//! and by t beside it, and only then by c1: one level less.

use super::circuit::{Circuit, Wire};
use super::leaf::Flag;
use super::{Decision, MAX_DIGIT, Parts, chain::cut};

/// Flags of some digits together.
#[derive(Clone, Copy)]
struct Carries {
    g: Wire,
    t: Wire,
}

/// Of digits below the top: also whether their sum is 0, and whether it is the power of two that carries and leaves zero.
#[derive(Clone, Copy)]
struct Lower {
    carries: Carries,
    nothing: Wire,
    full: Wire,
}

/// All bits above the kept ones, by the carry that comes in.
#[derive(Clone, Copy)]
struct Above {
    zero: [Wire; 2],
    positive: Wire,
    flips: Wire,
}

pub(super) fn decide(circuit: &mut Circuit, parts: Parts, kept_wrap: bool) -> Decision {
    let Parts { dropped, kept, saturating, digit } = parts;
    let rounding = (dropped > 0).then(|| lowest(circuit, 0, dropped, digit));
    let above = above(circuit, dropped + kept, saturating, digit);
    let mut wanted = Vec::new();
    if saturating > 0 {
        wanted.extend([circuit.xor(above.zero[0], above.zero[1]), above.flips]);
    }
    wanted.extend(kept_wrap.then_some(above.zero[1]));
    let own = (dropped, kept, digit);
    let (wrap, mut products) = times_wrap(circuit, rounding, own, &wanted, !kept_wrap || saturating == 0);
    let kept_wrap = if kept_wrap { products.pop() } else { None };
    let (keep, saturated) = match (products[..].first(), products.get(1), wrap) {
        (Some(&changed), Some(&flipped), _) => {
            let keep = circuit.xor(above.zero[0], changed);
            let positive = circuit.xor(above.positive, flipped);
            (keep, Some(circuit.xor(positive, keep)))
        }
        (_, _, Some(wrap)) => (circuit.xor(above.positive, wrap), None),
        _ => unreachable!("invariant: the wrap is told where nothing saturates"),
    };
    Decision { rounding, wrap, kept_wrap, keep, saturated }
}

/// The carry c2 out of the kept bits, where it is needed or comes for nothing, and its products with what is wanted.
fn times_wrap(
    circuit: &mut Circuit,
    rounding: Option<Wire>,
    (dropped, kept, digit): (u32, u32, u32),
    wanted: &[Wire],
    needed: bool,
) -> (Option<Wire>, Vec<Wire>) {
    let all = |circuit: &mut Circuit, shared: Wire| -> Vec<Wire> {
        wanted.iter().map(|&want| circuit.and(shared, want)).collect()
    };
    let Some(carry) = rounding else {
        let wrap = lowest(circuit, dropped, kept, digit);
        let products = all(circuit, wrap);
        return (Some(wrap), products);
    };
    let digits: Vec<Carries> =
        cut(dropped, kept, digit).map(|(at, width)| carries(circuit, at, width)).collect();
    let Carries { g, t } = combine(circuit, &digits);
    let deepest = wanted.iter().map(|&want| circuit.level(want)).max().unwrap_or(0);
    let own = circuit.level(g).max(circuit.level(t));
    let beside = circuit.level(carry).max(1 + own.max(deepest));
    let after = (1 + circuit.level(carry).max(own)).max(deepest);
    let direct = after <= beside || wanted.is_empty();
    let wrap = (direct || needed).then(|| {
        let passed = circuit.and(carry, t);
        circuit.xor(g, passed)
    });
    if let (true, Some(wrap)) = (direct, wrap) {
        return (Some(wrap), all(circuit, wrap));
    }
    let (carried, passed) = (all(circuit, g), all(circuit, t));
    let products = carried.into_iter().zip(passed).map(|(carried, passed)| {
        let passed = circuit.and(carry, passed);
        circuit.xor(carried, passed)
    });
    let products = products.collect();
    (wrap, products)
}

/// The carry out of some bits into which none comes.
fn lowest(circuit: &mut Circuit, at: u32, bits: u32, widest: u32) -> Wire {
    let mut digits = cut(at, bits, widest);
    let Some((at, width)) = digits.next() else { unreachable!("invariant: there are bits") };
    let [first] = circuit.digit(at, width, &[Flag::Carry]);
    let later: Vec<Carries> = digits.map(|(at, width)| carries(circuit, at, width)).collect();
    carry_out(circuit, first, &later)
}

/// The carry out of digits into the lowest of which `carry` comes.
fn carry_out(circuit: &mut Circuit, carry: Wire, digits: &[Carries]) -> Wire {
    if digits.is_empty() {
        return carry;
    }
    // the carry counts as a digit of the lower half
    let lower = (digits.len() + 1).div_ceil(2) - 1;
    let carry = carry_out(circuit, carry, &digits[..lower]);
    let upper = combine(circuit, &digits[lower..]);
    let passed = circuit.and(carry, upper.t);
    circuit.xor(upper.g, passed)
}

fn carries(circuit: &mut Circuit, at: u32, width: u32) -> Carries {
    let [g, t] = circuit.digit(at, width, &[Flag::Carry, Flag::Pass]);
    Carries { g, t }
}

/// The flags of several digits, at least one.
fn combine(circuit: &mut Circuit, digits: &[Carries]) -> Carries {
    if let [digit] = digits {
        return *digit;
    }
    let (lower, upper) = digits.split_at(digits.len() / 2);
    let (lower, upper) = (combine(circuit, lower), combine(circuit, upper));
    join(circuit, lower, upper)
}

fn join(circuit: &mut Circuit, lower: Carries, upper: Carries) -> Carries {
    let (passed, t) = (circuit.and(upper.t, lower.g), circuit.and(upper.t, lower.t));
    Carries { g: circuit.xor(upper.g, passed), t }
}

/// The saturating bits and the top one.
fn above(circuit: &mut Circuit, at: u32, saturating: u32, widest: u32) -> Above {
    let top = circuit.both(at + saturating);
    if saturating == 0 {
        let not = circuit.not(top);
        return Above { zero: [not, top], positive: not, flips: top };
    }
    // with the top bit, the last digit is one bit wider
    let width = saturating.min(widest).min(MAX_DIGIT - 1);
    let low = at + saturating - width;
    let [zero, ones] = circuit.digit(low, width + 1, &[Flag::Zero, Flag::Pass]);
    let [g, flips] = circuit.digit(low, width, &[Flag::Carry, Flag::Pass]);
    let negative = circuit.xor(top, g);
    let last = Above { zero: [zero, ones], positive: circuit.not(negative), flips };
    let lower = |circuit: &mut Circuit, (at, width)| {
        let [g, t, nothing, full] =
            circuit.digit(at, width, &[Flag::Carry, Flag::Pass, Flag::Nothing, Flag::Full]);
        Lower { carries: Carries { g, t }, nothing, full }
    };
    let digits: Vec<Lower> = cut(at, saturating - width, widest).map(|digit| lower(circuit, digit)).collect();
    fold(circuit, &digits, last)
}

/// Several digits below what lies above.
fn fold(circuit: &mut Circuit, digits: &[Lower], above: Above) -> Above {
    if digits.is_empty() {
        return above;
    }
    let lower = (digits.len() + 1).div_ceil(2);
    let above = fold(circuit, &digits[lower..], above);
    let Lower { carries: Carries { g, t }, nothing, full } = merge(circuit, &digits[..lower]);
    let (from_nothing, from_full) = (circuit.and(nothing, above.zero[0]), circuit.and(full, above.zero[1]));
    let zero = [circuit.xor(from_nothing, from_full), circuit.and(t, above.zero[1])];
    let flipped = circuit.and(g, above.flips);
    Above { zero, positive: circuit.xor(above.positive, flipped), flips: circuit.and(t, above.flips) }
}

/// Several digits, at least one, as one.
fn merge(circuit: &mut Circuit, digits: &[Lower]) -> Lower {
    if let [digit] = digits {
        return *digit;
    }
    let (lower, upper) = digits.split_at(digits.len() / 2);
    let (lower, upper) = (merge(circuit, lower), merge(circuit, upper));
    let (from_nothing, from_full) =
        (circuit.and(lower.nothing, upper.full), circuit.and(lower.full, upper.carries.t));
    let full = circuit.xor(from_nothing, from_full);
    let nothing = circuit.and(lower.nothing, upper.nothing);
    Lower { carries: join(circuit, lower.carries, upper.carries), nothing, full }
}
