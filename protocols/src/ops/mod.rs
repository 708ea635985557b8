//! Operators on shares, one file each.
//!
//! Parameters are public. Whoever has them from elsewhere calls `check` before `cost`; running an
//! operator checks them and its operands, and an unusable one is an error.

mod and;
mod argmax;
mod b2a;
mod carry;
mod compare;
mod known_sign;
mod lookup;
mod max_pool;
mod messages;
mod multiply;
mod mux;
mod product;
mod requant;

pub use and::And;
pub use argmax::Argmax;
pub use compare::NonNegative;
pub use lookup::Lookup;
pub use max_pool::MaxPool;
pub(crate) use messages::{Incoming, Messages};
pub use multiply::{Factor, Multiply};
pub use mux::Mux;
pub(crate) use product::{BitProduct, pass};
pub(crate) use requant::Chosen;
pub use requant::{Form, Requant};

use std::fmt::Debug;

use crate::{BitShare, Bits, Error, Share};

/// An operand is what the operator declares.
fn check_share(operator: &str, share: &Share, ring: Bits, len: usize) -> Result<(), Error> {
    if (share.ring(), share.len()) == (ring, len) {
        Ok(())
    } else {
        let (expected, found) =
            (format!("{len} of {ring:?}"), format!("{} of {:?}", share.len(), share.ring()));
        Err(Error::invalid(format!("operand of {operator}"), expected, found))
    }
}

/// An operand is what the operator declares.
fn check_bits(operator: &str, bits: &BitShare, len: usize) -> Result<(), Error> {
    if bits.0.len() == len {
        Ok(())
    } else {
        Err(Error::invalid(format!("operand of {operator}"), format!("{len} bits"), bits.0.len()))
    }
}

/// The widest digits that a chain of OTs may have.
fn check_digit(digit: u32) -> Result<(), String> {
    let widest = carry::MAX_DIGIT;
    if (1..=widest).contains(&digit) {
        Ok(())
    } else {
        Err(format!("digits of 1 to {widest} bits, found {digit}"))
    }
}

/// Values of a width from `low` on, zero among them.
fn check_low(bits: u32, low: i64) -> Result<(), String> {
    let least = 1 - (1i128 << bits);
    if (least..=0).contains(&low.into()) {
        Ok(())
    } else {
        Err(format!("a least value from {least} to 0, found {low}"))
    }
}

/// The caller's parameters are usable.
fn check_parameters(
    operator: &str,
    checked: Result<(), String>,
    found: &impl Debug,
) -> Result<(), Error> {
    checked.map_err(|expected| {
        Error::invalid(format!("parameters of {operator}"), expected, format!("{found:?}"))
    })
}
