//! A party's own certificate.

use std::fmt::{self, Display};
use std::path::Path;
use std::sync::Arc;

use protocols::Role;
use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use zeroize::Zeroizing;

use super::NO_NAME;
use super::authority::Authority;
use super::fault::Fault;
use crate::certificate_name::{CertificateName, listed};
use crate::{Error, secret};

/// A party's certificates, its own first, with its private key. The key is never printed.
#[derive(Clone)]
pub struct Certificate {
    certified: Arc<CertifiedKey>,
    /// What it says of the party.
    names: String,
}

impl Certificate {
    /// Of files in PEM: the certificates, the party's own first and then those between it and its
    /// authority, and the private key, without a passphrase.
    ///
    /// # Errors
    /// [`Error::Read`] where a file cannot be read; [`Error::Key`] where it holds something else,
    /// where the key is another certificate's, and where the certificate has ended, has not begun
    /// or is not for a party of this role.
    pub fn open(chain_file: &Path, key_file: &Path, role: Role) -> Result<Self, Error> {
        let text = secret::read(chain_file)?;
        let expected = "certificates in PEM";
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain.map_err(|error| wrong(chain_file, expected, &error))?;
        let Some(own) = chain.first() else { return Err(wrong(chain_file, expected, &"none")) };
        let names = CertificateName::all_of(own)
            .ok_or_else(|| wrong(chain_file, "a certificate of X.509", &"something else"))?;
        if let Some(Fault { expected, found, advice }) = own_fault(&chain, role)? {
            return Err(wrong(chain_file, &expected, &format_args!("{found}; {advice}")));
        }
        let key = PrivateKeyDer::from_pem_slice(&secret::read(key_file)?)
            .map(Zeroizing::new)
            .map_err(|_| wrong(key_file, "a private key in PEM without a passphrase", &"none"))?;
        let key = any_supported_type(&key).map_err(|_| {
            wrong(key_file, "a private key of RSA, ECDSA (P-256, P-384) or Ed25519", &"another")
        })?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| {
            let expected =
                format!("the private key of the certificate in {}", chain_file.display());
            wrong(key_file, &expected, &"that of another; name the two that belong together")
        })?;
        Ok(Self { certified: Arc::new(certified), names: listed(&names) })
    }

    /// Its names, as a server's clients' file has them.
    pub(super) fn names(&self) -> &str {
        &self.names
    }

    /// As TLS takes it, of a server or of a client.
    pub(crate) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.certified)))
    }
}

/// What is wrong with a party's own certificates that no authority makes up for.
fn own_fault(chain: &[CertificateDer<'static>], role: Role) -> Result<Option<Fault>, Error> {
    let [own, others @ ..] = chain else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    // As if it vouched for itself: dates and purposes are looked at before issuers are.
    roots.add(own.clone())?;
    let (authority, now) = (Authority::of(roots, "itself")?, UnixTime::now());
    let verdict = match role {
        Role::Server => {
            let name = ServerName::try_from(NO_NAME)
                .map_err(|_| Error::Internal("invariant: a constant is a name"))?;
            let verdict = authority.servers().verify_server_cert(own, others, &name, &[], now);
            verdict.map(drop)
        }
        Role::Client => authority.clients().verify_client_cert(own, others, now).map(drop),
    };
    Ok(match verdict {
        Err(rustls::Error::InvalidCertificate(error)) => Fault::of_own(&error),
        _ => None,
    })
}

pub(super) fn wrong(path: &Path, expected: &str, found: &dyn Display) -> Error {
    let (expected, found) = (expected.to_owned(), found.to_string());
    Error::Key { path: path.into(), line: None, expected, found }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.names)
    }
}
