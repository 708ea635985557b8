//! All bits of `p + q`, in exclusive-or shares.
//!
//! *Identity.* A bit of a sum is the exclusive or of the summands' bits and the carry into it.
//! Carries are made digit by digit: those within a digit from the carry into it, and flags.

use super::chain::step;
use super::circuit::{Circuit, Wire};
use super::leaf::Flag;
use crate::ops::messages::Messages;
use crate::{BitString, Error, Session};

/// A circuit of the low bits of a sum.
pub(in crate::ops) struct SumBits {
    circuit: Circuit,
    bits: Vec<Wire>,
}

/// The circuit of the low `bits` bits of a sum, with flags of digits of at most `widest` bits: the
/// wider, the more bits and the fewer rounds.
pub(in crate::ops) fn sum_bits(bits: u32, widest: u32) -> SumBits {
    let mut circuit = Circuit::default();
    let mut carries = vec![None];
    for start in (0..bits.saturating_sub(1)).step_by(widest as usize) {
        // All carries up to here are known: `carries[i]` is the one into bit i.
        let into = carries[start as usize];
        for width in 1..=widest.min(bits - 1 - start) {
            carries.push(Some(match into {
                Some(carry) => step(&mut circuit, start, width, 0, carry),
                None => circuit.digit(start, width, &[Flag::Carry])[0],
            }));
        }
    }
    let sums = (0..bits).zip(carries).map(|(at, carry)| {
        let both = circuit.both(at);
        carry.map_or(both, |carry| circuit.xor(both, carry))
    });
    let bits = sums.collect();
    SumBits { circuit, bits }
}

impl SumBits {
    /// This party's shares of the bits, the lowest first.
    pub(in crate::ops) async fn run(
        &self,
        session: &mut Session,
        values: &[u64],
    ) -> Result<Vec<BitString>, Error> {
        let known = self.circuit.run(session, values).await?;
        Ok(self.bits.iter().map(|bit| known.of(*bit).clone()).collect())
    }

    /// Adds the messages of `len` values.
    pub(in crate::ops) fn price(&self, messages: &mut Messages, len: usize) {
        self.circuit.price(messages, len);
    }
}
