//! TLS 1.3 between sides that know each other beforehand.
//!
//! A party is an Ed25519 key: a raw public key (RFC 7250), without a name. Or it has a certificate
//! of X.509 by an authority that the other side trusts: a server's is for the name that its client
//! calls it, and a client's has a name that the server's file of clients has. Each side chooses by
//! itself, and a server may have both.
//!
//! Each side proves its own and checks the other's before anything of the protocol runs. There are
//! no tickets, no early data and no second version, so that every connection is a fresh one. What
//! it exports (RFC 8446, section 7.5) enters the session's number: nobody can sit between two
//! connections.

mod accept;
mod authority;
mod certificate;
mod chain;
mod clients;
mod connect;
mod fault;
mod handshake;
mod identity;
mod known;
mod means;
mod sides;
mod stream;
mod verify;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use authority::Authority;
pub use certificate::Certificate;
pub use clients::{Clients, KnownClient, Rights};
pub use identity::Identity;
pub use known::KnownServers;
pub use sides::{ClientIdentity, ClientTls, NamedServer, ServerIdentity, ServerTls, ServerTrust};

pub(crate) use handshake::{Connection, secure};
pub(crate) use stream::{Stream, not_admitted};

/// A name has to be sent where keys say who a server is: it means nothing.
const NO_NAME: &str = "pq.invalid";

/// The cryptography of all connections.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// How traffic between the parties is protected. `T` is what TLS takes: [`ServerTls`] or
/// [`ClientTls`].
#[derive(Debug, Default)]
pub enum Security<T> {
    /// In the clear, and only between programs of one machine.
    #[default]
    Loopback,
    /// In the clear, wherever the peer is. Whoever can change the traffic can break the protocol's
    /// guarantees: for tunnels that protect it themselves, and for measurements.
    Insecure,
    /// Encrypted, and each party checks who the other is.
    Tls(Arc<T>),
}

impl<T> Clone for Security<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Loopback => Self::Loopback,
            Self::Insecure => Self::Insecure,
            Self::Tls(tls) => Self::Tls(Arc::clone(tls)),
        }
    }
}

#[cfg(test)]
mod tests;
