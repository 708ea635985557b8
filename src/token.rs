//! Tokens: what clients have that cannot have keys, browsers above all.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocols::hex;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::{Error, digest, secret};

/// A bearer token: whoever has it is the client that it was given to. It is 32 random bytes,
/// written as 43 characters of Base64 for addresses. Never printed by `Debug`, wiped where it is
/// dropped.
pub struct Token(Zeroizing<String>);

/// What a server keeps of a token: the SHA-256 of its text. It is written as `token:` and 64
/// hexadecimal digits, and lets nobody in by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

/// Bytes of a token.
const LEN: usize = 32;
const NAME: &str = "token:";

impl Token {
    /// A new token, of the system's randomness.
    ///
    /// # Errors
    /// [`Error::System`] where the system has no random bytes.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; LEN]);
        SystemRandom::new().fill(&mut *bytes).map_err(|_| Error::System {
            what: "random bytes",
            source: std::io::Error::other("the system's generator has failed"),
        })?;
        Ok(Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes))))
    }

    /// Its text, to be given to the client.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What a server keeps of it.
    pub fn digest(&self) -> TokenDigest {
        // Nothing slower is needed: nobody guesses 32 random bytes.
        TokenDigest(digest::sha256(self.0.as_bytes()))
    }

    /// Writes its text into a new file, which its owner alone may read.
    ///
    /// # Errors
    /// [`Error::Write`]; a file that is there already is kept.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let line = Zeroizing::new(format!("{}\n", *self.0));
        secret::write_new(path, line.as_bytes())
    }
}

impl FromStr for Token {
    type Err = String;

    /// Text of fewer random bytes is none, so that nobody's own words become one. The error does
    /// not repeat it.
    fn from_str(text: &str) -> Result<Self, String> {
        // Decoded to be counted: what is compared is the digest of the text.
        let bytes = URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new);
        match bytes {
            Ok(bytes) if bytes.len() == LEN => Ok(Self(Zeroizing::new(text.to_owned()))),
            Ok(_) | Err(_) => Err("expected a token as pq keygen --token makes it".into()),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl ConstantTimeEq for TokenDigest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}{}", hex(&self.0))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix(NAME).unwrap_or_default();
        digest::of_hex(digits).map(Self).ok_or_else(|| wrong(text))
    }
}

fn wrong(text: &str) -> String {
    format!(
        "expected the digest of a token as pq keygen --token prints it, {NAME} and 64 hexadecimal \
         digits, found {text:?}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_digest_alone() {
        let (token, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        let read: Token = token.expose().parse().unwrap();
        assert_eq!(read.digest(), token.digest());
        assert_ne!(other.digest(), token.digest());
        assert!(bool::from(read.digest().ct_eq(&token.digest())));
        assert!(!bool::from(other.digest().ct_eq(&token.digest())));
        assert!(!format!("{token:?}").contains(token.expose()));
        let digest: TokenDigest = token.digest().to_string().parse().unwrap();
        assert_eq!(digest, token.digest());
        assert!(!digest.to_string().contains(token.expose()));
    }

    #[test]
    fn the_digest_is_that_of_the_text() {
        let token: Token = "A".repeat(43).parse().unwrap();
        let expected = ring::digest::digest(&ring::digest::SHA256, "A".repeat(43).as_bytes());
        assert_eq!(token.digest().to_string(), format!("token:{}", hex(expected.as_ref())));
    }

    #[test]
    fn what_is_no_token_or_no_digest_is_refused() {
        let short = "A".repeat(42);
        for text in ["", "secret", &short, &format!("{short}B=")] {
            let error = text.parse::<Token>().unwrap_err();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
        let digest = Token::generate().unwrap().digest().to_string();
        for text in [
            "",
            "token:",
            &digest[..69],
            &digest[6..],
            &format!("{digest}0"),
            &digest.to_uppercase(),
        ] {
            assert!(text.parse::<TokenDigest>().is_err(), "{text}");
        }
    }
}
