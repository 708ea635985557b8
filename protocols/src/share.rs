//! Shares: what one party holds of a secret value.

use std::fmt;

use rand::{Rng, RngExt};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{BitString, Bits};

/// Values in the clear with their ring: what two [`Share`]s add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clear {
    /// The ring `Z_{2^l}`.
    pub ring: Bits,
    /// Elements, reduced.
    pub values: Vec<u64>,
}

impl Clear {
    /// Integers, reduced into a ring.
    pub fn encode(ring: Bits, values: &[i64]) -> Self {
        Self { ring, values: values.iter().map(|&v| ring.encode(v)).collect() }
    }

    /// The two's complement reading.
    pub fn decode(&self) -> Vec<i64> {
        self.values.iter().map(|&v| self.ring.decode(v)).collect()
    }
}

/// One party's additive share of a vector over `Z_{2^l}`. Values are held reduced, and wiped when
/// they are dropped. `Debug` prints the shape only.
#[derive(Clone)]
pub struct Share {
    ring: Bits,
    values: Vec<u64>,
}

impl Share {
    /// A share of the given values, reduced into the ring.
    pub fn new(ring: Bits, mut values: Vec<u64>) -> Self {
        for value in &mut values {
            *value = ring.reduce(*value);
        }
        Self { ring, values }
    }

    /// A share of zeros that holds zeros.
    pub fn zeros(ring: Bits, len: usize) -> Self {
        Self { ring, values: vec![0; len] }
    }

    /// The ring.
    pub const fn ring(&self) -> Bits {
        self.ring
    }

    /// This party's summands.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// The summands, for a local operation that keeps the ring.
    pub fn into_values(mut self) -> Vec<u64> {
        std::mem::take(&mut self.values)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The same value in a smaller ring: a local reduction.
    ///
    /// # Panics
    /// Where `ring` is larger: that takes a protocol.
    #[must_use]
    pub fn reduce(&self, ring: Bits) -> Self {
        assert!(ring <= self.ring, "invariant: a local change of ring only makes it smaller");
        Self::new(ring, self.values.clone())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Element by element: wiping a vector goes over it twice, the second time byte by byte.
        self.values.as_mut_slice().zeroize();
    }
}

impl ZeroizeOnDrop for Share {}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({} elements of {:?})", self.len(), self.ring)
    }
}

/// One party's exclusive-or share of a string of bits. `Debug` prints the length only.
#[derive(Clone, Debug)]
pub struct BitShare(pub BitString);

/// What can be shared between two parties and revealed again: inputs and outputs of operators, in
/// tests and at the ends.
pub trait Shared: Sized {
    /// The value in the clear.
    type Clear;

    /// Two shares, server's first.
    fn share(clear: &Self::Clear, rng: &mut impl Rng) -> (Self, Self);

    /// What the two shares stand for.
    fn reveal(server: &Self, client: &Self) -> Self::Clear;
}

impl Shared for Share {
    type Clear = Clear;

    fn share(clear: &Clear, rng: &mut impl Rng) -> (Self, Self) {
        let mask: Vec<u64> = clear.values.iter().map(|_| rng.random()).collect();
        let rest = clear.values.iter().zip(&mask).map(|(v, m)| v.wrapping_sub(*m)).collect();
        (Self::new(clear.ring, rest), Self::new(clear.ring, mask))
    }

    fn reveal(server: &Self, client: &Self) -> Clear {
        assert_eq!(server.ring, client.ring, "invariant: both shares lie in one ring");
        let sum = server
            .values
            .iter()
            .zip(&client.values)
            .map(|(a, b)| server.ring.reduce(a.wrapping_add(*b)));
        Clear { ring: server.ring, values: sum.collect() }
    }
}

impl Shared for BitShare {
    type Clear = BitString;

    fn share(clear: &BitString, rng: &mut impl Rng) -> (Self, Self) {
        let words = clear.words().iter().map(|_| rng.random()).collect();
        let mask = BitString::from_words(words, clear.len());
        (Self(clear.xor(&mask)), Self(mask))
    }

    fn reveal(server: &Self, client: &Self) -> BitString {
        server.0.xor(&client.0)
    }
}

impl Shared for () {
    type Clear = ();

    fn share((): &(), _: &mut impl Rng) -> (Self, Self) {
        ((), ())
    }

    fn reveal((): &Self, (): &Self) {}
}

impl<A: Shared, B: Shared> Shared for (A, B) {
    type Clear = (A::Clear, B::Clear);

    fn share(clear: &Self::Clear, rng: &mut impl Rng) -> (Self, Self) {
        let ((a0, a1), (b0, b1)) = (A::share(&clear.0, rng), B::share(&clear.1, rng));
        ((a0, b0), (a1, b1))
    }

    fn reveal(server: &Self, client: &Self) -> Self::Clear {
        (A::reveal(&server.0, &client.0), B::reveal(&server.1, &client.1))
    }
}
