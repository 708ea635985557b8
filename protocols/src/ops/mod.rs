//! Operators on shares, one file each.

mod and;
mod b2a;
mod carry;
mod extend;
mod mux;
mod product;
mod requant;
mod turn;

pub use and::And;
pub use b2a::BitToRing;
pub use mux::Mux;
pub use requant::Requant;

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
