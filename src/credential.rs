//! By what a server knows a client.

use std::fmt;
use std::str::FromStr;

use crate::certificate_name::CertificateName;
use crate::key::PublicKey;
use crate::token::TokenDigest;

/// By what a server knows a client: a key or a certificate that it proves, or a token that it
/// shows.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// Proved in the handshake of TLS.
    Key(PublicKey),
    /// Of a certificate that is proved there, and that an authority has issued.
    Certificate(CertificateName),
    /// Shown by a browser, when it opens its WebSocket.
    Token(TokenDigest),
}

impl From<PublicKey> for Credential {
    fn from(key: PublicKey) -> Self {
        Self::Key(key)
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Certificate(name) => name.fmt(f),
            Self::Token(token) => token.fmt(f),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Credential {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(token) = text.parse() {
            return Ok(Self::Token(token));
        }
        if let Ok(name) = text.parse() {
            return Ok(Self::Certificate(name));
        }
        text.parse().map(Self::Key)
    }
}
