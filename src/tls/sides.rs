//! What each side of a connection shows, and whom it trusts.

use std::path::Path;

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

/// The word for what this machine trusts; a file of this name is `./system`.
const SYSTEM: &str = "system";

impl NamedServer {
    /// One at `HOST:PORT`, its certificate issued by the authorities of a file, or by those of this
    /// machine where that is `system`. Without a name it has to be for the host.
    ///
    /// # Errors
    /// As [`Authority::open`], [`Authority::of_system`] and [`new`](Self::new) say.
    pub fn at(address: &str, authorities: &Path, name: Option<&str>) -> Result<Self, Error> {
        let authority = if authorities == Path::new(SYSTEM) {
            Authority::of_system()?
        } else {
            Authority::open(authorities)?
        };
        Self::new(authority, name.unwrap_or_else(|| host(address)))
    }

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
    /// What a server has of both; none where it has neither.
    pub fn of(key: Option<Identity>, certificate: Option<Certificate>) -> Option<Self> {
        match (key, certificate) {
            (Some(key), Some(certificate)) => Some(Self::Both(key, certificate)),
            (Some(key), None) => Some(Self::Key(key)),
            (None, Some(certificate)) => Some(Self::Certificate(certificate)),
            (None, None) => None,
        }
    }

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

/// The host of `HOST:PORT`, without the brackets of an address of IPv6.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_what_a_certificate_may_be_for() {
        for (address, expected) in
            [("a.example:7000", "a.example"), ("127.0.0.1:1", "127.0.0.1"), ("[::1]:7", "::1")]
        {
            assert_eq!(host(address), expected);
        }
    }
}
