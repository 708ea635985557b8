//! Public keys, and how they are written.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};

/// An Ed25519 public key. It is written as `ed25519:` and its 32 bytes in Base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; Self::LEN]);

/// What comes before the 32 bytes in a `SubjectPublicKeyInfo` (RFC 8410, section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

const NAME: &str = "ed25519:";

impl PublicKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    pub(crate) const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// As TLS sends it.
    pub(crate) fn to_spki(self) -> SubjectPublicKeyInfoDer<'static> {
        [&SPKI[..], &self.0].concat().into()
    }

    /// Out of what a peer has sent in the place of a certificate; `None` where it is another kind
    /// of key, or none.
    pub(crate) fn of_peer(sent: &CertificateDer<'_>) -> Option<Self> {
        sent.strip_prefix(&SPKI).and_then(|key| key.try_into().ok()).map(Self)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.strip_prefix(NAME).and_then(|key| STANDARD_NO_PAD.decode(key).ok());
        let key = bytes.and_then(|bytes| bytes.try_into().ok()).map(Self);
        key.ok_or_else(|| {
            format!(
                "expected a key as pq keygen prints it, {NAME} and 43 characters, found {text:?}"
            )
        })
    }
}
