//! What a handshake runs by: a raw public key or a certificate, of each side.

use std::fmt;

use rustls::server::{CertificateType, ClientHello};

/// By what one side is known in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    Key,
    Certificate,
}

/// What a client takes, of one side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    key: bool,
    certificate: bool,
}

/// What a client takes of a server, and has itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) server: Offered,
    pub(super) client: Offered,
}

impl Offer {
    /// Of a client's first message.
    pub(super) fn of(hello: &ClientHello<'_>) -> Self {
        Self {
            server: Offered::of(hello.server_cert_types()),
            client: Offered::of(hello.client_cert_types()),
        }
    }
}

impl Offered {
    /// A list that is not there means certificates (RFC 7250, section 4).
    fn of(types: Option<&[CertificateType]>) -> Self {
        let listed = |kind| types.is_some_and(|types| types.contains(&kind));
        Self {
            key: listed(CertificateType::RawPublicKey),
            certificate: types.is_none() || listed(CertificateType::X509),
        }
    }

    /// What both sides have: a key where there is a choice, for it needs nobody else's word.
    pub(super) fn choose(self, key: bool, certificate: bool) -> Option<Means> {
        if self.key && key {
            return Some(Means::Key);
        }
        (self.certificate && certificate).then_some(Means::Certificate)
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "a key",
            Self::Certificate => "a certificate",
        })
    }
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.key, self.certificate) {
            (true, true) => "a key or a certificate",
            (true, false) => "a key",
            (false, true) => "a certificate",
            (false, false) => "neither a key nor a certificate",
        })
    }
}
