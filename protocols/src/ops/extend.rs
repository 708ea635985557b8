//! Extension: the same value in a larger ring.
//!
//! *Functionality.* From shares in `Z_n` of a value to shares of it in `Z_m`, m >= n: of an unsigned value, of a two's
//! complement value, or of one that is known to be below `2^(n-1)`.
//!
//! *Identity.* `y = y0 + y1 - 2^n wrap`, where the wrap is needed in `Z_(m-n)`. Where y is below `2^(n-1)` the wrap is the OR
//! of the shares' top bits, `w0 + w1 - w0 w1`; elsewhere it is the carry out of all n bits. A two's complement value is an
//! unsigned one once `2^(n-1)` is added.
//!
//! Cost: known sign: one correlated transfer, `1 + (m - n)` bits; 2 rounds. Otherwise a carry chain and a conversion of the
//! carry to `Z_(m-n)`, that is `m - n` bits and 2 rounds more. Nothing where m = n.
//! Security: that of the parts.

use super::b2a::Lift;
use super::carry::{self, MAX_DIGIT};
use super::check_share;
use super::product::BitProduct;
use super::turn::{Script, Turn};
use crate::{BitString, Bits, Clear, Cost, Error, Operator, Role, Session, Share};

/// The step that others share: this party's summands of values below `2^(from - 1)`, in a larger ring.
#[derive(Clone, Copy)]
pub(super) struct KnownSign {
    pub len: usize,
    pub from: Bits,
    pub to: Bits,
}

impl KnownSign {
    /// The ring of the wrap, where there is anything to do.
    const fn wrap_ring(self) -> Option<Bits> {
        Bits::new(self.to.get() - self.from.get())
    }

    /// The summands, not reduced.
    pub(super) async fn run(self, session: &mut Session, mut values: Vec<u64>) -> Result<Vec<u64>, Error> {
        let Some(ring) = self.wrap_ring() else {
            return Ok(values);
        };
        let tops = BitString::of_values(&values, self.from.get() - 1);
        let mut turn = Turn::default();
        let mut product = BitProduct::ask(session, &mut turn, Role::Server, ring, &tops)?;
        product.asked(&mut turn.exchange(session).await?);
        let mut turn = Turn::default();
        product.answer(&mut turn, &tops.iter().collect::<Vec<_>>());
        let both = product.answered(&mut turn.exchange(session).await?);
        for ((value, top), both) in values.iter_mut().zip(tops.iter()).zip(both) {
            *value = value.wrapping_sub(top.wrapping_sub(both) << self.from.get());
        }
        Ok(values)
    }

    /// Adds the two turns to the script.
    pub(super) const fn price(self, script: &mut Script) {
        if let Some(ring) = self.wrap_ring() {
            let (choices, corrections) = BitProduct::price(script, Role::Server, ring, self.len);
            script.turn(choices, 0);
            script.turn(0, corrections);
        }
    }
}
