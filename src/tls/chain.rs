//! Who the other side is, by its certificate: rustls verifies the chain, and a client's names have
//! to be those of one known client.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::authority::Authority;
use super::clients::{Clients, KnownClient};
use super::fault::Fault;
use super::verify::signatures;
use crate::certificate_name::{CertificateName, listed};

/// Checks a server's certificate, and remembers its names.
pub(super) struct ServerChain {
    authority: Authority,
    found: OnceLock<Vec<CertificateName>>,
}

/// Checks a client's certificate, and remembers whose it is.
pub(super) struct ClientChain {
    authority: Authority,
    clients: Clients,
    found: OnceLock<Vec<CertificateName>>,
    /// The client, or all that it could be.
    client: OnceLock<Result<KnownClient, String>>,
}

impl ServerChain {
    pub(super) fn new(authority: Authority) -> Arc<Self> {
        Arc::new(Self { authority, found: OnceLock::new() })
    }

    /// What is wrong with the certificate, where that is why the handshake has failed.
    pub(super) fn fault(&self, error: &Error) -> Option<Fault> {
        let Error::InvalidCertificate(error) = error else { return None };
        Some(Fault::of(error, self.authority.name(), &names(&self.found)))
    }

    fn signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authority.servers().verify_tls13_signature(message, cert, signature)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.authority.servers().supported_verify_schemes()
    }
}

impl ClientChain {
    pub(super) fn new(authority: Authority, clients: Clients) -> Arc<Self> {
        let (found, client) = (OnceLock::new(), OnceLock::new());
        Arc::new(Self { authority, clients, found, client })
    }

    /// The client whose certificate was verified.
    pub(super) fn client(&self) -> Option<KnownClient> {
        self.client.get().and_then(|client| client.as_ref().ok()).cloned()
    }

    /// What is wrong with the certificate, where that is why the handshake has failed.
    pub(super) fn fault(&self, error: &Error) -> Option<Fault> {
        let names = names(&self.found);
        match (self.client.get(), error) {
            (Some(Err(several)), _) if several.is_empty() => Some(Fault {
                expected: "the certificate of a client".into(),
                found: format!("one that is nobody's ({names})"),
                advice: "add a line NAME x509:... with one of these to the file of clients to \
                         serve it",
            }),
            (Some(Err(several)), _) => Some(Fault {
                expected: "the certificate of one client".into(),
                found: format!("one of {several} ({names})"),
                advice: "leave one line of them in the file of clients",
            }),
            (_, Error::InvalidCertificate(error)) => {
                Some(Fault::of(error, self.authority.name(), &names))
            }
            _ => None,
        }
    }

    fn signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authority.clients().verify_tls13_signature(message, cert, signature)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.authority.clients().supported_verify_schemes()
    }
}

fn remember(found: &OnceLock<Vec<CertificateName>>, certificate: &CertificateDer<'_>) {
    // What cannot be read is refused by the verifier, without names.
    let _ = found.set(CertificateName::all_of(certificate).unwrap_or_default());
}

fn names(found: &OnceLock<Vec<CertificateName>>) -> String {
    listed(found.get().map_or(&[], Vec::as_slice))
}

impl ServerCertVerifier for ServerChain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        remember(&self.found, end_entity);
        let webpki = self.authority.servers();
        webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    signatures!();
}

impl ClientCertVerifier for ClientChain {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authority.clients().root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        remember(&self.found, end_entity);
        let webpki = self.authority.clients();
        let verified = webpki.verify_client_cert(end_entity, intermediates, now)?;
        // Names count once the chain is verified, and none before.
        let names = self.found.get().map_or(&[][..], Vec::as_slice);
        let client = self.clients.of_certificate(names).cloned();
        // The peer hears of it as "access denied".
        let denied = CertificateError::ApplicationVerificationFailure;
        let known = client.is_ok();
        let _ = self.client.set(client);
        if known { Ok(verified) } else { Err(denied.into()) }
    }

    signatures!();
}

impl fmt::Debug for ServerChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerChain").field("found", &self.found).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientChain").field("found", &self.found).finish_non_exhaustive()
    }
}
