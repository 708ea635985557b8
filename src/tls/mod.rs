//! TLS 1.3 between keys that both sides know beforehand.
//!
//! A party is an Ed25519 key: a raw public key (RFC 7250), without certificates and names. Each
//! side proves its own and checks the other's before anything of the protocol runs. There are no
//! tickets, no early data and no second version, so that every connection is a fresh one. What it
//! exports (RFC 8446, section 7.5) enters the session's number: nobody can sit between two
//! connections.

mod clients;
mod handshake;
mod identity;
mod known;
mod stream;
mod verify;

use std::sync::Arc;

use crate::key::PublicKey;

pub use clients::{Clients, KnownClient, Rights};
pub use identity::Identity;
pub use known::KnownServers;

pub(crate) use handshake::{Connection, secure};
pub(crate) use stream::Stream;

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
    /// Encrypted, and both parties' keys are checked.
    Tls(Arc<T>),
}

/// Who a server is, and whom it serves.
#[derive(Debug)]
pub struct ServerTls {
    /// Its own key.
    pub identity: Identity,
    /// Its clients' keys.
    pub clients: Clients,
}

/// Who a client is, and which server it trusts.
#[derive(Debug)]
pub struct ClientTls {
    /// Its own key.
    pub identity: Identity,
    /// The server's key.
    pub server: PublicKey,
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
