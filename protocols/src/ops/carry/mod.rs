//! Carries of `p + q`, over the digits of the server's value p and the client's value q, as
//! circuits over flags of digits.
//!
//! *Functionality.* From private p and q to shares of the carry out of some low bits of their sum,
//! and of whether bits of the sum are zero.
//!
//! *Identity.* With `g`: the digits' sum carries, `t`: it is all ones, `z`: it is zero mod 2^w, `c'
//! = g xor t c` (g and t exclude each other), and with carry c the digit of the sum is zero where
//! `c ? t : z`, which is `z xor c (t xor z)`. For digits of one bit t and z are local, and `c' = c
//! xor (p xor c)(q xor c)`.
//!
//! *Steps.*
//! 1. for all digits at once, a 1-of-2^w OT of the flags: the client's digits choose, the
//!    server's make the tables; only the flags that are used are bought ([`leaf`]);
//! 2. level by level, the ANDs of the circuit ([`circuit`]). In a chain ([`chain`]) a level is a
//!    digit. Neighbors may also be combined before their carry is known: `(g, t)` of two digits is
//!    `(g' xor t' g, t' t)` ([`block`]). Which digits, and which of them in blocks, is what the
//!    fewest bits within an AND depth take ([`fewest`]).
//!
//! Cost: `w + (2^w - 1) f` bits a digit with f flags bought, of which a digit of one bit needs one
//! or, where its carry comes in, none; 4 bits an AND, and 2 more for each further operand of one
//! that is shared. Rounds: one for the choices, which need the client's values alone; one for the
//! tables; one a level. Security: that of the OTs and ANDs; all that is seen are their masked
//! messages.

mod bits;
mod block;
mod chain;
pub(super) mod circuit;
mod fewest;
mod known;
mod leaf;

use std::sync::Arc;

use super::messages::Messages;
use crate::{BitString, Error, Session};
pub(super) use bits::{SumBits, sum_bits};
use circuit::Circuit;
pub(super) use circuit::Wire;
pub(super) use leaf::Chosen;

/// Widest digit: wider ones cost more in every respect.
pub(super) const MAX_DIGIT: u32 = 4;

/// What is to be known of `p + q`, cut into dropped bits, kept bits, saturating bits and the top
/// bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Parts {
    /// `k`.
    pub dropped: u32,
    /// `a`, at least 1.
    pub kept: u32,
    /// `h`.
    pub saturating: u32,
}

/// Wires of a circuit that tell it.
pub(super) struct Decision {
    /// The carry into the kept bits, where bits are dropped.
    pub rounding: Option<Wire>,
    /// The carry out of the kept bits.
    pub wrap: Option<Wire>,
    /// The same, where the sum is kept, and zero elsewhere.
    pub kept_wrap: Option<Wire>,
    /// Whether all bits above the kept ones are zero.
    pub keep: Wire,
    /// Whether only the top one is, where there are others.
    pub saturated: Option<Wire>,
}

/// A circuit, and what it decides.
pub(super) struct Network {
    pub circuit: Circuit,
    pub decision: Decision,
}

impl Network {
    /// The network of the fewest bits within `and_depth`, or else within as few as there can be; it
    /// tells `kept_wrap` or else `wrap`.
    pub(super) fn new(parts: Parts, and_depth: u32, kept_wrap: bool) -> Arc<Self> {
        known::network(parts, and_depth, kept_wrap)
    }
}

/// The carry out of the low `bits` bits of both parties' values. No bits carry nothing.
pub(super) async fn carry(
    session: &mut Session,
    values: &[u64],
    bits: u32,
    digit: u32,
) -> Result<BitString, Error> {
    let mut circuit = Circuit::default();
    match chain::carry(&mut circuit, bits, digit) {
        Some(carry) => Ok(circuit.run(session, values).await?.of(carry).clone()),
        None => Ok(BitString::zeros(values.len())),
    }
}

/// The price of [`carry`].
pub(super) fn price_carry(messages: &mut Messages, len: usize, bits: u32, digit: u32) {
    let mut circuit = Circuit::default();
    chain::carry(&mut circuit, bits, digit);
    circuit.price(messages, len);
}
