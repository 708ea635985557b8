//! What each side of a connection shows, and whom it trusts.

use rustls::pki_types::ServerName;

use super::authority::Authority;
use super::certificate::Certificate;
use super::clients::Clients;
use super::identity::Identity;
use crate::Error;
use crate::key::PublicKey;

/// Who a server is, and whom it serves.
#[derive(Debug)]
pub struct ServerTls {
    pub(super) identity: ServerIdentity,
    pub(super) clients: Clients,
    pub(super) authority: Option<Authority>,
}

/// What a server shows: to each client what that client trusts.
#[derive(Debug)]
pub enum ServerIdentity {
    /// Its own key.
    Key(Identity),
    /// A certificate of its name.
    Certificate(Certificate),
    /// Either.
    Both(Identity, Certificate),
}

/// Who a client is, and which server it trusts. Each of the two may be by key or by certificate.
#[derive(Debug)]
pub struct ClientTls {
    /// What it shows.
    pub identity: ClientIdentity,
    /// The server.
    pub server: ServerTrust,
}

/// What a client shows.
#[derive(Debug)]
pub enum ClientIdentity {
    /// Its own key.
    Key(Identity),
    /// A certificate with a name that the server knows.
    Certificate(Certificate),
}

/// Which server a client trusts.
#[derive(Clone, Debug)]
pub enum ServerTrust {
    /// The one with this key.
    Key(PublicKey),
    /// One with a certificate.
    Certificate(NamedServer),
}

/// A server that has a certificate of this name, by an authority that is trusted.
#[derive(Clone, Debug)]
pub struct NamedServer {
    pub(super) authority: Authority,
    pub(super) name: ServerName<'static>,
}

impl ServerTls {
    /// A server and its clients. `authority` issues the clients' certificates, where any of them
    /// has one.
    ///
    /// # Errors
    /// Where a client has a certificate, and no authority is trusted with that.
    pub fn new(
        identity: impl Into<ServerIdentity>,
        clients: Clients,
        authority: Option<Authority>,
    ) -> Result<Self, Error> {
        match clients.with_certificate() {
            // Without, it could never come in: better found now than by the client.
            Some(client) if authority.is_none() => {
                let what = format!("certificate of client {}", client.name);
                let expected = "an authority of clients' certificates; name its file";
                Err(protocols::Error::invalid(what, expected, "none").into())
            }
            _ => Ok(Self { identity: identity.into(), clients, authority }),
        }
    }
}

impl NamedServer {
    /// A DNS name or an address, as the certificate has it.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn new(authority: Authority, name: &str) -> Result<Self, Error> {
        match ServerName::try_from(name.to_owned()) {
            Ok(name) => Ok(Self { authority, name }),
            Err(_) => {
                let expected = "a DNS name or an IP address";
                Err(protocols::Error::invalid("name of the server", expected, name).into())
            }
        }
    }
}

impl ServerIdentity {
    pub(super) const fn key(&self) -> Option<&Identity> {
        match self {
            Self::Key(key) | Self::Both(key, _) => Some(key),
            Self::Certificate(_) => None,
        }
    }

    pub(super) const fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::Certificate(certificate) | Self::Both(_, certificate) => Some(certificate),
            Self::Key(_) => None,
        }
    }
}

impl From<Identity> for ServerIdentity {
    fn from(key: Identity) -> Self {
        Self::Key(key)
    }
}

impl From<Certificate> for ServerIdentity {
    fn from(certificate: Certificate) -> Self {
        Self::Certificate(certificate)
    }
}

impl From<Identity> for ClientIdentity {
    fn from(key: Identity) -> Self {
        Self::Key(key)
    }
}

impl From<Certificate> for ClientIdentity {
    fn from(certificate: Certificate) -> Self {
        Self::Certificate(certificate)
    }
}

impl From<PublicKey> for ServerTrust {
    fn from(key: PublicKey) -> Self {
        Self::Key(key)
    }
}

impl From<NamedServer> for ServerTrust {
    fn from(server: NamedServer) -> Self {
        Self::Certificate(server)
    }
}
