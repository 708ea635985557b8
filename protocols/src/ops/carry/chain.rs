//! Chains: the carry ripples from digit to digit.

use super::block::{Carries, with_zero};
use super::circuit::{Circuit, Wire};
use super::leaf::Flag;
use crate::Role;

/// Digits of at most `widest` bits, the widest first: their lowest bits and widths.
pub(super) fn cut(at: u32, bits: u32, widest: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..bits).step_by(widest as usize).map(move |low| (at + low, widest.min(bits - low)))
}

/// The carry out of `bits` bits, at the fewest bits for digits of at most `widest`; no bits carry
/// nothing.
pub(super) fn carry(circuit: &mut Circuit, bits: u32, widest: u32) -> Option<Wire> {
    cut(0, bits, widest).fold(None, |carry, (at, width)| Some(ripple(circuit, at, width, carry)))
}

/// The carry out of one digit.
fn ripple(circuit: &mut Circuit, at: u32, width: u32, carry: Option<Wire>) -> Wire {
    let Some(carry) = carry else {
        let [carries] = circuit.digit(at, width, &[Flag::Carry]);
        return carries;
    };
    step(circuit, at, width, 0, carry)
}

/// The carry out of a digit of one bit, or of a block that is known within an AND depth.
pub(super) fn step(
    circuit: &mut Circuit,
    at: u32,
    width: u32,
    and_depth: usize,
    carry: Wire,
) -> Wire {
    if width == 1 {
        return bit(circuit, at, carry);
    }
    Carries::build(circuit, at, width, and_depth).out(circuit, carry)
}

/// The carry out of a digit of one bit: the majority.
fn bit(circuit: &mut Circuit, at: u32, carry: Wire) -> Wire {
    let (server, client) = (circuit.own(Role::Server, at), circuit.own(Role::Client, at));
    let (server, client) = (circuit.xor(server, carry), circuit.xor(client, carry));
    let product = circuit.and(server, client);
    circuit.xor(carry, product)
}

/// The carry out of one digit, and whether the sum's digit is zero.
pub(super) fn ripple_and_zero(
    circuit: &mut Circuit,
    at: u32,
    width: u32,
    carry: Wire,
) -> (Wire, Wire) {
    if width == 1 {
        let bits = circuit.both(at);
        let sum = circuit.xor(bits, carry);
        return (bit(circuit, at, carry), circuit.not(sum));
    }
    let (carries, zero) = with_zero(circuit, at, width);
    let changes = circuit.xor(zero, carries.t);
    let (carried, changed) = (carries.out(circuit, carry), circuit.and(carry, changes));
    (carried, circuit.xor(zero, changed))
}
