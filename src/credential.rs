//! By what a server knows a client.

use std::fmt;
use std::str::FromStr;

use crate::key::PublicKey;
use crate::token::TokenDigest;

/// By what a server knows a client: a key that it proves, or a token that it shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    /// Proved in the handshake of TLS.
    Key(PublicKey),
    /// Shown by a browser, when it opens its WebSocket.
    Token(TokenDigest),
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
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
        match text.parse() {
            Ok(token) => Ok(Self::Token(token)),
            Err(_) => text.parse().map(Self::Key),
        }
    }
}
