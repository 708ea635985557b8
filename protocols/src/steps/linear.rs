//! A linear layer times the server's weights, plus the server's bias: the product with the client's
//! mask offline, that with the rest at the server alone.

use serde::{Deserialize, Serialize};

use super::{Body, Check, Context, Intervals, Kind, Offline, Online, Op, Prepared, Wire, WireId};
use crate::linear::{
    Algorithm, ClientHeld, Geometry, Hint, Layer, Products, Protocol, Work, multiply, winograd,
};
use crate::ot::Draws;
use crate::rates::{self, Seconds};
use crate::{Bits, Error, Phases, Role, Session, Share};

/// A linear layer times the server's weights, plus the server's bias.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// The activations; their wire's ring is at least `ring`.
    pub input: WireId,
    /// The accumulators, in `ring`.
    pub output: WireId,
    /// The convolution.
    pub geometry: Geometry,
    /// Width of the weights, two's complement, 2 to 8.
    pub weight_bits: u8,
    /// Left shift of each output channel's products, before the bias; one entry for each channel,
    /// or none. In Winograd's domain one for each position and channel, or none.
    pub shifts: Vec<u8>,
    /// The accumulators' ring.
    pub ring: Bits,
    /// How the convolution becomes products.
    pub algorithm: Algorithm,
    /// How the products are computed.
    pub protocol: Protocol,
}

impl Linear {
    /// What both parties know of the layer.
    pub fn layer(&self) -> Layer {
        Layer {
            geometry: self.geometry,
            weight_bits: u32::from(self.weight_bits),
            shifts: self.shifts.clone(),
            ring: self.ring,
            algorithm: self.algorithm,
            protocol: self.protocol,
            number: self.output,
        }
    }

    /// The largest left shift of a channel.
    pub(crate) fn largest_shift(&self) -> u8 {
        self.shifts.iter().copied().max().unwrap_or(0)
    }

    /// The ways in which it becomes products that make the same integers.
    fn algorithms(&self) -> impl Iterator<Item = Algorithm> + use<> {
        let spatial = self.algorithm != Algorithm::Winograd;
        let narrow = self.weight_bits <= 4 && self.ring.get() <= 60;
        let exact = spatial && narrow && winograd::applies(&self.geometry);
        let first = if spatial { Algorithm::Direct } else { Algorithm::Winograd };
        std::iter::once(first).chain(exact.then_some(Algorithm::WinogradExact))
    }

    /// How large its inputs are, at the most.
    fn largest_input(&self, context: &Context<'_>) -> f64 {
        let (low, high) = context.wires[self.input].range();
        let most = low.unsigned_abs().max(high.unsigned_abs()) as f64;
        // What is sliced or summed may reach half of what its width allows, and no more.
        if context.masks.drawn[self.input] { most } else { most / 2.0 }
    }

    /// Its hint with so many outputs a polynomial, where it can have one.
    pub(crate) fn hint_of(&self, context: &Context<'_>, outputs: u16) -> Option<Hint> {
        Hint::of(&self.layer(), self.largest_input(context), outputs)
    }

    /// The same with so many bits of noise.
    pub(crate) fn hint_with_noise(
        &self,
        context: &Context<'_>,
        (outputs, noise): (u16, u8),
    ) -> Option<Hint> {
        Hint::bearing(&self.layer(), self.largest_input(context), (outputs, noise))
    }

    /// Ways to do it by a hint, with its input's mask out of the encryptions where that is free.
    fn hints(&self, context: &Context<'_>) -> impl Iterator<Item = Hint> {
        let most = self.largest_input(context);
        let free = self.algorithm == Algorithm::Direct && self.draws_first(context);
        let carry = self.algorithm == Algorithm::Direct && context.masks.carry_borne[self.output];
        let hints: Vec<Hint> = Hint::all(&self.layer(), most).collect();
        // Left to what reads it, the carry costs nothing here and a little there.
        let ways = if carry { &[true, false][..] } else { &[false] };
        let ways = hints.into_iter().flat_map(|hint| ways.iter().map(move |way| (hint, *way)));
        ways.map(move |(hint, carry)| hint.drawing(free).carrying(carry))
    }

    /// What its output's wire has to say of a carry.
    pub fn carry(&self) -> Option<u8> {
        self.protocol.carries().then(|| self.largest_shift())
    }

    /// Whether it is the first step to read its input, whose mask the client draws.
    fn draws_first(&self, context: &Context<'_>) -> bool {
        context.masks.first_layer[self.input] == Some(self.output)
    }
}

impl Body for Linear {
    fn inputs(&self) -> Vec<WireId> {
        vec![self.input]
    }

    fn output(&self) -> Option<WireId> {
        Some(self.output)
    }

    fn kind(&self) -> Option<Kind> {
        Some(Kind::Linear)
    }

    fn protocol(&self) -> String {
        format!("{}{}", self.algorithm.label(), self.protocol.label())
    }

    fn ring(&self, _: &[Wire]) -> Bits {
        self.ring
    }

    fn check(&self, check: &Check<'_>) -> Result<(), Error> {
        check.parameters("layer", self.layer().check())?;
        let (from, to) = (check.wire(self.input), check.wire(self.output));
        let shape = self.geometry.in_shape();
        let found = format!("{:?}", from.shape);
        check.require(from.shape == shape, "input", format!("{shape:?}"), found)?;
        check.shape(Some(self.geometry.out_shape()), self.output)?;
        // Shares in a larger ring are shares in a smaller one once they are reduced; not the other
        // way round.
        let most = format!("at most its input's {}", from.ring);
        check.require(from.ring >= self.ring, "ring", most, self.ring)?;
        let (carry, found) = (self.carry(), format!("{:?}", to.carry));
        check.require(to.carry == carry, "output's carry", format!("{carry:?}"), found)?;
        let same = format!("its output's {}", to.value_ring());
        check.require(to.value_ring() == self.ring.get(), "ring", same, self.ring)
    }

    fn known(&self, known: &[bool]) -> bool {
        known[self.input]
    }

    fn variants(&self, context: &Context<'_>) -> Vec<Op> {
        let trees = self.algorithms().flat_map(|a| Protocol::all().map(move |p| (a, p)));
        let hints = self.hints(context).map(|hint| (self.algorithm, Protocol::Hint(hint)));
        // Beside another layer it is by that layer's leave.
        let beside = self.protocol.hint().is_some_and(|hint| hint.beside.is_some());
        let beside = beside.then_some((self.algorithm, self.protocol));
        let steps = trees.chain(hints).chain(beside).map(|(algorithm, protocol)| Self {
            algorithm,
            protocol,
            ..self.clone()
        });
        steps.filter(|step| step.layer().check().is_ok()).map(Op::Linear).collect()
    }

    fn widen(&mut self, wire: WireId, ring: Bits) -> Vec<WireId> {
        if wire != self.output {
            return Vec::new();
        }
        self.ring = Bits::of(ring.get() - u32::from(self.carry().is_some()));
        vec![self.input]
    }

    fn cost(&self, _: &Context<'_>, images: usize) -> Phases {
        self.layer().cost(images)
    }

    fn draws(&self, _: &Context<'_>, images: usize) -> Draws {
        Draws { offline: self.layer().demands(images), ..Draws::default() }
    }

    fn seconds(&self, context: &Context<'_>, images: usize) -> Seconds {
        let layer = self.layer();
        let seconds = layer.seconds(images);
        let made = if layer.kept(context.streamed) { 0.0 } else { seconds.setup };
        let online = layer.macs() as f64 * images as f64 * rates::MAC;
        Seconds { offline: seconds.offline + made, online }
    }

    fn held_bytes(&self, context: &Context<'_>, _: Role, images: usize) -> u64 {
        context.bytes(self.output, images)
    }

    fn offline_bytes(&self, _: &Context<'_>, role: Role, images: usize) -> u64 {
        self.layer().memory(role, images).running
    }

    fn online_bytes(&self, _: &Context<'_>, role: Role, images: usize) -> u64 {
        if role == Role::Server { self.layer().local_bytes(images) } else { 0 }
    }

    fn follow(&self, intervals: &mut Intervals<'_>) -> Result<(), Error> {
        let (layer, name) = (self.layer(), intervals.name);
        let weights = intervals.layer()?;
        weights.check(&layer, name)?;
        let range = weights.range(&layer, intervals.of(self.input));
        intervals.write(self.output, range)
    }

    fn offline<'a>(&'a self, session: &'a mut Session, run: Offline<'a>) -> Work<'a, Prepared> {
        Box::pin(async move {
            let layer = self.layer();
            let state = run.state.expect("invariant: a layer's state is kept or fresh");
            let weights = run.weights.map(|own| own.weights.as_slice());
            let (images, secrets) = (run.images, run.secrets);
            let products = Products { layer: &layer, images, state, weights, secrets };
            let share = if layer.draws() {
                let ring = run.context.wires[self.input].ring;
                let (share, mask) = products.draw(session, ring).await?;
                run.masks[self.input] = mask;
                share
            } else {
                let mask = ClientHeld(run.masks[self.input].clone());
                session.run(&products, mask).await?
            };
            if session.role() == Role::Client {
                // Its share of the products is the client's whole share of the output: online it
                // adds nothing.
                run.masks[self.output] = Some(share.clone());
            }
            Ok(Prepared::new(share))
        })
    }

    fn online<'a>(&'a self, _: &'a mut Session, mut run: Online<'a>) -> Work<'a, Option<Share>> {
        Box::pin(async move {
            let product = run.prepared.take::<Share>();
            let product = product.expect("invariant: every linear step was prepared, once");
            let Some(own) = run.weights else { return Ok(Some(product)) };
            let layer = self.layer();
            let share = run.share(self.input).values();
            let values = multiply(&layer, &own.weights, run.images, share);
            let columns = run.images * layer.geometry.positions();
            let carry = u32::from(self.carry().is_some());
            // Below a carry of `2^e` nothing may be added that reaches across it. What is left out
            // of a bias is less than a unit of all that the requantization sums.
            let bias: Vec<i64> = own
                .bias
                .iter()
                .enumerate()
                .map(|(channel, &bias)| {
                    let below = carry * layer.shift(channel);
                    bias >> below << below
                })
                .collect();
            // `W x = W (x - r) + W r`: the first product is the server's own, of the second it has
            // a share, of twice it where there is a carry.
            let sums = product.values().iter().zip(values).enumerate().map(|(at, (a, b))| {
                a.wrapping_add(b.wrapping_add(bias[at / columns] as u64) << carry)
            });
            Ok(Some(Share::new(product.ring(), sums.collect())))
        })
    }
}
