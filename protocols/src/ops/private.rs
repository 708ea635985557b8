//! Values that each party has for itself, not shares of one value.

use std::fmt;

use rand::Rng;
use zeroize::Zeroize;

use crate::{Bits, Shared};

/// One party's own values of a given width. `Debug` prints the shape only.
#[derive(Clone, Zeroize)]
pub struct Private {
    #[zeroize(skip)]
    bits: Bits,
    values: Vec<u64>,
}

/// The values of both parties, in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Both {
    /// The width.
    pub bits: Bits,
    /// The server's.
    pub server: Vec<u64>,
    /// The client's, as many.
    pub client: Vec<u64>,
}

impl Private {
    /// Values, reduced to the width.
    pub fn new(bits: Bits, mut values: Vec<u64>) -> Self {
        values.iter_mut().for_each(|value| *value = bits.reduce(*value));
        Self { bits, values }
    }

    /// The width.
    pub const fn bits(&self) -> Bits {
        self.bits
    }

    /// The values.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// The values, for a local operation.
    pub fn into_values(self) -> Vec<u64> {
        self.values
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Private({} values of {:?})", self.values.len(), self.bits)
    }
}

impl Shared for Private {
    type Clear = Both;

    fn share(clear: &Both, _rng: &mut impl Rng) -> (Self, Self) {
        (Self::new(clear.bits, clear.server.clone()), Self::new(clear.bits, clear.client.clone()))
    }

    fn reveal(server: &Self, client: &Self) -> Both {
        Both { bits: server.bits, server: server.values.clone(), client: client.values.clone() }
    }
}
