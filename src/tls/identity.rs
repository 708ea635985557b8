//! A party's own key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::key::PublicKey;
use crate::{Error, secret};

/// An Ed25519 key pair: who a party is. Never printed, wiped where it is dropped.
pub struct Identity {
    /// PKCS#8.
    private: Zeroizing<Vec<u8>>,
    public: PublicKey,
}

const HEAD: &str = "-----BEGIN PRIVATE KEY-----\n";
const TAIL: &str = "-----END PRIVATE KEY-----\n";

impl Identity {
    /// A new key, of the system's randomness.
    ///
    /// # Errors
    /// [`Error::System`] where the system has no random bytes.
    pub fn generate() -> Result<Self, Error> {
        let random = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let document = random.map_err(|_| Error::System {
            what: "random bytes",
            source: std::io::Error::other("the system's generator has failed"),
        })?;
        Self::of_pkcs8(Zeroizing::new(document.as_ref().to_vec()))
            .ok_or(Error::Internal("invariant: a key that was just made can be read"))
    }

    /// The key of a PEM file.
    ///
    /// # Errors
    /// [`Error::Read`] where it cannot be read, [`Error::Key`] where it holds no Ed25519 key in
    /// PKCS#8.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::of_pem(&secret::read(path)?).ok_or_else(|| Error::Key {
            path: path.into(),
            line: None,
            expected: "an Ed25519 private key in PKCS#8 and PEM, as pq keygen writes it".into(),
            found: "something else".into(),
        })
    }

    /// Writes the key into a new file, which its owner alone may read.
    ///
    /// # Errors
    /// [`Error::Write`]; a file that is there already is kept.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        secret::write_new(path, self.pem().as_bytes())
    }

    /// What others know it by.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// As TLS takes it.
    pub(super) fn certified(&self) -> Result<Arc<CertifiedKey>, rustls::Error> {
        let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(self.private.as_slice()))?;
        let public = CertificateDer::from(self.public.to_spki().to_vec());
        Ok(Arc::new(CertifiedKey::new(vec![public], key)))
    }

    pub(super) fn of_pem(text: &[u8]) -> Option<Self> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(text).ok()?;
        Self::of_pkcs8(Zeroizing::new(key.secret_pkcs8_der().to_vec()))
    }

    fn of_pkcs8(private: Zeroizing<Vec<u8>>) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private).ok()?;
        let public = pair.public_key().as_ref().try_into().ok().map(PublicKey::new)?;
        Some(Self { private, public })
    }

    pub(super) fn pem(&self) -> Zeroizing<String> {
        let body = Zeroizing::new(STANDARD.encode(&*self.private));
        // One allocation, so that no copy is left behind.
        let mut text = Zeroizing::new(String::with_capacity(
            HEAD.len() + body.len() + body.len().div_ceil(LINE) + TAIL.len(),
        ));
        text.push_str(HEAD);
        for start in (0..body.len()).step_by(LINE) {
            text.push_str(&body[start..body.len().min(start + LINE)]);
            text.push('\n');
        }
        text.push_str(TAIL);
        text
    }
}

/// Characters of a line of PEM.
const LINE: usize = 64;

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public)
    }
}
