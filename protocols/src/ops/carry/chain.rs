//! Chains: the carry walks from digit to digit.

use super::circuit::{Circuit, Wire};
use super::leaf::Flag;
use crate::Role;

/// Digits of at most `widest` bits, the widest first: their lowest bits and widths.
pub(super) fn cut(at: u32, bits: u32, widest: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..bits).step_by(widest as usize).map(move |low| (at + low, widest.min(bits - low)))
}

/// The carry out of `bits` bits, at the fewest bits for digits of at most `widest`; no bits carry nothing.
pub(super) fn carry(circuit: &mut Circuit, bits: u32, widest: u32) -> Option<Wire> {
    cut(0, bits, widest).fold(None, |carry, (at, width)| Some(link(circuit, at, width, carry)))
}

/// The carry out of one digit.
fn link(circuit: &mut Circuit, at: u32, width: u32, carry: Option<Wire>) -> Wire {
    let Some(carry) = carry else {
        let [carries] = circuit.digit(at, width, &[Flag::Carry]);
        return carries;
    };
    if width == 1 {
        return bit(circuit, at, carry);
    }
    let [carries, passes] = circuit.digit(at, width, &[Flag::Carry, Flag::Pass]);
    let passed = circuit.and(carry, passes);
    circuit.xor(carries, passed)
}

/// The carry out of a digit of one bit: the majority.
pub(super) fn bit(circuit: &mut Circuit, at: u32, carry: Wire) -> Wire {
    let (server, client) = (circuit.own(Role::Server, at), circuit.own(Role::Client, at));
    let (server, client) = (circuit.xor(server, carry), circuit.xor(client, carry));
    let product = circuit.and(server, client);
    circuit.xor(carry, product)
}

/// The carry out of one digit, and whether the sum's digit is zero.
pub(super) fn link_and_zero(circuit: &mut Circuit, at: u32, width: u32, carry: Wire) -> (Wire, Wire) {
    if width == 1 {
        let bits = circuit.both(at);
        let sum = circuit.xor(bits, carry);
        return (bit(circuit, at, carry), circuit.not(sum));
    }
    let [carries, passes, zero] = circuit.digit(at, width, &[Flag::Carry, Flag::Pass, Flag::Zero]);
    let changes = circuit.xor(zero, passes);
    let (passed, changed) = (circuit.and(carry, passes), circuit.and(carry, changes));
    (circuit.xor(carries, passed), circuit.xor(zero, changed))
}
