//! What an operator moves: bytes by direction, rounds, and correlated OTs by sender.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};

use serde::{Deserialize, Serialize};

use crate::Role;
use crate::frame::framed_len;

/// The exact cost of an operator in one phase. Additive: operators that run one after the other add
/// their costs, those that run at the same time compose with [`Cost::beside`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Bytes that the server sends, framing included.
    pub server_bytes: u64,
    /// Bytes that the client sends, framing included.
    pub client_bytes: u64,
    /// One-way messages on the critical path.
    pub rounds: u64,
    /// Correlated OTs consumed of which the server is the sender.
    pub server_cots: u64,
    /// Correlated OTs consumed of which the client is the sender.
    pub client_cots: u64,
}

impl Cost {
    /// Nothing.
    pub const ZERO: Self =
        Self { server_bytes: 0, client_bytes: 0, rounds: 0, server_cots: 0, client_cots: 0 };

    /// One message of `payload` bytes from `sender`; an empty message is not sent.
    pub const fn message(sender: Role, payload: usize) -> Self {
        let bytes = framed_len(payload);
        let rounds = if payload == 0 { 0 } else { 1 };
        match sender {
            Role::Server => Self { server_bytes: bytes, rounds, ..Self::ZERO },
            Role::Client => Self { client_bytes: bytes, rounds, ..Self::ZERO },
        }
    }

    /// Both parties send `payload` bytes at the same time.
    pub const fn exchange(payload: usize) -> Self {
        Self::message(Role::Server, payload).beside(Self::message(Role::Client, payload))
    }

    /// `count` correlated OTs out of the pool in which `sender` is the sender.
    pub const fn cots(sender: Role, count: u64) -> Self {
        match sender {
            Role::Server => Self { server_cots: count, ..Self::ZERO },
            Role::Client => Self { client_cots: count, ..Self::ZERO },
        }
    }

    /// The OTs that it consumes, of both directions.
    pub const fn consumed(&self) -> u64 {
        self.server_cots + self.client_cots
    }

    /// The cost of two parts that run at the same time: bytes and OTs add, rounds take the
    /// maximum.
    #[must_use]
    pub const fn beside(self, other: Self) -> Self {
        Self {
            server_bytes: self.server_bytes + other.server_bytes,
            client_bytes: self.client_bytes + other.client_bytes,
            rounds: if self.rounds > other.rounds { self.rounds } else { other.rounds },
            server_cots: self.server_cots + other.server_cots,
            client_cots: self.client_cots + other.client_cots,
        }
    }

    /// The cost of two parts, one after the other.
    #[must_use]
    pub const fn then(self, other: Self) -> Self {
        let rounds = self.rounds + other.rounds;
        Self { rounds, ..self.beside(other) }
    }

    /// Bytes in both directions.
    pub const fn bytes(&self) -> u64 {
        self.server_bytes + self.client_bytes
    }

    /// Bits in both directions.
    pub const fn bits(&self) -> u64 {
        8 * self.bytes()
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.then(other)
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = self.then(other);
    }
}

impl Mul<u64> for Cost {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self {
            server_bytes: self.server_bytes * times,
            client_bytes: self.client_bytes * times,
            rounds: self.rounds * times,
            server_cots: self.server_cots * times,
            client_cots: self.client_cots * times,
        }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::ZERO, Self::then)
    }
}

/// The cost of a step, phase by phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Once per session: handshake, base OTs, bootstrap of the extension, weight trees.
    pub setup: Cost,
    /// Per inference, before the input is known.
    pub offline: Cost,
    /// Per inference, from the input on.
    pub online: Cost,
}

impl Add for Phases {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            setup: self.setup + other.setup,
            offline: self.offline + other.offline,
            online: self.online + other.online,
        }
    }
}

impl Sum for Phases {
    fn sum<I: Iterator<Item = Self>>(phases: I) -> Self {
        phases.fold(Self::default(), Add::add)
    }
}
