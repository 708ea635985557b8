//! The messages of an operator, section by section, and their price.

use crate::ot::{Demand, Use};
use crate::{Cost, Role};

/// A message that was received, section by section.
pub(crate) struct Incoming<'a>(&'a [u8]);

impl<'a> Incoming<'a> {
    /// All of a message.
    pub(crate) const fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The next section.
    pub(crate) fn next(&mut self, len: usize) -> &'a [u8] {
        let (section, rest) = self.0.split_at(len);
        self.0 = rest;
        section
    }
}

/// The price of a conversation within one operator, message by message in the order in which they
/// are received: a message is one deeper than what its sender has received. With the OTs that it
/// draws, in the order in which each direction's are drawn.
#[derive(Default)]
pub(crate) struct Messages {
    cost: Cost,
    demands: Vec<Demand>,
    server_depth: u64,
    client_depth: u64,
}

impl Messages {
    /// A message, which the other party receives before it sends again. An empty one is not sent.
    pub(crate) const fn send(&mut self, sender: Role, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let (own, other) = match sender {
            Role::Server => (self.server_depth, &mut self.client_depth),
            Role::Client => (self.client_depth, &mut self.server_depth),
        };
        let depth = own + 1;
        if depth > *other {
            *other = depth;
        }
        let rounds = if depth > self.cost.rounds { depth } else { self.cost.rounds };
        self.cost = Cost { rounds, ..self.cost.beside(Cost::message(sender, bytes)) };
    }

    /// Both parties send, and receive afterwards.
    pub(crate) const fn exchange(&mut self, bytes: usize) {
        let before = self.client_depth;
        self.send(Role::Server, bytes);
        let after = std::mem::replace(&mut self.client_depth, before);
        self.send(Role::Client, bytes);
        if after > self.client_depth {
            self.client_depth = after;
        }
    }

    /// OTs that are drawn at once.
    pub(crate) fn draw(&mut self, sender: Role, used: Use, len: usize) {
        let demand = Demand { sender, used, len };
        self.cost = self.cost.beside(Cost::cots(sender, demand.cots() as u64));
        self.demands.push(demand);
    }

    /// What is drawn.
    pub(crate) fn into_demands(self) -> Vec<Demand> {
        self.demands
    }

    /// The price so far.
    pub(crate) const fn cost(&self) -> Cost {
        self.cost
    }
}
