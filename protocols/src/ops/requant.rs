//! Requantisation: the fused low-bit operator.
//!
//! *Functionality.* From shares of an accumulator in `Z_l` to shares in `Z_m` of
//!
//! ```text
//! y = clamp(floor((acc + 2^(k-1)) / 2^k), lo, hi)
//! ```
//!
//! (no rounding constant at k = 0), with lo, hi = 0, 2^a - 1, which is ReLU, exact truncation, saturation and change of ring
//! in one; or, signed, -2^(a-1), 2^(a-1) - 1. The rounded accumulator, with 2^(k+a-1) added when signed, must lie within
//! [-2^(l-1), 2^(l-1)); [`Requant::ideal`] says what happens elsewhere: it wraps.
//!
//! *Identity.* Let p + q be the shares with the constants added, cut into k dropped bits, a kept bits, h = l - 1 - k - a
//! saturating bits and the top bit. With c1, c2, c3 the carries out of the first three and z whether the saturating bits of
//! the sum are all zero: the sum is `positive = not (top p xor top q xor c3)`, it does not saturate where
//! `keep = positive z`, and there y = v = mid p + mid q + c1 - 2^a c2; where `positive xor keep`, y = 2^a - 1; elsewhere 0.
//! In `Z_(a+1)` the term of c2 is local: 2^a (c xor c') = 2^a (c + c').
//!
//! *Steps.*
//! 1. the server adds the constants;
//! 2. one carry chain over the digits of p and q gives c1, c2, c3 and z ([`super::carry`]); c1 is made arithmetic meanwhile;
//! 3. `keep v`, and the saturated bit made arithmetic, times 2^a - 1;
//! 4. known-sign extension from `Z_(a+1)` to `Z_m`; the server takes 2^(a-1) off when signed.
//!
//! Cost, an element, for digits of w bits:
//! - the first digit of the chain w + (2^w - 1) bits; a later one 4 bits if w = 1, else w + 2 (2^w - 1) + 4; a saturating one
//!   4 bits if w = 1, else w + 3 (2^w - 1) + 6; and 4 bits more for each saturating digit;
//! - 2 (a + 2) bits for the selection, a + 1 for c1 where k > 0, a + 1 for saturation where h > 0, m - a for the extension
//!   where m > a + 1;
//! - correlated transfers that the server sends: the widths of the first digit and of all with w > 1, one for each AND and one
//!   for the selection; that the client sends: one for each AND, for the selection, for c1, saturation and extension. There
//!   is an AND for every digit but the first, and one for every saturating digit.
//!
//! Security: that of the parts; nothing is opened but what masks hide.

use super::b2a::Lift;
use super::carry::{Digits, Segment, Walk, WalkPrice};
use super::extend::KnownSign;
use super::mux::Selection;
use super::turn::{Script, Turn};
use super::{check_digit, check_parameters, check_share};
use crate::{BitString, Bits, Clear, Cost, Error, Operator, Role, Session, Share};

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
    /// Whether the result is two's complement.
    pub signed: bool,
    /// `m`: the ring of the result, of at least a + 1 bits.
    pub out: Bits,
    /// Widest digit of the carry chain, 1 to 4.
    pub digit: u32,
}

impl Requant {
    /// What is wrong with the parameters, if anything.
    pub fn check(&self) -> Result<(), String> {
        let l = self.ring.get();
        if self.shift > 62 || self.shift + 2 > l {
            return Err(format!("a shift of at most l - 2, found {} in {l} bit", self.shift));
        }
        if !(1..=63).contains(&self.bits) || self.bits + 1 > self.out.get() {
            return Err(format!("1 to m - 1 bits, found {} for {} bit", self.bits, self.out));
        }
        if self.signed && self.shift + self.bits + 1 > l {
            return Err(format!("l of at least k + a + 1 for a signed result, found {self:?}"));
        }
        check_digit(self.digit)
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

    /// What the server adds before: the rounding constant, and what makes a signed result unsigned.
    fn constant(&self) -> u64 {
        let rounding = if self.shift > 0 { 1 << (self.shift - 1) } else { 0 };
        let signed = if self.signed { 1 << (self.shift + self.bits - 1) } else { 0 };
        self.ring.reduce(rounding + signed)
    }

    /// What is taken off after.
    fn offset(&self) -> u64 {
        if self.signed { 1 << (self.bits - 1) } else { 0 }
    }

    fn chain(&self) -> Digits {
        let (k, a) = (self.shift, self.kept());
        let segments = [
            Segment { at: 0, bits: k, zero: false },
            Segment { at: k, bits: a, zero: false },
            Segment { at: k + a, bits: self.saturating(), zero: true },
        ];
        Digits::chain(self.len, self.digit, &segments)
    }

    fn extension(&self) -> KnownSign {
        KnownSign { len: self.len, from: self.small(), to: self.out }
    }
}

impl Operator for Requant {
    type Input = Share;
    type Output = Share;

    const NAME: &'static str = "requant";

    fn ideal(&self, input: &Clear) -> Clear {
        let top = Bits::of(self.bits).mask() as i64;
        let requantised = |acc: &u64| {
            let rounded = self.ring.decode(self.ring.reduce(acc.wrapping_add(self.constant())));
            (rounded >> self.shift).clamp(0, top) - self.offset() as i64
        };
        Clear::encode(self.out, &input.values.iter().map(requantised).collect::<Vec<_>>())
    }

    fn cost(&self) -> Cost {
        let (chain, mut script, mut walk) = (self.chain(), Script::default(), WalkPrice::default());
        chain.price_leaves(&mut script);
        walk.segment(&mut script, &chain, 0, (0, 0));
        let lift = if self.shift > 0 { Lift::price(&mut script, self.small(), self.len) } else { (0, 0) };
        walk.segment(&mut script, &chain, 1, (lift.0, 0));
        walk.segment(&mut script, &chain, 2, (0, 0));
        let saturates = self.saturating() > 0;
        walk.factors += 1;
        walk.product(&mut script, self.len);
        let (choices, corrections) = Selection::price(&mut script, self.small(), self.len);
        let above = if saturates { Lift::price(&mut script, self.small(), self.len) } else { (0, 0) };
        script.turn(choices + above.0, choices + lift.1);
        script.turn(corrections, corrections + above.1);
        self.extension().price(&mut script);
        script.cost()
    }

    async fn run(&self, session: &mut Session, input: Share) -> Result<Share, Error> {
        check_parameters(Self::NAME, self.check(), self)?;
        check_share(Self::NAME, &input, self.ring, self.len)?;
        let mut values = input.into_values();
        if session.role() == Role::Server {
            values.iter_mut().for_each(|v| *v = self.ring.reduce(v.wrapping_add(self.constant())));
        }
        let bits = self.bits_of(session, &values).await?;
        let kept = self.select(session, bits, &values).await?;
        drop(values);
        let mut result = self.extension().run(session, kept).await?;
        if session.role() == Role::Server {
            result.iter_mut().for_each(|v| *v = v.wrapping_sub(self.offset()));
        }
        Ok(Share::new(self.out, result))
    }
}

/// Shares of the bits that step 2 gives.
struct Decision {
    /// c1, half-way to an arithmetic share.
    rounding: Option<Lift>,
    /// c2.
    wrap: BitString,
    keep: BitString,
    /// Where the result is 2^a - 1, if that can be.
    saturated: Option<BitString>,
}

impl Requant {
    /// Step 2.
    async fn bits_of(&self, session: &mut Session, values: &[u64]) -> Result<Decision, Error> {
        let mut segments = self.chain().leaves(session, values).await?.into_iter();
        let mut links = || segments.next().unwrap_or_default();
        let (mut walk, mut rounding, mut turn) = (Walk::default(), None, Turn::default());
        for link in links() {
            walk.step(session, link, Turn::default(), |_| ()).await?;
        }
        if self.shift > 0 {
            rounding = Some(Lift::ask(session, &mut turn, walk.carry.clone(), self.small())?);
        }
        for (i, link) in links().into_iter().enumerate() {
            // after a carry every link takes a turn, so the rounding's choices travel in the first
            let passenger =
                |heard: &mut _| rounding.iter_mut().filter(|_| i == 0).for_each(|r| r.asked(heard));
            walk.step(session, link, std::mem::take(&mut turn), passenger).await?;
        }
        let wrap = walk.carry.clone();
        for link in links() {
            walk.step(session, link, Turn::default(), |_| ()).await?;
        }
        let mut positive = walk.carry.xor(&BitString::of_values(values, self.ring.get() - 1));
        if session.role() == Role::Server {
            positive = positive.not();
        }
        walk.factors.push(positive.clone());
        let keep = walk.product(session).await?;
        let saturated = (self.saturating() > 0).then(|| positive.xor(&keep));
        Ok(Decision { rounding, wrap, keep, saturated })
    }

    /// Step 3: shares of the result in the small ring.
    async fn select(&self, session: &mut Session, bits: Decision, values: &[u64]) -> Result<Vec<u64>, Error> {
        let Decision { mut rounding, wrap, keep, saturated } = bits;
        let (small, kept) = (self.small(), Bits::of(self.kept()));
        let mut turn = Turn::default();
        rounding.iter_mut().for_each(|rounding| rounding.answer(&mut turn));
        let mut selection = Selection::ask(session, &mut turn, keep, small)?;
        let mut above = match saturated {
            Some(bits) => Some(Lift::ask(session, &mut turn, bits, small)?),
            None => None,
        };
        let mut heard = turn.exchange(session).await?;
        let mut kept_values: Vec<u64> = values
            .iter()
            .zip(wrap.iter())
            .map(|(v, wrap)| kept.reduce(v >> self.shift).wrapping_sub(wrap << kept.get()))
            .collect();
        if let Some(rounding) = rounding {
            let carries = rounding.answered(&mut heard);
            kept_values.iter_mut().zip(carries).for_each(|(v, c)| *v = v.wrapping_add(c));
        }
        selection.asked(&mut heard);
        above.iter_mut().for_each(|above| above.asked(&mut heard));
        let mut turn = Turn::default();
        let local = selection.answer(&mut turn, &kept_values);
        above.iter_mut().for_each(|above| above.answer(&mut turn));
        let mut heard = turn.exchange(session).await?;
        let mut result = selection.answered(local, &mut heard);
        if let Some(above) = above {
            let bits = above.answered(&mut heard).into_iter();
            result
                .iter_mut()
                .zip(bits)
                .for_each(|(y, bit)| *y = y.wrapping_add(bit.wrapping_mul(kept.mask())));
        }
        result.iter_mut().for_each(|y| *y = small.reduce(*y));
        Ok(result)
    }
}

#[cfg(test)]
mod tests;
