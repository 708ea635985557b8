//! Turns of a conversation: what goes the same way at the same time is one message, and its price.

use crate::{Cost, Error, Role, Session};

/// What both parties say at the same time; sections are added in the same order at both.
#[derive(Default)]
pub(crate) struct Turn {
    said: Vec<u8>,
    expected: usize,
}

impl Turn {
    /// Adds a section to this party's message.
    pub(crate) fn say(&mut self, section: &[u8]) {
        self.said.extend_from_slice(section);
    }

    /// Expects a section of the peer's message.
    pub(crate) const fn hear(&mut self, len: usize) {
        self.expected += len;
    }

    /// Both say a section of this length.
    pub(crate) fn swap(&mut self, section: &[u8]) {
        self.say(section);
        self.hear(section.len());
    }

    /// Sends this party's message, then waits for the peer's.
    pub(crate) async fn exchange(self, session: &mut Session) -> Result<Heard, Error> {
        session.channel.send(&self.said)?;
        drop(self.said);
        Ok(Heard { message: session.channel.receive(self.expected).await?, at: 0 })
    }
}

/// What the peer said in a turn, section by section.
pub(crate) struct Heard {
    message: Vec<u8>,
    at: usize,
}

impl Heard {
    /// The next section.
    pub(crate) fn next(&mut self, len: usize) -> &[u8] {
        let section = &self.message[self.at..self.at + len];
        self.at += len;
        section
    }
}

/// The price of a sequence of turns within one operator: a party waits for what it is to hear before it speaks again.
#[derive(Clone, Copy, Default)]
pub(crate) struct Script {
    cost: Cost,
    server_heard: u64,
    client_heard: u64,
}

impl Script {
    /// A turn in which the parties say this many bytes.
    pub(crate) const fn turn(&mut self, server: usize, client: usize) {
        let (server_depth, client_depth) = (self.server_heard + 1, self.client_heard + 1);
        let moved = Cost::message(Role::Server, server).beside(Cost::message(Role::Client, client));
        let mut rounds = self.cost.rounds;
        if server > 0 {
            rounds = if rounds > server_depth { rounds } else { server_depth };
            self.client_heard =
                if self.client_heard > server_depth { self.client_heard } else { server_depth };
        }
        if client > 0 {
            rounds = if rounds > client_depth { rounds } else { client_depth };
            self.server_heard =
                if self.server_heard > client_depth { self.server_heard } else { client_depth };
        }
        self.cost = Cost { rounds, ..self.cost.beside(moved) };
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
