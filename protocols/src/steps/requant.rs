//! `clamp(floor((sum of terms << shift + 2^(k-1)) / 2^k), lo, hi)`: requantization, ReLU,
//! saturation, residual and change of ring in one.

use serde::{Deserialize, Serialize};

use super::context::share;
use super::{
    Body, Check, Context, Intervals, Kind, Linearized, Offline, Online, Op, Prepared, Tie, Wire,
    WireId, reshare,
};
use crate::linear::Work;
use crate::ops::{self, Chosen, Form};
use crate::ot::Draws;
use crate::rates::{self, Seconds};
use crate::{Bits, Error, Operator, Phases, Role, Session, Share};

/// Bytes that an element takes where a nonlinear operator is at work on it: its value and the
/// shares of its parts, a word each, what is said and heard of them, and an OT.
pub(super) const NONLINEAR: u64 = 160;

/// A requantization of a sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requant {
    /// What is summed.
    pub terms: Vec<Term>,
    /// The result.
    pub output: WireId,
    /// The ring of the sum.
    pub ring: Bits,
    /// `k`: bits dropped.
    pub shift: u8,
    /// Levels of ANDs of the carry network, or as few more as it takes.
    pub and_depth: u8,
    /// Few bits or few rounds.
    pub form: Form,
    /// Whether the client's share of the result becomes a mask that it knows before the input:
    /// where a linear layer reads it.
    pub reshare: bool,
    /// Elements that are not cut off at zero; none where all are alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linearized: Option<Linearized>,
}

/// A summand of a requantization: a wire, shifted left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// The wire.
    pub wire: WireId,
    /// Its left shift.
    pub shift: u8,
}

impl Requant {
    /// The largest carry that it bears of a term: it drops a bit that is above it, and everything
    /// else that it sums is a multiple of twice the carry.
    ///
    /// Then `2 sum + c` is `c` more than a multiple of `2 c`, and dropping `k + 1` bits of it gives
    /// what dropping `k` bits of the sum gives. What is below the carry, of a bias, changes
    /// nothing: the rest is a multiple of the carry too.
    pub(crate) fn room(&self, term: &Term) -> Option<u8> {
        let others = self.terms.iter().filter(|other| other.wire != term.wire);
        let least = others.map(|other| other.shift).min().unwrap_or(u8::MAX);
        self.shift.checked_sub(1)?.min(least).checked_sub(term.shift)
    }

    /// Whether a term has a carry: then it works on twice the sum.
    fn doubles(&self, wires: &[Wire]) -> bool {
        self.terms.iter().any(|term| wires[term.wire].carry.is_some())
    }

    /// The operator, for a batch.
    fn operator(&self, wires: &[Wire], images: usize) -> ops::Requant {
        let wire = &wires[self.output];
        let doubled = u32::from(self.doubles(wires));
        // Elements that reach below zero are raised before it and lowered behind it: all have as
        // many values, half of those that the signed wire has.
        let raises = self.linearized.is_some();
        ops::Requant {
            len: wire.elements() * images,
            ring: Bits::new(self.ring.get() + doubled).unwrap_or(self.ring),
            shift: u32::from(self.shift) + doubled,
            bits: u32::from(wire.bits) - u32::from(raises),
            low: if raises { 0 } else { wire.low },
            out: wire.ring,
            and_depth: u32::from(self.and_depth),
            form: self.form,
        }
    }

    /// Whether choices are made before the input is known: the client's share of the sum is. Not
    /// where the plan is streamed: its OTs would have to be kept until then.
    fn early(&self, context: &Context<'_>) -> bool {
        !context.streamed && self.terms.iter().all(|term| context.masks.known[term.wire])
    }

    /// This party's share of the sum.
    fn sum(&self, wires: &[Wire], shares: &[Option<Share>]) -> Share {
        let len = self.terms.first().map_or(0, |term| share(shares, term.wire).len());
        let mut sums = vec![0u64; len];
        for term in &self.terms {
            let double = self.doubles(wires) && wires[term.wire].carry.is_none();
            let shift = u32::from(term.shift) + u32::from(double);
            for (sum, value) in sums.iter_mut().zip(share(shares, term.wire).values()) {
                *sum = sum.wrapping_add(value << shift);
            }
        }
        Share::new(self.operator(wires, 1).ring, sums)
    }

    /// Adds what makes elements unsigned, which the server does alone: it is public.
    fn raise(&self, context: &Context<'_>, images: usize, sum: Share) -> Share {
        let Some(linearized) = &self.linearized else { return sum };
        let operator = self.operator(context.wires, images);
        let floors = linearized.floors(context.wires[self.output].shape, images);
        let mut values = sum.into_values();
        for (value, floor) in values.iter_mut().zip(floors) {
            *value = value.wrapping_add(floor << operator.shift);
        }
        Share::new(operator.ring, values)
    }

    /// Takes it off the result.
    fn lower(&self, context: &Context<'_>, images: usize, result: Share) -> Share {
        let Some(linearized) = &self.linearized else { return result };
        let floors = linearized.floors(context.wires[self.output].shape, images);
        let (ring, mut values) = (result.ring(), result.into_values());
        for (value, floor) in values.iter_mut().zip(floors) {
            *value = value.wrapping_sub(floor);
        }
        Share::new(ring, values)
    }

    /// A carry is of one term at the most, and it is borne.
    fn check_carry(&self, check: &Check<'_>, term: &Term) -> Result<(), Error> {
        let Some(carry) = check.wire(term.wire).carry else { return Ok(()) };
        let carries = self.terms.iter().filter(|term| check.wire(term.wire).carry.is_some());
        let count = carries.count();
        check.require(count == 1 && self.ring.get() < 64, "terms", "one carry", count)?;
        let most = self.room(term);
        let expected = most.map_or("no carry".into(), |most| format!("a carry of at most {most}"));
        check.require(most.is_some_and(|most| carry <= most), "terms", expected, carry)
    }

    /// The interval of the sum, with its rounding constant; where the result can be negative, both
    /// without and with what makes it unsigned on the way.
    fn interval(&self, intervals: &Intervals<'_>) -> (i128, i128) {
        let to = &intervals.wires[self.output];
        let rounding = (1i128 << self.shift) >> 1;
        let offset = match &self.linearized {
            Some(linearized) => i128::from(linearized.below) << self.shift,
            None => i128::from(to.low.unsigned_abs()) << self.shift,
        };
        let mut sum = Some((rounding, rounding + offset));
        for term in &self.terms {
            let (low, high) = intervals.of(term.wire);
            let (low, high) = (low << term.shift, high << term.shift);
            sum = sum.and_then(|(a, b)| Some((a.checked_add(low)?, b.checked_add(high)?)));
        }
        sum.unwrap_or((i128::MIN, i128::MAX))
    }
}

impl Body for Requant {
    fn inputs(&self) -> Vec<WireId> {
        self.terms.iter().map(|term| term.wire).collect()
    }

    fn output(&self) -> Option<WireId> {
        Some(self.output)
    }

    fn kind(&self) -> Option<Kind> {
        Some(Kind::Nonlinear)
    }

    fn protocol(&self) -> String {
        let form = match self.form {
            Form::Narrow => "narrow",
            Form::Wide => "wide",
        };
        let kept = self.linearized.as_ref().map(|linearized| linearized.kept.count());
        let kept = kept.map_or_else(String::new, |kept| format!(" ReLUs={kept}"));
        format!("{form} depth={}{kept}", self.and_depth)
    }

    fn ring(&self, _: &[Wire]) -> Bits {
        self.ring
    }

    fn check(&self, check: &Check<'_>) -> Result<(), Error> {
        let (to, ring) = (check.wire(self.output), self.ring);
        check.require(!self.terms.is_empty(), "terms", "at least one", 0)?;
        for term in &self.terms {
            let from = check.wire(term.wire);
            let (expected, found) = (format!("shape {:?}", to.shape), format!("{:?}", from.shape));
            check.require(from.shape == to.shape, "terms", expected, found)?;
            // Shifted left by e, a wire is needed modulo `2^(l - e)` alone: its ring has at least
            // as many bits.
            let room = u32::from(term.shift) < ring.get()
                && from.value_ring() + u32::from(term.shift) >= ring.get();
            let expected =
                format!("a shift below {ring} and a wire's ring of at least {ring} less it");
            let found = format!("shift {} of ring {}", term.shift, from.ring);
            check.require(room, "terms", expected, found)?;
            self.check_carry(check, term)?;
        }
        check.fits(self.output)?;
        if let Some(linearized) = &self.linearized {
            let checked = linearized.check(to.shape, (to.bits, to.low));
            check.parameters("linearized", checked)?;
        }
        check.parameters("parameters", self.operator(check.wires, 1).check())
    }

    fn known(&self, _: &[bool]) -> bool {
        self.reshare
    }

    fn draws_mask(&self) -> bool {
        self.reshare
    }

    fn variants(&self, context: &Context<'_>) -> Vec<Op> {
        let mut all = Vec::new();
        for form in [Form::Narrow, Form::Wide] {
            let step = Self { form, ..self.clone() };
            // The depths that it may take in its form, the least first: each saves messages or
            // bits.
            let and_depth = step.operator(context.wires, 1).useful_depths().into_iter();
            let and_depth = and_depth.filter_map(|and_depth| u8::try_from(and_depth).ok());
            all.extend(and_depth.map(|and_depth| Op::Requant(Self { and_depth, ..step.clone() })));
        }
        all
    }

    fn ties(&self) -> Vec<Tie> {
        self.terms
            .iter()
            .map(|term| {
                let exponent = i32::from(term.shift) - i32::from(self.shift);
                Tie { wire: term.wire, to: self.output, ratio: f64::from(exponent).exp2() }
            })
            .collect()
    }

    fn cost(&self, context: &Context<'_>, images: usize) -> Phases {
        self.operator(context.wires, images).phases(self.early(context), self.reshare)
    }

    fn draws(&self, context: &Context<'_>, images: usize) -> Draws {
        self.operator(context.wires, images).draws(self.early(context))
    }

    fn seconds(&self, context: &Context<'_>, images: usize) -> Seconds {
        used(self.operator(context.wires, images).cost().consumed())
    }

    fn held_bytes(&self, context: &Context<'_>, role: Role, images: usize) -> u64 {
        if !self.early(context) {
            return 0;
        }
        self.operator(context.wires, images).chosen_bytes(role)
    }

    fn offline_bytes(&self, context: &Context<'_>, _: Role, images: usize) -> u64 {
        if self.early(context) { 2 * context.bytes(self.output, images) } else { 0 }
    }

    fn online_bytes(&self, context: &Context<'_>, _: Role, images: usize) -> u64 {
        context.elements(self.output, images) * NONLINEAR
    }

    fn follow(&self, intervals: &mut Intervals<'_>) -> Result<(), Error> {
        intervals.fits("sum", self.interval(intervals), self.ring)
    }

    fn offline<'a>(&'a self, session: &'a mut Session, run: Offline<'a>) -> Work<'a, Prepared> {
        Box::pin(async move {
            let Offline { context, images, masks, .. } = run;
            let client = session.role() == Role::Client;
            if !self.early(&context) {
                return Ok(Prepared::NOTHING);
            }
            // The client's share of the sum is known already: sums of masks and products, without
            // the input.
            let operator = self.operator(context.wires, images);
            let own = match client {
                true => self.sum(context.wires, masks),
                false => Share::zeros(operator.ring, 0),
            };
            Ok(Prepared::new(operator.choose(session, own.values()).await?))
        })
    }

    fn online<'a>(
        &'a self,
        session: &'a mut Session,
        mut run: Online<'a>,
    ) -> Work<'a, Option<Share>> {
        Box::pin(async move {
            let operator = self.operator(run.context.wires, run.images);
            let (context, images, server) =
                (run.context, run.images, session.role() == Role::Server);
            let mut sum = self.sum(context.wires, run.shares);
            // The client's choices need its own share alone, which is never raised.
            if server {
                sum = self.raise(&context, images, sum);
            }
            let chosen = match run.prepared.take::<Chosen>() {
                Some(chosen) => chosen,
                None => operator.choose(session, sum.values()).await?,
            };
            let mut written = operator.respond(session, chosen, sum).await?;
            if server {
                written = self.lower(&context, images, written);
            }
            reshare::finish(session, run, self.reshare, written).await.map(Some)
        })
    }
}

/// Seconds of an operator that uses so many OTs.
pub(super) fn used(cots: u64) -> Seconds {
    Seconds { online: cots as f64 * rates::USE, ..Seconds::default() }
}
