//! Whose certificates are trusted.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::certificate::wrong;
use crate::{Error, secret};

/// Authorities that issue certificates, and are trusted to. Chains are verified by `rustls-webpki`.
#[derive(Clone)]
pub struct Authority {
    name: Arc<str>,
    servers: Arc<WebPkiServerVerifier>,
    clients: Arc<dyn ClientCertVerifier>,
}

/// What stands for their file in messages.
const SYSTEM: &str = "the system's authorities";

impl Authority {
    /// Those of a file of certificates in PEM.
    ///
    /// # Errors
    /// [`Error::Read`] where it cannot be read, [`Error::Key`] where it holds something else.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let expected = "certificates of authorities in PEM";
        let text = secret::read(path)?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let all = all.map_err(|error| wrong(path, expected, &error))?;
        let mut roots = RootCertStore::empty();
        for (at, certificate) in all.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| {
                wrong(path, expected, &format_args!("certificate {}: {error}", at + 1))
            })?;
        }
        if roots.is_empty() {
            return Err(wrong(path, expected, &"none"));
        }
        Self::of(roots, &path.display().to_string())
    }

    /// Those that this machine trusts.
    ///
    /// # Errors
    /// [`Error::Read`] where there are none.
    pub fn of_system() -> Result<Self, Error> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Some systems keep what no library reads any more.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            let why = format!(
                "there are none ({}); install them, such as ca-certificates, or name a file",
                errors.join("; ")
            );
            let (path, source) = (PathBuf::from(SYSTEM), std::io::Error::other(why));
            return Err(Error::Read { path, source });
        }
        Self::of(roots, SYSTEM)
    }

    pub(super) fn of(roots: RootCertStore, name: &str) -> Result<Self, Error> {
        let (roots, provider) = (Arc::new(roots), super::provider());
        let servers =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider)
            // Strangers do not hear whom a server trusts.
            .clear_root_hint_subjects();
        let (Ok(servers), Ok(clients)) = (servers.build(), clients.build()) else {
            return Err(Error::Internal("invariant: authorities are some"));
        };
        Ok(Self { name: name.into(), servers, clients })
    }

    /// What messages call them.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Verifies certificates of servers.
    pub(super) const fn servers(&self) -> &Arc<WebPkiServerVerifier> {
        &self.servers
    }

    /// Verifies certificates of clients.
    pub(super) const fn clients(&self) -> &Arc<dyn ClientCertVerifier> {
        &self.clients
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.name)
    }
}
