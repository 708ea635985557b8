//! Requantization: the fused low-bit operator.
//!
//! *Functionality.* From shares of an accumulator in `Z_l` to shares in `Z_m` of
//!
//! ```text
//! y = clamp(floor((acc + 2^(k-1)) / 2^k), lo, hi)
//! ```
//!
//! (no rounding constant at k = 0), with lo, hi = 0, 2^a - 1, which is ReLU, exact truncation,
//! saturation and change of ring in one; or with any other lo below zero, and hi = lo + 2^a - 1.
//! The rounded accumulator, with -lo 2^k added, must lie within [-2^(l-1), 2^(l-1));
//! [`Requant::ideal`] says what happens elsewhere: it wraps.
//!
//! *Identity.* Let p + q be the shares with the constants added, cut into k dropped bits, a kept
//! bits, h = l - 1 - k - a saturating bits and the top bit. With c1, c2, c3 the carries out of the
//! first three and z whether the saturating bits of the sum are all zero: the sum is `positive =
//! not (top p xor top q xor c3)`, it does not saturate where `keep = positive z`, and there y = v =
//! mid p + mid q + c1 - 2^a c2; where `positive xor keep`, y = 2^a - 1; elsewhere 0. In `Z_(a+1)`
//! the term of c2 is local: 2^a (c xor c') = 2^a (c + c').
//!
//! In a larger ring, the product `keep c2` is made arithmetic instead.
//!
//! *Steps.*
//! 1. the server adds the constants;
//! 2. the client sends its choices, which need its own share alone: before the input is known,
//!    where that share is ([`Requant::choose`]);
//! 3. the flags and ANDs of a carry network over the digits of p and q, the cheapest within
//!    [`Requant::and_depth`], give c1, c2 (or keep c2), keep and the saturated bit
//!    ([`super::carry`]); c1 is made arithmetic as soon as it is known, with the client choosing;
//! 4. `keep v`, and the saturated bit made arithmetic, times 2^a - 1: the server chooses, the
//!    client responds;
//! 5. [`Form::Narrow`]: 4 is in `Z_(a+1)`, and a known-sign extension to `Z_m` follows.
//!    [`Form::Wide`]: 4 is in `Z_m`, with `keep c2` made arithmetic too. The server adds lo.
//!
//! The client speaks last; where a linear layer reads the result, the message that replaces the
//! client's share by a mask follows at once, without another round.
//!
//! Cost, an element: the flags and ANDs of the network ([`super::carry`]), and
//! - narrow: 2 (a + 2) bits for the selection, a + 1 for c1 where k > 0, a + 1 for saturation where
//!   h > 0, m - a for the extension where m > a + 1;
//! - wide: 2 (m + 1) bits for the selection, m for c1 and for saturation each, m - a for the wrap
//!   where m > a + 1;
//! - correlated OTs that the server sends: the widths of all digits whose flags are bought,
//!   one for each AND, one for the selection and one for c1; that the client sends: one for each
//!   AND, for the selection, saturation, extension and wrap.
//!
//! Rounds: 2 for the tables and the first level's other half, then one a level in pairs, and 2 for
//! the selection: with L levels of ANDs `2 + 2 ceil(L / 2)`; 2 more for an extension; 1 more where
//! the choices are not made before.
//!
//! Security: that of the parts; nothing is opened but what masks hide.

mod price;

use std::sync::Arc;

use zeroize::Zeroize;

use super::b2a::B2a;
use super::carry::{self, Network, Parts};
use super::known_sign::KnownSign;
use super::messages::{Incoming, Messages};
use super::mux::Selection;
use super::product::pass;
use super::{check_low, check_parameters, check_share};
use crate::ot::Demand;
use crate::{BitString, Bits, Clear, Cost, Error, Operator, Role, Session, Share};
use serde::{Deserialize, Serialize};

/// What a requantization is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Few bits: selection in the small ring, then extension.
    #[default]
    Narrow,
    /// Few rounds: selection in the ring of the result.
    Wide,
}

/// `clamp(floor((acc + 2^(shift-1)) / 2^shift), lo, hi)` from one ring to another.
#[derive(Clone, Copy, Debug)]
pub struct Requant {
    /// Number of elements.
    pub len: usize,
    /// `l`: the accumulators' ring.
    pub ring: Bits,
    /// `k`: bits dropped.
    pub shift: u32,
    /// `a`: bits of the result.
    pub bits: u32,
    /// `lo`: the least result, at most zero; the largest is `lo + 2^a - 1`.
    pub low: i64,
    /// `m`: the ring of the result, of at least a + 1 bits.
    pub out: Bits,
    /// Levels of ANDs of the carry network, or as few more as it takes.
    pub and_depth: u32,
    /// Few bits or few rounds.
    pub form: Form,
}

impl Requant {
    /// The largest depth: with so much, every carry can ripple bit by bit.
    pub const MAX_AND_DEPTH: u32 = 64;

    /// What is wrong with the parameters, if anything.
    pub fn check(&self) -> Result<(), String> {
        let l = self.ring.get();
        if self.shift > 62 || self.shift + 2 > l {
            return Err(format!("a shift of at most l - 2, found {} in {l} bit", self.shift));
        }
        if !(1..=63).contains(&self.bits) || self.bits + 1 > self.out.get() {
            return Err(format!("1 to m - 1 bits, found {} for {} bit", self.bits, self.out));
        }
        check_low(self.bits, self.low)?;
        if self.low < 0 && self.shift + self.bits + 1 > l {
            return Err(format!("l of at least k + a + 1 for a result below zero, found {self:?}"));
        }
        if self.and_depth > Self::MAX_AND_DEPTH {
            return Err(format!(
                "at most {} and_depth, found {}",
                Self::MAX_AND_DEPTH,
                self.and_depth
            ));
        }
        Ok(())
    }

    /// `a`, or what the accumulator can fill of it.
    fn kept(&self) -> u32 {
        self.bits.min(self.ring.get() - 1 - self.shift)
    }

    /// `h`: bits between the kept ones and the top one.
    fn saturating(&self) -> u32 {
        self.ring.get() - 1 - self.shift - self.kept()
    }

    /// The ring of kept + 1 bits.
    fn small(&self) -> Bits {
        Bits::of(self.kept() + 1)
    }

    /// What the server adds before: the rounding constant, and what makes the least result zero.
    fn constant(&self) -> u64 {
        let rounding = if self.shift > 0 { 1 << (self.shift - 1) } else { 0 };
        self.ring.reduce(rounding + (self.offset() << self.shift))
    }

    /// What is taken off after.
    const fn offset(&self) -> u64 {
        self.low.unsigned_abs()
    }

    /// The ring of the selection.
    fn inner(&self) -> Bits {
        match self.form {
            Form::Narrow => self.small(),
            Form::Wide => self.out,
        }
    }

    /// Where the wrap is not local: the ring that it is needed in.
    fn wrap_ring(&self) -> Option<Bits> {
        Bits::new(self.inner().get() - self.kept()).filter(|ring| ring.get() > 1)
    }

    fn network(&self) -> Arc<Network> {
        let parts = Parts { dropped: self.shift, kept: self.kept(), saturating: self.saturating() };
        Network::new(parts, self.and_depth, self.wrap_ring().is_some())
    }

    fn extension(&self) -> KnownSign {
        KnownSign { len: self.len, from: self.inner(), to: self.out }
    }
}

impl Network {
    /// Whether c1 is known to the client when it has spoken on this level, the first such: an odd
    /// one, on which it is the one that speaks second.
    fn lifts_after(&self, level: usize) -> bool {
        self.decision.rounding.is_some_and(|carry| level == self.circuit.level(carry) | 1)
    }
}

impl Operator for Requant {
    type Input = Share;
    type Output = Share;

    const NAME: &'static str = "requant";

    fn ideal(&self, input: &Clear) -> Clear {
        let top = Bits::of(self.bits).mask() as i64;
        Clear::encode(
            self.out,
            &input
                .values
                .iter()
                .map(|acc| {
                    let rounded =
                        self.ring.decode(self.ring.reduce(acc.wrapping_add(self.constant())));
                    (rounded >> self.shift).clamp(0, top) - self.offset() as i64
                })
                .collect::<Vec<_>>(),
        )
    }

    fn cost(&self) -> Cost {
        self.phases(false, false).online
    }

    fn demands(&self) -> Vec<Demand> {
        self.draws(false).online
    }

    async fn run(&self, session: &mut Session, input: Share) -> Result<Share, Error> {
        check_parameters(Self::NAME, self.check(), self)?;
        check_share(Self::NAME, &input, self.ring, self.len)?;
        let chosen = self.choose(session, input.values()).await?;
        self.respond(session, chosen, input).await
    }
}

/// A requantization whose choices are made.
pub(crate) struct Chosen(carry::Chosen);

/// A network's results, half-way to arithmetic shares.
struct Decided {
    /// c1.
    rounding: Option<B2a>,
    /// What the server has to send for it.
    corrections: Vec<u8>,
    /// c2.
    wrap: Option<BitString>,
    /// c2 where the sum is kept.
    kept_wrap: Option<BitString>,
    keep: BitString,
    /// Where the result is 2^a - 1, if that can be.
    saturated: Option<BitString>,
}

impl Requant {
    /// Step 2: takes the client's share, and the length alone at the server.
    pub(crate) async fn choose(
        &self,
        session: &mut Session,
        client: &[u64],
    ) -> Result<Chosen, Error> {
        Ok(Chosen(self.network().circuit.leaves(self.len).choose(session, client).await?))
    }

    /// Bytes that the choices take until the other steps.
    pub(crate) fn chosen_bytes(&self, role: Role) -> u64 {
        self.network().circuit.leaves(self.len).chosen_bytes(role)
    }

    /// All other steps.
    pub(crate) async fn respond(
        &self,
        session: &mut Session,
        chosen: Chosen,
        input: Share,
    ) -> Result<Share, Error> {
        let mut values = input.into_values();
        if session.role() == Role::Server {
            values.iter_mut().for_each(|v| *v = self.ring.reduce(v.wrapping_add(self.constant())));
        }
        let decided = self.decide(session, chosen, &values).await?;
        let kept = self.select(session, decided, &values).await?;
        values.zeroize();
        let mut result = self.extension().run(session, kept).await?;
        if session.role() == Role::Server {
            result.iter_mut().for_each(|v| *v = v.wrapping_sub(self.offset()));
        }
        Ok(Share::new(self.out, result))
    }

    /// Step 3.
    async fn decide(
        &self,
        session: &mut Session,
        chosen: Chosen,
        values: &[u64],
    ) -> Result<Decided, Error> {
        let network = self.network();
        let Network { circuit, decision } = &*network;
        let mut bits = circuit.start(session, chosen.0, values).await?;
        let (mut rounding, mut corrections) = (None, Vec::new());
        for level in 1..=circuit.depth() {
            bits.level(session, level).await?;
            if let (Some(carry), true) = (decision.rounding, network.lifts_after(level)) {
                // The client speaks once more right behind its half of the level, so its choices
                // are no round of their own.
                let (mut outgoing, len) = (Vec::new(), Bits::ONE.packed_len(self.len));
                let mut conversion = B2a::choose(
                    session,
                    Role::Client,
                    bits.of(carry).clone(),
                    self.inner(),
                    &mut outgoing,
                )?;
                let incoming = pass(session, Role::Client, &outgoing, len).await?;
                conversion.respond(session, &mut Incoming::of(&incoming), &mut corrections)?;
                rounding = Some(conversion);
            }
        }
        Ok(Decided {
            rounding,
            corrections,
            wrap: decision.wrap.map(|wire| bits.of(wire).clone()),
            kept_wrap: decision.kept_wrap.map(|wire| bits.of(wire).clone()),
            keep: bits.of(decision.keep).clone(),
            saturated: decision.saturated.map(|wire| bits.of(wire).clone()),
        })
    }

    /// Step 4: shares of the result in the inner ring.
    async fn select(
        &self,
        session: &mut Session,
        decided: Decided,
        values: &[u64],
    ) -> Result<Vec<u64>, Error> {
        let Decided { mut rounding, corrections: mut outgoing, wrap, kept_wrap, keep, saturated } =
            decided;
        let inner = self.inner();
        let mut kept =
            self.kept_summands(values, wrap.as_ref().filter(|_| self.wrap_ring().is_none()));
        // The server responded for c1 in step 3, so its share of it needs nothing more. The
        // client's waits for the corrections below.
        if session.role() == Role::Server
            && let Some(conversion) = rounding.take()
        {
            add(&mut kept, &conversion.finish(&mut Incoming::of(&[])), 1);
        }
        let (chosen, responded) = self.price_selection(&mut Messages::default());
        // The server's message: corrections of c1, then what the selection and each conversion
        // choose. The client hears them in this order.
        let mut selection = Selection::choose(session, keep, inner, &kept, &mut outgoing)?;
        let mut conversions = Vec::new();
        for (bits, ring, factor) in self.lifted(saturated, kept_wrap) {
            conversions
                .push((B2a::choose(session, Role::Server, bits, ring, &mut outgoing)?, factor));
        }
        let message = pass(session, Role::Server, &outgoing, chosen).await?;
        let mut incoming = Incoming::of(&message);
        if let Some(conversion) = rounding {
            add(&mut kept, &conversion.finish(&mut incoming), 1);
        }
        let mut outgoing = Vec::new();
        selection.respond(session, &kept, &mut incoming, &mut outgoing)?;
        for (conversion, _) in &mut conversions {
            conversion.respond(session, &mut incoming, &mut outgoing)?;
        }
        let message = pass(session, Role::Client, &outgoing, responded).await?;
        let mut incoming = Incoming::of(&message);
        let mut result = selection.finish(&kept, &mut incoming);
        for (conversion, factor) in conversions {
            add(&mut result, &conversion.finish(&mut incoming), factor);
        }
        result.iter_mut().for_each(|y| *y = inner.reduce(*y));
        Ok(result)
    }

    /// This party's kept bits, and where the wrap is local, that.
    fn kept_summands(&self, values: &[u64], wrap: Option<&BitString>) -> Vec<u64> {
        let kept = Bits::of(self.kept());
        let mut summands: Vec<u64> = values.iter().map(|v| kept.reduce(v >> self.shift)).collect();
        if let Some(wrap) = wrap {
            for (v, wrap) in summands.iter_mut().zip(wrap.iter()) {
                // Modulo `2^(a+1)`, `2^a (c xor c') = 2^a (c + c')`: either party takes off its own
                // share.
                *v = v.wrapping_sub(wrap << kept.get());
            }
        }
        summands
    }

    /// Bits that are made arithmetic, each in its ring, and the factor of each in the result.
    fn lifted(
        &self,
        saturated: Option<BitString>,
        kept_wrap: Option<BitString>,
    ) -> impl Iterator<Item = (BitString, Bits, u64)> {
        let (top, kept) = (Bits::of(self.kept()).mask(), self.kept());
        let inner = self.inner();
        let saturated = saturated.map(|bits| (bits, inner, top));
        let wrap = kept_wrap.zip(self.wrap_ring());
        saturated
            .into_iter()
            .chain(wrap.map(|(bits, ring)| (bits, ring, (1u64 << kept).wrapping_neg())))
    }
}

/// Adds multiples.
fn add(sums: &mut [u64], values: &[u64], factor: u64) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = sum.wrapping_add(value.wrapping_mul(factor));
    }
}

#[cfg(test)]
mod tests;
