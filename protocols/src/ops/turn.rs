//! What is said in a conversation, section by section, and its price.

use crate::{Cost, Role};

/// A message that was heard, section by section.
pub(crate) struct Heard<'a>(&'a [u8]);

impl<'a> Heard<'a> {
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
/// are heard: a message is one deeper than what its speaker has heard.
#[derive(Clone, Copy, Default)]
pub(crate) struct Script {
    cost: Cost,
    server_heard: u64,
    client_heard: u64,
}

impl Script {
    /// A message, which the other party hears before it speaks again. An empty one is not sent.
    pub(crate) const fn say(&mut self, speaker: Role, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let (own, other) = match speaker {
            Role::Server => (self.server_heard, &mut self.client_heard),
            Role::Client => (self.client_heard, &mut self.server_heard),
        };
        let depth = own + 1;
        if depth > *other {
            *other = depth;
        }
        let rounds = if depth > self.cost.rounds { depth } else { self.cost.rounds };
        self.cost = Cost { rounds, ..self.cost.beside(Cost::message(speaker, bytes)) };
    }

    /// Both parties speak, and hear each other afterwards.
    pub(crate) const fn exchange(&mut self, bytes: usize) {
        let before = self.client_heard;
        self.say(Role::Server, bytes);
        let after = std::mem::replace(&mut self.client_heard, before);
        self.say(Role::Client, bytes);
        if after > self.client_heard {
            self.client_heard = after;
        }
    }

    /// Correlated transfers that are consumed.
    pub(crate) const fn cots(&mut self, sender: Role, count: usize) {
        self.cost = self.cost.beside(Cost::cots(sender, count as u64));
    }

    /// The price so far.
    pub(crate) const fn cost(&self) -> Cost {
        self.cost
    }
}
