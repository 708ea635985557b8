//! The wire that a node makes, from the wires that it reads: shape, width, sign, scale and
//! interval.

use protocols::linear::winograd;
use protocols::plan::{MAX_ELEMENTS, Order, Term, View, Window};
use protocols::steps::Linearized;

use super::{Kernel, Linear, Lookup, Op, Wire};
use crate::interval::MAX_BITS;
use crate::{Error, Interval};

/// How far two scales that ought to be equal may differ, relative to each other.
const SCALE_TOLERANCE: f64 = 1e-6;

/// Largest shift of a channel, a term or a requantization.
const MAX_SHIFT: u8 = 48;

/// Widest value that is looked up: tables double with every bit.
const MAX_LOOKUP_BITS: u8 = 8;

/// Widest gate of a product: every bit of it takes messages as long as the product.
const MAX_GATE_BITS: u8 = 16;

/// The wire of a node, or what is wrong with the node.
pub(super) fn infer(node: &str, op: &Op, inputs: &[&Wire]) -> Result<Wire, Error> {
    let infer = Infer { node };
    match (op, inputs) {
        (Op::Input { shape, bits, low, scale }, []) => infer.input(*shape, *bits, *low, *scale),
        (Op::Linear(linear), [x]) => infer.linear(linear, x),
        (Op::Add { terms }, wires) => infer.add(terms, wires),
        (Op::Relu { .. }, [x]) => Ok(infer.relu(x)),
        (Op::Requant { shift, bits, low, linearized, .. }, [x]) => {
            infer.linearized(linearized.as_ref(), x.shape, (*bits, *low))?;
            infer.requant(*shift, *bits, *low, x)
        }
        (Op::Lookup(lookup), [x]) => infer.lookup(lookup, x),
        (Op::Product { .. }, [x, y]) => infer.product(x, y),
        (Op::MaxPool { window, .. }, [x]) => {
            // All that the width holds, as of all that a plan does not follow.
            Ok(Wire { shape: infer.pooled(window, x)?, range: x.declared(), ..**x })
        }
        (Op::SumPool { window, .. }, [x]) => infer.sum_pool(window, x),
        (Op::View { view, .. }, [x]) => infer.view(view, x),
        (Op::Reorder { order, .. }, [x]) => infer.reorder(order, x),
        (Op::Concat { .. }, wires) => infer.concat(wires),
        (Op::Output { .. }, [x]) => Ok(**x),
        (
            Op::Input { .. }
            | Op::Linear(_)
            | Op::Relu { .. }
            | Op::Requant { .. }
            | Op::Lookup(_)
            | Op::Product { .. }
            | Op::MaxPool { .. }
            | Op::SumPool { .. }
            | Op::View { .. }
            | Op::Reorder { .. }
            | Op::Output { .. },
            _,
        ) => unreachable!("invariant: inputs are those that the op names"),
    }
}

/// What a term counts in: a wire shifted left by `j` counts in steps of `scale / 2^j`.
fn step(term: &Term, wire: &Wire) -> f64 {
    wire.scale / 2f64.powi(term.shift.into())
}

/// A wire of the least width for an interval, whose own interval is all that the width holds. A
/// plan carries widths only: who holds weights against one must arrive at the same intervals, and
/// finds them exactly through linear layers, views and sum pooling.
fn holding(range: Interval, signed: bool, wire: Wire) -> Wire {
    let wire = tight(range, signed, wire);
    Wire { range: wire.declared(), ..wire }
}

/// A wire of the least width for an interval, its own.
fn tight(range: Interval, signed: bool, wire: Wire) -> Wire {
    let bits = range.bits(signed);
    Wire { bits, low: Interval::of_bits(bits, signed).lo, range, ..wire }
}

struct Infer<'a> {
    node: &'a str,
}

impl Infer<'_> {
    fn input(&self, shape: [usize; 3], bits: u8, low: i64, scale: f64) -> Result<Wire, Error> {
        let shape = self.sized(shape)?;
        self.within("bits", bits, 1, 32)?;
        let range = self.values(low, bits)?;
        self.scale(scale)?;
        Ok(Wire { shape, bits, low, scale, range })
    }

    fn linear(&self, linear: &Linear, x: &Wire) -> Result<Wire, Error> {
        let Linear { geometry, kernel, weight_bits, shifts, range, scale, .. } = linear;
        geometry
            .check()
            .map_err(|expected| self.parameter("geometry", &expected, &format!("{geometry:?}")))?;
        self.same_shape(geometry.in_shape(), x)?;
        self.within("weight_bits", *weight_bits, 2, 8)?;
        if *kernel == Kernel::Winograd && !winograd::applies(geometry) {
            let expected = "3x3, stride 1 and dilation 1 for weights in Winograd's domain";
            return Err(self.parameter("geometry", expected, &format!("{geometry:?}")));
        }
        if !shifts.is_empty() && shifts.len() != linear.channels() {
            let expected = format!("none or {}", linear.channels());
            return Err(self.parameter("number of shifts", &expected, &shifts.len().to_string()));
        }
        shifts.iter().try_for_each(|&shift| self.within("channel shift", shift, 0, MAX_SHIFT))?;
        self.scale(*scale)?;
        let range = self.interval(range.lo.into(), range.hi.into())?;
        Ok(tight(range, true, Wire { shape: geometry.out_shape(), scale: *scale, ..*x }))
    }

    fn add(&self, terms: &[Term], wires: &[&Wire]) -> Result<Wire, Error> {
        let Some(&first) = wires.first() else {
            return Err(self.parameter("terms", "at least one", "none"));
        };
        let (mut lo, mut hi) = (0, 0);
        // All terms must count in the same steps.
        let scale = step(&terms[0], first);
        for (term, wire) in terms.iter().zip(wires) {
            self.within("term shift", term.shift, 0, MAX_SHIFT)?;
            self.same_shape(first.shape, wire)?;
            let found = step(term, wire);
            self.same_scale(scale, found)?;
            lo += i128::from(wire.range.lo) << term.shift;
            hi += i128::from(wire.range.hi) << term.shift;
        }
        let range = self.interval(lo, hi)?;
        Ok(holding(range, range.lo < 0, Wire { scale, ..*first }))
    }

    fn relu(&self, x: &Wire) -> Wire {
        holding(Interval { lo: x.range.lo.max(0), hi: x.range.hi.max(0) }, false, *x)
    }

    fn requant(&self, shift: u8, bits: u8, low: i64, x: &Wire) -> Result<Wire, Error> {
        self.within("shift", shift, 0, MAX_SHIFT)?;
        self.within("bits", bits, 1, MAX_BITS)?;
        let (scale, range) = (x.scale * 2f64.powi(shift.into()), self.values(low, bits)?);
        Ok(Wire { shape: x.shape, bits, low, scale, range })
    }

    fn linearized(
        &self,
        linearized: Option<&Linearized>,
        shape: [usize; 3],
        width: (u8, i64),
    ) -> Result<(), Error> {
        let Some(linearized) = linearized else { return Ok(()) };
        let checked = linearized.check(shape, width);
        checked.map_err(|expected| self.parameter("linearized", &expected, "something else"))
    }

    fn lookup(&self, lookup: &Lookup, x: &Wire) -> Result<Wire, Error> {
        let Lookup { first, table, bits, low, scale, .. } = lookup;
        self.within("width of what is looked up", x.bits, 1, MAX_LOOKUP_BITS)?;
        self.within("bits", *bits, 1, MAX_BITS)?;
        self.scale(*scale)?;
        // Passes may narrow the input: what it cannot be any more stays in the table.
        let fits = (1..=1 << MAX_LOOKUP_BITS).contains(&table.len());
        let known = Interval { lo: *first, hi: first.saturating_add(table.len() as i64 - 1) };
        if !fits || !known.contains(x.declared()) {
            let expected = format!("entries for {}, at most 256", x.declared());
            return Err(self.parameter("table", &expected, &known.to_string()));
        }
        let range = self.values(*low, *bits)?;
        if let Some(entry) = table.iter().find(|&&entry| !range.holds(entry)) {
            return Err(self.parameter(
                "table",
                &format!("entries within {range}"),
                &entry.to_string(),
            ));
        }
        Ok(Wire { shape: x.shape, bits: *bits, low: *low, scale: *scale, range })
    }

    fn product(&self, x: &Wire, gate: &Wire) -> Result<Wire, Error> {
        let [channels, ..] = x.shape;
        if gate.shape != x.shape {
            self.same_shape([channels, 1, 1], gate)?;
        }
        self.within("width of what is multiplied by", gate.bits, 1, MAX_GATE_BITS)?;
        self.within("width of what is multiplied", x.bits, 1, MAX_BITS)?;
        // A product is largest and least where both factors are at an end.
        let corners = [x.range.lo, x.range.hi]
            .map(|a| [gate.range.lo, gate.range.hi].map(|b| i128::from(a) * i128::from(b)));
        let corners = corners.as_flattened();
        let (lo, hi) = corners.iter().fold((0, 0), |(lo, hi), &it| (it.min(lo), it.max(hi)));
        let range = self.interval(lo, hi)?;
        let scale = x.scale * gate.scale;
        self.scale(scale)?;
        Ok(tight(range, true, Wire { scale, ..*x }))
    }

    fn sum_pool(&self, window: &Window, x: &Wire) -> Result<Wire, Error> {
        let shape = self.pooled(window, x)?;
        let count = window.len();
        // Padding is zero, so each end reaches zero at least.
        let [lo, hi] =
            [x.range.lo.min(0), x.range.hi.max(0)].map(|end| i128::from(end) * count as i128);
        let range = self.interval(lo, hi)?;
        Ok(tight(range, x.signed(), Wire { shape, scale: x.scale / count as f64, ..*x }))
    }

    fn view(&self, view: &View, x: &Wire) -> Result<Wire, Error> {
        if view.axes.iter().any(|axis| axis.length == 0) || !view.fits(x.shape) {
            let expected = format!("a slice of {:?}", x.shape);
            return Err(self.parameter("view", &expected, &format!("{view:?}")));
        }
        let shape = self.sized(view.out_shape())?;
        let range = x.range.join(Interval::ZERO);
        let wire = Wire { shape, range, ..*x };
        Ok(if x.declared().contains(range) { wire } else { tight(range, x.signed(), wire) })
    }

    fn reorder(&self, order: &Order, x: &Wire) -> Result<Wire, Error> {
        if !order.fits(x.shape) {
            let expected = format!("axes of {:?}", x.shape);
            return Err(self.parameter("order", &expected, &format!("{order:?}")));
        }
        Ok(Wire { shape: order.shape, ..*x })
    }

    fn concat(&self, wires: &[&Wire]) -> Result<Wire, Error> {
        let Some((&first, rest)) = wires.split_first() else {
            return Err(self.parameter("inputs", "at least one", "none"));
        };
        // Exactly the hull: who holds weights against a plan arrives at the same.
        let (mut channels, mut range, mut signed) = (first.shape[0], first.range, first.signed());
        for wire in rest {
            let [_, rows, columns] = first.shape;
            self.same_shape([wire.shape[0], rows, columns], wire)?;
            self.same_scale(first.scale, wire.scale)?;
            channels = channels.saturating_add(wire.shape[0]);
            range = range.join(wire.range);
            signed |= wire.signed();
        }
        let shape = self.sized([channels, first.shape[1], first.shape[2]])?;
        // Parts of one width keep it: what is rounded alike has one range.
        let alike = rest.iter().all(|wire| wire.declared() == first.declared());
        let wire = Wire { shape, range, ..*first };
        Ok(if alike { wire } else { tight(range, signed, wire) })
    }

    fn pooled(&self, window: &Window, x: &Wire) -> Result<[usize; 3], Error> {
        let shape = window.out_shape(x.shape).filter(|_| window.covers(x.shape));
        shape.ok_or_else(|| {
            let expected = format!("windows on {:?}, none on padding alone", x.shape);
            self.parameter("window", &expected, &format!("{window:?}"))
        })
    }

    fn sized(&self, shape: [usize; 3]) -> Result<[usize; 3], Error> {
        let elements = shape.iter().try_fold(1usize, |n, &len| n.checked_mul(len));
        if elements.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n)) {
            return Ok(shape);
        }
        let expected = format!("1 to {MAX_ELEMENTS} elements");
        Err(self.parameter("shape", &expected, &format!("{shape:?}")))
    }

    fn interval(&self, lo: i128, hi: i128) -> Result<Interval, Error> {
        Interval::checked(lo, hi).ok_or_else(|| Error::TooWide {
            node: self.node.to_owned(),
            lo,
            hi,
            limit: MAX_BITS,
        })
    }

    /// The integers of a width from the least one on: zero is among them, since padding is.
    fn values(&self, low: i64, bits: u8) -> Result<Interval, Error> {
        let least = 1 - (1i64 << bits);
        if (least..=0).contains(&low) {
            return Ok(Interval::from(low, bits));
        }
        Err(self.parameter("least value", &format!("{least} to 0"), &low.to_string()))
    }

    fn same_shape(&self, expected: [usize; 3], wire: &Wire) -> Result<(), Error> {
        if expected == wire.shape {
            return Ok(());
        }
        Err(Error::Shape { node: self.node.to_owned(), expected, found: wire.shape })
    }

    fn same_scale(&self, expected: f64, found: f64) -> Result<(), Error> {
        if (found - expected).abs() <= SCALE_TOLERANCE * expected {
            return Ok(());
        }
        Err(Error::Scale { node: self.node.to_owned(), expected, found })
    }

    fn within(&self, what: &'static str, value: u8, least: u8, most: u8) -> Result<(), Error> {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(self.parameter(what, &format!("{least} to {most}"), &value.to_string()))
    }

    fn scale(&self, scale: f64) -> Result<(), Error> {
        if scale.is_finite() && scale > 0.0 {
            return Ok(());
        }
        Err(self.parameter("scale", "a positive number", &scale.to_string()))
    }

    fn parameter(&self, what: &'static str, expected: &str, found: &str) -> Error {
        let (expected, found) = (expected.to_owned(), found.to_owned());
        Error::Parameter { node: self.node.to_owned(), what, expected, found }
    }
}
