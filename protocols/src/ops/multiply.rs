//! Products of two shared values: a tensor by a gate, or by another of its shape.
//!
//! *Functionality.* From shares of factors `x` of a bits and of gates `y` of b bits, each from a
//! least value of zero or below on, to shares of `x y` in `Z_l`. A gate multiplies n factors, which
//! lie one after the other: all rows and columns of its channel, or one where both tensors have one
//! shape.
//!
//! *Identity.* With lo the least gate and bits of `y - lo` in exclusive-or shares, `s_i xor c_i`,
//! it is `x y = sum of (s_i xor c_i) x 2^i + lo x`, whose last term is local. As in [`super::mux`],
//! either party has `s x'` of its share x' and its bit s, and `(1 - 2 s) x'` times the other's bit
//! is a product of two private values. Bit i is needed in `Z_(l-i)` alone.
//!
//! *Steps.*
//! 1. factors whose ring is smaller than l are extended: less the least of them, one is below
//!    `2^a`, so its sign is known ([`super::known_sign`]);
//! 2. gates, less the least of them, become bits: carries of their shares' sum ([`super::carry`]),
//!    over digits of at most [`Multiply::digit`] bits;
//! 3. for every bit of a gate, a correlated OT of n elements in each direction
//!    ([`crate::ot::Vectors`]): the client chooses, the server chooses and responds, the client
//!    responds.
//!
//! Cost: `1 + l - r` bits and one OT that the client sends, a factor in a ring of r < l bits; b
//! choices and OTs each way, and carries, a gate; `2 (l - i)` bits a factor and bit of its gate.
//! Rounds: 2 for step 1; 2 and one a level of ANDs for step 2; 2 for step 3, whose first message
//! goes with the client's last one of step 2, and 1 more where that is not the last of all.
//!
//! Security: that of the parts. Choices and corrections are masked by OTs that are used once.

use zeroize::Zeroize;

use super::carry::{SumBits, sum_bits};
use super::known_sign::KnownSign;
use super::messages::{Incoming, Messages};
use super::product::pass;
use super::{check_digit, check_low, check_parameters, check_share};
use crate::ot::{Demand, VectorReceiver, Vectors};
use crate::{BitString, Bits, Clear, Cost, Domain, Error, Operator, Role, Session, Share};

/// Widest gate: every bit takes an OT in each direction.
const MAX_GATE_BITS: u32 = 16;

/// What one side of a product is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    /// Width of the values.
    pub bits: u32,
    /// The least of them, at most zero: none is larger than it by `2^bits` or more.
    pub low: i64,
}

impl Factor {
    /// What makes the least value zero.
    const fn offset(self) -> u64 {
        self.low.unsigned_abs()
    }

    /// The integer that an element of a ring of its width, or of a larger one, stands for.
    fn integer(self, ring: Bits, value: u64) -> i64 {
        ring.reduce(value.wrapping_add(self.offset())) as i64 + self.low
    }
}

/// `factor * gate`, for every factor.
#[derive(Clone, Copy, Debug)]
pub struct Multiply {
    /// Number of gates.
    pub gates: usize,
    /// `n`: factors that a gate multiplies.
    pub each: usize,
    /// The factors.
    pub factor: Factor,
    /// The ring that they come in: of more bits than they have, or of as many as the result's.
    pub ring: Bits,
    /// The gates, in the ring of their width.
    pub gate: Factor,
    /// `l`: the ring of the result.
    pub out: Bits,
    /// Widest digit whose carries are looked up, 1 to 4.
    pub digit: u32,
}

impl Multiply {
    /// What is wrong with the parameters, if anything.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=MAX_GATE_BITS).contains(&self.gate.bits) {
            return Err(format!("gates of 1 to {MAX_GATE_BITS} bits, found {}", self.gate.bits));
        }
        if !(1..=63).contains(&self.factor.bits) {
            return Err(format!("factors of 1 to 63 bits, found {}", self.factor.bits));
        }
        check_low(self.gate.bits, self.gate.low)?;
        check_low(self.factor.bits, self.factor.low)?;
        let known = self.ring.get() > self.factor.bits;
        if self.ring < self.out && !known {
            return Err(format!("factors' ring of more than their bits, found {self:?}"));
        }
        if self.each == 0 || self.gates.checked_mul(self.each).is_none() {
            return Err(format!("one factor a gate at least, found {self:?}"));
        }
        check_digit(self.digit)
    }

    /// The ring of a gate's width.
    pub fn gate_ring(&self) -> Bits {
        Bits::of(self.gate.bits)
    }

    /// Number of factors.
    const fn len(&self) -> usize {
        self.gates * self.each
    }

    fn bits(&self) -> SumBits {
        sum_bits(self.gate.bits, self.digit)
    }

    /// Rings of the bits that the result depends on, the lowest first.
    fn rings(&self) -> impl Iterator<Item = Bits> + Clone + use<> {
        let out = self.out.get();
        (0..self.gate.bits.min(out)).map(move |at| Bits::of(out - at))
    }

    /// Step 1, in the order of the law: from the factors' ring to the result's.
    fn extension(&self) -> KnownSign {
        KnownSign { len: self.len(), from: self.ring.min(self.out), to: self.out }
    }

    fn messages(&self) -> Messages {
        let mut messages = Messages::default();
        self.extension().price(&mut messages);
        self.bits().price(&mut messages, self.gates);
        for ring in self.rings() {
            let used = Vectors::used(ring, self.each);
            messages.draw(Role::Server, used, self.gates);
            messages.draw(Role::Client, used, self.gates);
        }
        let (chosen, corrected) = (self.choices_len(), self.corrections_len());
        messages.send(Role::Client, chosen);
        messages.send(Role::Server, chosen + corrected);
        messages.send(Role::Client, corrected);
        messages
    }

    /// Bytes of a party's choices.
    fn choices_len(&self) -> usize {
        self.rings().count() * Bits::ONE.packed_len(self.gates)
    }

    /// Bytes of a party's corrections.
    fn corrections_len(&self) -> usize {
        self.rings().map(|ring| ring.packed_len(self.len())).sum()
    }

    /// Step 1: this party's shares of the factors in the ring of the result.
    async fn extended(&self, session: &mut Session, factors: Share) -> Result<Vec<u64>, Error> {
        if self.ring >= self.out {
            return Ok(factors.reduce(self.out).into_values());
        }
        // With the offset a factor is below `2^a`: the top bit of its ring is known to be 0.
        let offset = if session.role() == Role::Server { self.factor.offset() } else { 0 };
        let mut values = factors.into_values();
        values.iter_mut().for_each(|v| *v = self.ring.reduce(v.wrapping_add(offset)));
        let mut values = self.extension().run(session, values).await?;
        values.iter_mut().for_each(|v| *v = self.out.reduce(v.wrapping_sub(offset)));
        Ok(values)
    }

    /// Step 3, from this party's shares of the gates' bits and of the factors.
    async fn scale(
        &self,
        session: &mut Session,
        bits: Vec<BitString>,
        factors: &[u64],
    ) -> Result<Vec<u64>, Error> {
        let mut scaling = Scaling::new(self, session, bits, factors);
        let mut outgoing = Vec::new();
        if session.role() == Role::Client {
            scaling.choose(session, &mut outgoing)?;
            pass(session, Role::Client, &outgoing, outgoing.len()).await?;
            // The server's choices come first, then its corrections for the client's.
            let heard = self.choices_len() + self.corrections_len();
            let message = session.channel.receive(heard).await?;
            let mut incoming = Incoming::of(&message);
            let mut outgoing = Vec::new();
            scaling.respond(session, &mut incoming, &mut outgoing)?;
            pass(session, Role::Client, &outgoing, outgoing.len()).await?;
            scaling.finish(&mut incoming);
        } else {
            let message = session.channel.receive(self.choices_len()).await?;
            scaling.choose(session, &mut outgoing)?;
            scaling.respond(session, &mut Incoming::of(&message), &mut outgoing)?;
            pass(session, Role::Server, &outgoing, outgoing.len()).await?;
            let message = session.channel.receive(self.corrections_len()).await?;
            scaling.finish(&mut Incoming::of(&message));
        }
        Ok(scaling.products)
    }
}

/// Products under way, at one party.
struct Scaling<'a> {
    operator: &'a Multiply,
    bits: Vec<BitString>,
    factors: &'a [u64],
    /// The numbers of the vectors that this party sends, and of those that it receives.
    numbers: [u64; 2],
    receivers: Vec<VectorReceiver>,
    /// This party's shares so far.
    products: Vec<u64>,
}

impl<'a> Scaling<'a> {
    fn new(
        operator: &'a Multiply,
        session: &mut Session,
        bits: Vec<BitString>,
        factors: &'a [u64],
    ) -> Self {
        // Both parties draw the numbers of both directions, so that their nonces stay in step.
        let numbers = [0; 2].map(|_: u64| {
            let key = session.fresh_key(Domain::Key);
            key.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
        });
        let (sent, received) = match session.role() {
            Role::Server => (numbers[0], numbers[1]),
            Role::Client => (numbers[1], numbers[0]),
        };
        // What was taken off the gates: their least value times the factors, share by share.
        let low = operator.gate.low as u64;
        let products = factors.iter().map(|factor| factor.wrapping_mul(low)).collect();
        let receivers = Vec::new();
        Self { operator, bits, factors, numbers: [sent, received], receivers, products }
    }

    /// The vectors of a bit, in one direction.
    const fn vectors(&self, at: usize, ring: Bits, number: u64) -> Vectors {
        // A bit's vectors have the numbers behind those of the bit below.
        let number = number.wrapping_add((at * self.operator.gates) as u64);
        Vectors { ring, each: self.operator.each, number }
    }

    /// This party's choices of all bits.
    fn choose(&mut self, session: &mut Session, outgoing: &mut Vec<u8>) -> Result<(), Error> {
        for (at, ring) in self.operator.rings().enumerate() {
            let vectors = self.vectors(at, ring, self.numbers[1]);
            let (receiver, choices) = vectors.choose(session, self.bits[at].clone())?;
            self.receivers.push(receiver);
            outgoing.extend(choices);
        }
        Ok(())
    }

    /// The corrections for the other party's choices of all bits.
    fn respond(
        &mut self,
        session: &mut Session,
        incoming: &mut Incoming<'_>,
        outgoing: &mut Vec<u8>,
    ) -> Result<(), Error> {
        for (at, ring) in self.operator.rings().enumerate() {
            let choices = incoming.next(Bits::ONE.packed_len(self.operator.gates));
            let vectors = self.vectors(at, ring, self.numbers[0]);
            let mut correlations = self.signed(at);
            let (shares, corrections) = vectors.correct(session, &correlations, choices)?;
            correlations.zeroize();
            outgoing.extend(corrections);
            self.add(at, shares);
        }
        Ok(())
    }

    /// The products of this party's own bits: what is local, and what the corrections give.
    fn finish(&mut self, incoming: &mut Incoming<'_>) {
        let receivers = std::mem::take(&mut self.receivers);
        for ((at, ring), receiver) in self.operator.rings().enumerate().zip(receivers) {
            let corrections = incoming.next(ring.packed_len(self.operator.len()));
            let vectors = self.vectors(at, ring, self.numbers[1]);
            let mut shares = vectors.finish(receiver, corrections);
            let parts = shares.chunks_mut(self.operator.each);
            let own = self.factors.chunks(self.operator.each).zip(self.bits[at].iter());
            for (shares, (factors, bit)) in parts.zip(own) {
                // `s x'`: no message is needed for a party's own bit and share.
                let bit = bit.wrapping_neg();
                shares.iter_mut().zip(factors).for_each(|(s, x)| *s = s.wrapping_add(x & bit));
            }
            self.add(at, shares);
        }
        let out = self.operator.out;
        self.products.iter_mut().for_each(|product| *product = out.reduce(*product));
    }

    /// Factors, negated where this party's bit of their gate is 1.
    fn signed(&self, at: usize) -> Vec<u64> {
        let mut all = Vec::with_capacity(self.factors.len());
        for (factors, bit) in self.factors.chunks(self.operator.each).zip(self.bits[at].iter()) {
            // `(1 - 2 s) x'`, by complement and add one.
            let sign = bit.wrapping_neg();
            all.extend(factors.iter().map(|x| (x ^ sign).wrapping_sub(sign)));
        }
        all
    }

    /// Adds shares of a bit's products at its place.
    fn add(&mut self, at: usize, mut shares: Vec<u64>) {
        for (product, share) in self.products.iter_mut().zip(&shares) {
            *product = product.wrapping_add(share << at);
        }
        shares.zeroize();
    }
}

impl Operator for Multiply {
    /// The factors, then the gates.
    type Input = (Share, Share);
    type Output = Share;

    const NAME: &'static str = "multiply";

    fn ideal(&self, (factors, gates): &(Clear, Clear)) -> Clear {
        let gates = gates.values.iter().map(|&y| self.gate.integer(self.gate_ring(), y));
        let gates = gates.flat_map(|y| std::iter::repeat_n(y, self.each));
        let factors = factors.values.iter().map(|&x| self.factor.integer(self.ring, x));
        let products = factors.zip(gates).map(|(x, y)| self.out.encode(x.wrapping_mul(y)));
        Clear { ring: self.out, values: products.collect() }
    }

    fn cost(&self) -> Cost {
        self.messages().cost()
    }

    fn demands(&self) -> Vec<Demand> {
        self.messages().into_demands()
    }

    async fn run(
        &self,
        session: &mut Session,
        (factors, gates): Self::Input,
    ) -> Result<Share, Error> {
        check_parameters(Self::NAME, self.check(), self)?;
        check_share(Self::NAME, &factors, self.ring, self.len())?;
        check_share(Self::NAME, &gates, self.gate_ring(), self.gates)?;
        let mut factors = self.extended(session, factors).await?;
        // Less the least of them, gates are what their bits are of.
        let offset = if session.role() == Role::Server { self.gate.offset() } else { 0 };
        let mut gates = gates.into_values();
        gates.iter_mut().for_each(|y| *y = self.gate_ring().reduce(y.wrapping_add(offset)));
        let bits = self.bits().run(session, &gates).await?;
        gates.zeroize();
        let products = self.scale(session, bits, &factors).await?;
        factors.zeroize();
        Ok(Share::new(self.out, products))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::testing;

    /// Values of a width, of which the extremes are frequent, in a ring.
    fn values(factor: Factor, ring: Bits, len: usize, rng: &mut impl Rng) -> Clear {
        let own = Bits::of(factor.bits);
        let values = testing::extremes(own, len, rng);
        let values = values.into_iter().map(|v| ring.encode(factor.integer(own, v)));
        Clear { ring, values: values.collect() }
    }

    fn law(op: &Multiply, seed: u64) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let factors = values(op.factor, op.ring, op.len(), &mut rng);
        let gates = values(op.gate, op.gate_ring(), op.gates, &mut rng);
        testing::law(op, &(factors, gates), seed);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn products_obey_the_law(
            (gates, each, digit) in (0usize..70, 1usize..12, 1u32..=4),
            (factor_bits, wider, out) in (1u32..=12, 1u32..40, 1u32..=64),
            gate_bits in 1u32..=10,
            lows: [u64; 2],
            seed: u64,
        ) {
            let factor = Factor { bits: factor_bits, low: testing::low(factor_bits, lows[0]) };
            let gate = Factor { bits: gate_bits, low: testing::low(gate_bits, lows[1]) };
            let (ring, out) = (Bits::of(factor_bits + wider), Bits::of(out));
            law(&Multiply { gates, each, factor, ring, gate, out, digit }, seed);
        }
    }

    #[test]
    fn products_are_exact_for_all_values_of_small_factors_and_gates() {
        for (lows, digit) in
            [([0, 0], 1), ([0, -8], 2), ([-4, -8], 4), ([-1, -3], 2), ([-7, -15], 1)]
        {
            let factor = Factor { bits: 3, low: lows[0] };
            let gate = Factor { bits: 4, low: lows[1] };
            let (ring, gate_ring) = (Bits::of(4), Bits::of(4));
            let (gates, each) = (64, 8);
            let op = Multiply { gates, each, factor, ring, gate, out: Bits::of(8), digit };
            let all = (0..8).map(|x| ring.encode(factor.integer(Bits::of(3), x)));
            let factors: Vec<u64> = all.cycle().take(op.len()).collect();
            let clear = Clear { ring: gate_ring, values: (0..64).map(|y| y % 16).collect() };
            testing::law(&op, &(Clear { ring, values: factors }, clear), 5);
        }
    }

    #[test]
    fn a_gate_is_asked_for_once_and_answers_in_the_ring_that_is_left() {
        let (factor, gate) = (Factor { bits: 8, low: -128 }, Factor { bits: 8, low: 0 });
        let (ring, out, each) = (Bits::of(17), Bits::of(17), 64);
        let op = Multiply { gates: 8, each, factor, ring, gate, out, digit: 1 };
        // Four corrections in each direction have 17 to 10 bits; a gate's carries are a digit of 2
        // bits and six ANDs of 4.
        let bits = 8 * (64 * 2 * (17 + 16 + 15 + 14 + 13 + 12 + 11 + 10) + 2 * 8 + 2 + 6 * 4);
        let frames = 96 * (2 + 2 * 6 + 3);
        assert_eq!(op.cost().bits(), bits + frames);
        let digits = [1, 2, 4].map(|digit| Multiply { digit, ..op }.cost());
        assert_eq!(digits.map(|cost| cost.rounds), [11, 7, 5]);
        assert_eq!(digits.map(|cost| (cost.server_cots, cost.client_cots))[0], (8 * 15, 8 * 14));
    }

    #[test]
    fn unusable_products_are_errors() {
        let side = Factor { bits: 8, low: 0 };
        let (ring, out) = (Bits::of(9), Bits::of(17));
        let op = Multiply { gates: 1, each: 1, factor: side, ring, gate: side, out, digit: 1 };
        let wide = Factor { bits: 17, ..side };
        let unusable = [
            Multiply { gate: wide, ..op },
            Multiply { ring: Bits::of(8), ..op },
            Multiply { digit: 5, ..op },
            Multiply { gates: usize::MAX, each: 2, ..op },
            Multiply { each: 0, ..op },
            Multiply { gate: Factor { low: 1, ..side }, ..op },
            Multiply { factor: Factor { low: -256, ..side }, ..op },
        ];
        assert!(op.check().is_ok() && unusable.iter().all(|op| op.check().is_err()));
    }
}
