//! Circuits over shared bits: exclusive or is local, and all ANDs of one level are one message each
//! way.
//!
//! *Order of messages.* Opening an AND takes a message of each party. They take turns: on odd
//! levels the server speaks first, on even ones the client. Whoever speaks second has both halves
//! then, so it sends its half of the next level in the same message: a level is one message on the
//! critical path, and the server's half of the first level travels with its tables.

use super::super::and::Products;
use super::super::messages::{Incoming, Messages};
use super::leaf::{self, Chosen, Digit, Flag, Leaves};
use crate::{BitString, Error, Role, Session};

/// A bit of a circuit, for every element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ops) struct Wire(usize);

/// Bits of ANDs of one operand with `others` ones.
pub(super) const fn ands(others: u32) -> u32 {
    2 + 2 * others
}

#[derive(Clone, Copy)]
enum Gate {
    /// The next flag of the digits.
    Flag,
    /// A bit of a party's own value, zero at the other.
    Own(Role, u32),
    Xor(Wire, Wire),
    Not(Wire),
    /// Of an operand that others may share, and another.
    And(Wire, Wire),
}

/// A circuit, built in order: a gate reads wires that exist.
#[derive(Default)]
pub(in crate::ops) struct Circuit {
    gates: Vec<Gate>,
    /// ANDs on the way to each wire.
    and_depth: Vec<usize>,
    digits: Vec<Digit>,
}

impl Circuit {
    /// The flags of a digit pair.
    pub(super) fn digit<const N: usize>(
        &mut self,
        at: u32,
        width: u32,
        flags: &'static [Flag; N],
    ) -> [Wire; N] {
        self.digits.push(Digit { at, width, flags });
        std::array::from_fn(|_| self.put(Gate::Flag, 0))
    }

    /// A bit of a party's value.
    pub(super) fn own(&mut self, role: Role, at: u32) -> Wire {
        self.put(Gate::Own(role, at), 0)
    }

    /// The exclusive or of both parties' bits.
    pub(super) fn both(&mut self, at: u32) -> Wire {
        let (server, client) = (self.own(Role::Server, at), self.own(Role::Client, at));
        self.xor(server, client)
    }

    pub(super) fn xor(&mut self, a: Wire, b: Wire) -> Wire {
        let level = self.level(a).max(self.level(b));
        self.put(Gate::Xor(a, b), level)
    }

    pub(super) fn not(&mut self, a: Wire) -> Wire {
        let level = self.level(a);
        self.put(Gate::Not(a), level)
    }

    /// A product. Those of one level that share the first operand are opened together.
    pub(super) fn and(&mut self, shared: Wire, other: Wire) -> Wire {
        let level = 1 + self.level(shared).max(self.level(other));
        self.put(Gate::And(shared, other), level)
    }

    /// The product of all factors, of the least depth.
    pub(super) fn product(&mut self, mut factors: Vec<Wire>) -> Option<Wire> {
        // The two shallowest first, as in Huffman's codes: no other order of products is less deep.
        while factors.len() > 1 {
            factors.sort_by_key(|factor| self.level(*factor));
            let product = self.and(factors[0], factors[1]);
            factors.splice(..2, [product]);
        }
        factors.pop()
    }

    pub(in crate::ops) fn level(&self, wire: Wire) -> usize {
        self.and_depth[wire.0]
    }

    /// The level of the deepest wire.
    pub(in crate::ops) fn depth(&self) -> usize {
        self.and_depth.iter().copied().max().unwrap_or(0)
    }

    /// Bits an element, of choices, flags and ANDs.
    pub(in crate::ops) fn bits(&self) -> u32 {
        let flags = self
            .digits
            .iter()
            .map(|digit| leaf::bits(digit.width, digit.flags.len() as u32))
            .sum::<u32>();
        let groups = (1..=self.depth()).flat_map(|level| self.groups(level));
        flags + groups.map(|(_, others)| ands(others.len() as u32)).sum::<u32>()
    }

    pub(in crate::ops) fn leaves(&self, len: usize) -> Leaves<'_> {
        Leaves { len, digits: &self.digits }
    }

    fn put(&mut self, gate: Gate, level: usize) -> Wire {
        self.gates.push(gate);
        self.and_depth.push(level);
        Wire(self.gates.len() - 1)
    }

    /// The ANDs of a level, by shared operand.
    fn groups(&self, level: usize) -> Vec<(Wire, Vec<(Wire, usize)>)> {
        let mut groups: Vec<(Wire, Vec<(Wire, usize)>)> = Vec::new();
        for (at, gate) in self.gates.iter().enumerate() {
            let Gate::And(shared, other) = *gate else { continue };
            if self.and_depth[at] != level {
                continue;
            }
            match groups.iter_mut().find(|(operand, _)| *operand == shared) {
                Some((_, others)) => others.push((other, at)),
                None => groups.push((shared, vec![(other, at)])),
            }
        }
        groups
    }

    /// The price of a level.
    pub(in crate::ops) fn price_level(&self, messages: &mut Messages, len: usize, level: usize) {
        let bytes = self
            .groups(level)
            .iter()
            .map(|(_, others)| Products::price(messages, len, others.len()))
            .sum();
        messages.send(first(level), bytes);
        messages.send(first(level).peer(), bytes);
    }

    /// The price of everything, choices included.
    pub(in crate::ops) fn price(&self, messages: &mut Messages, len: usize) {
        self.leaves(len).price_ask(messages);
        self.leaves(len).price_answer(messages);
        (1..=self.depth()).for_each(|level| self.price_level(messages, len, level));
    }

    /// Evaluates everything, choices included.
    pub(in crate::ops) async fn run(
        &self,
        session: &mut Session,
        values: &[u64],
    ) -> Result<Evaluation<'_>, Error> {
        let chosen = self.leaves(values.len()).choose(session, values).await?;
        let mut evaluation = self.start(session, chosen, values).await?;
        for level in 1..=self.depth() {
            evaluation.level(session, level).await?;
        }
        Ok(evaluation)
    }

    /// Evaluates the flags: level 0.
    pub(in crate::ops) async fn start(
        &self,
        session: &mut Session,
        chosen: Chosen,
        values: &[u64],
    ) -> Result<Evaluation<'_>, Error> {
        let flags = self.leaves(values.len()).respond(session, chosen, values).await?;
        let wires = vec![BitString::default(); self.gates.len()];
        let mut evaluation = Evaluation { circuit: self, role: session.role(), wires };
        let mut flags = flags.into_iter();
        for (at, gate) in self.gates.iter().enumerate() {
            evaluation.wires[at] = match *gate {
                Gate::Flag => flags.next().unwrap_or_default(),
                Gate::Own(role, at) if role == session.role() => BitString::of_values(values, at),
                Gate::Own(..) => BitString::zeros(values.len()),
                Gate::Xor(..) | Gate::Not(_) | Gate::And(..) => continue,
            };
        }
        evaluation.combine(0);
        Ok(evaluation)
    }
}

/// Who speaks first on a level.
fn first(level: usize) -> Role {
    if level % 2 == 1 { Role::Server } else { Role::Client }
}

/// A circuit under way: this party's shares of the wires of the levels so far.
pub(in crate::ops) struct Evaluation<'a> {
    circuit: &'a Circuit,
    role: Role,
    wires: Vec<BitString>,
}

impl Evaluation<'_> {
    /// This party's share of a wire that is known.
    pub(in crate::ops) fn of(&self, wire: Wire) -> &BitString {
        &self.wires[wire.0]
    }

    /// Evaluates the next level.
    pub(in crate::ops) async fn level(
        &mut self,
        session: &mut Session,
        level: usize,
    ) -> Result<(), Error> {
        let groups = self.circuit.groups(level);
        let (mut outgoing, mut opened) = (Vec::new(), Vec::with_capacity(groups.len()));
        for (shared, others) in &groups {
            let others = others.iter().map(|(other, _)| self.of(*other).clone()).collect();
            let products = Products::open(session, self.of(*shared), others)?;
            products.send(&mut outgoing);
            opened.push(products);
        }
        // Both halves are equally long. Who is first here was second on the level before, or has
        // sent the tables: it waits for nothing.
        let message = if session.role() == first(level) {
            session.channel.send(&outgoing)?;
            session.channel.receive(outgoing.len()).await?
        } else {
            let message = session.channel.receive(outgoing.len()).await?;
            session.channel.send(&outgoing)?;
            message
        };
        let mut incoming = Incoming::of(&message);
        for ((_, others), products) in groups.iter().zip(opened) {
            for ((_, at), product) in others.iter().zip(products.close(&mut incoming)) {
                self.wires[*at] = product;
            }
        }
        self.combine(level);
        Ok(())
    }

    /// The local gates of a level.
    fn combine(&mut self, level: usize) {
        for (at, gate) in self.circuit.gates.iter().enumerate() {
            // A gate reads wires before it: of lower levels, or of this one and already combined.
            if self.circuit.and_depth[at] != level {
                continue;
            }
            match *gate {
                Gate::Xor(a, b) => self.wires[at] = self.of(a).xor(self.of(b)),
                Gate::Not(a) if self.role == Role::Server => self.wires[at] = self.of(a).not(),
                Gate::Not(a) => self.wires[at] = self.of(a).clone(),
                Gate::Flag | Gate::Own(..) | Gate::And(..) => {}
            }
        }
    }
}
