//! The seed of a network's hints, which only the server has: what `hints.secret` holds.
//!
//! The file: `pq-hseed`, the version in 4 bytes, the seed and the digest of the public hints in 32
//! bytes each.

use std::fmt;

use zeroize::Zeroizing;

use crate::Error;
use crate::bits::hex;

const MAGIC: [u8; 8] = *b"pq-hseed";
const VERSION: u32 = 1;
const LEN: usize = 8 + 4 + 32 + 32;

/// The seed of a network's hints, and the digest of the hints that were made of it. `Debug` prints
/// the digest alone.
#[derive(Clone, PartialEq, Eq)]
pub struct HintsSecret {
    seed: Zeroizing<[u8; 32]>,
    digest: [u8; 32],
}

impl HintsSecret {
    pub(super) const fn new(seed: Zeroizing<[u8; 32]>, digest: [u8; 32]) -> Self {
        Self { seed, digest }
    }

    pub(super) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The digest of the public hints, in hexadecimal.
    pub fn digest(&self) -> String {
        hex(&self.digest)
    }

    /// The file.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LEN));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.seed[..]);
        bytes.extend_from_slice(&self.digest);
        bytes
    }

    /// Reads a file; [`ServerHints::restore`](super::ServerHints::restore) holds it against a plan.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is no such file. The bytes may be secret: they are not shown.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |expected: String, found: &str| {
            let expected = format!("{expected}; make the hints anew with `pq hints`");
            Err(Error::invalid("hints.secret", expected, found))
        };
        if bytes.len() != LEN {
            return wrong(format!("{LEN} bytes"), &format!("{} bytes", bytes.len()));
        }
        let (start, rest) = bytes.split_at(MAGIC.len() + 4);
        if start != [&MAGIC[..], &VERSION.to_le_bytes()].concat() {
            return wrong(format!("a secret of hints of version {VERSION}"), "something else");
        }
        let (mut seed, mut digest) = (Zeroizing::new([0; 32]), [0; 32]);
        seed.copy_from_slice(&rest[..32]);
        digest.copy_from_slice(&rest[32..]);
        Ok(Self { seed, digest })
    }
}

impl fmt::Debug for HintsSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HintsSecret(of {})", self.digest())
    }
}
