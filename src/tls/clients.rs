//! The clients that a server serves: a file of names, keys or tokens, and rights.

use std::path::Path;

use protocols::plan::Reveal;
use subtle::ConstantTimeEq;

use crate::certificate_name::CertificateName;
use crate::credential::Credential;
use crate::key::PublicKey;
use crate::token::Token;
use crate::{Error, secret};

/// Names of clients, by what each is known, and their rights.
///
/// Their file has one client a line: `NAME ed25519:...`, `NAME x509:...` with a name of its
/// certificate ([`CertificateName`]), or `NAME token:...` of a browser's. Empty lines, and what
/// follows a `#` at the start of a word, say nothing. A server of several networks reads more
/// behind it: see [`Rights`].
#[derive(Clone, Debug, Default)]
pub struct Clients(Vec<KnownClient>);

/// A client of a server.
#[derive(Clone, Debug)]
pub struct KnownClient {
    /// Its name in the file.
    pub name: String,
    /// By what it is known.
    pub credential: Credential,
    /// What it may do.
    pub rights: Rights,
}

/// What a client may do at a server of several networks. What is not there is not bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// `models=a,b`: the networks that there are for it.
    pub models: Option<Vec<String>>,
    /// `sessions=2`: its sessions at a time.
    pub sessions: Option<u32>,
    /// `images_per_day=1000`: its images a day of UTC. Whoever may ask without a bound can copy the
    /// network out of its answers.
    pub images_per_day: Option<u64>,
    /// `reveal=label`: it learns labels alone, of every network.
    pub reveal: Option<Reveal>,
}

const KEY: &str = "a key as pq keygen prints it, ed25519: and 43 characters; a whole name of a \
                   certificate, x509:dns:NAME, x509:uri:URI or x509:key:DIGEST; or the digest of a \
                   token, token: and 64 hexadecimal digits";
const OPTIONS: &str = "models=A,B, sessions=N, images_per_day=N or reveal=label, each once";

impl Clients {
    /// One client, known by a key or by something else.
    pub fn one(name: &str, credential: impl Into<Credential>) -> Self {
        let credential = credential.into();
        Self(vec![KnownClient { name: name.to_owned(), credential, rights: Rights::default() }])
    }

    /// The clients of a file, of a server that keeps no rights.
    ///
    /// # Errors
    /// [`Error::Read`] where it cannot be read, [`Error::Key`] with the line where one is not a
    /// client, where it has a token or rights, or where a name or a key is there twice.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let all = Self::open_with_rights(path)?;
        match all.0.iter().find(|client| client.is_for_services()) {
            None => Ok(all),
            Some(client) => Err(Error::Key {
                path: path.into(),
                line: None,
                expected: "names and keys alone: tokens and rights are for pq serve, this server \
                           has none"
                    .into(),
                found: format!("a token or rights of {}", client.name),
            }),
        }
    }

    /// The clients of a file, with what they may do.
    ///
    /// # Errors
    /// [`Error::Read`] where it cannot be read, [`Error::Key`] with the line where one is not a
    /// client, or where a name, a key or a right is there twice.
    pub fn open_with_rights(path: &Path) -> Result<Self, Error> {
        let text = secret::read(path)?;
        Self::parse(&String::from_utf8_lossy(&text), path)
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let mut all = Self::default();
        for (number, line) in text.lines().enumerate() {
            // An address may have a number sign within it, and is another one without its end.
            let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
            let Some(name) = words.next() else { continue };
            let Some(key) = words.next() else {
                return Err(wrong(path, number, "a name and a key, NAME ed25519:...", line));
            };
            let credential = key.parse().map_err(|_| wrong(path, number, KEY, key))?;
            // One key with two names would have the rights of both.
            if all.0.iter().any(|known| known.name == name || known.credential == credential) {
                return Err(wrong(path, number, "a name and a key that no line before has", line));
            }
            // What is not understood is refused: a right that is overlooked is one too many.
            let mut rights = Rights::default();
            for word in words {
                rights.add(word).ok_or_else(|| wrong(path, number, OPTIONS, word))?;
            }
            all.0.push(KnownClient { name: name.to_owned(), credential, rights });
        }
        Ok(all)
    }

    /// The client with this key.
    pub fn of(&self, key: PublicKey) -> Option<&KnownClient> {
        self.0.iter().find(|known| known.credential == Credential::Key(key))
    }

    /// The client with this token. How long that takes does not depend on the token.
    pub fn of_token(&self, token: &Token) -> Option<&KnownClient> {
        let shown = token.digest();
        self.0.iter().fold(None, |found, known| match known.credential {
            // All are compared: which one it is shows in nothing but the result.
            Credential::Token(digest) if digest.ct_eq(&shown).into() => Some(known),
            Credential::Token(_) | Credential::Key(_) | Credential::Certificate(_) => found,
        })
    }

    /// The client with a certificate of these names.
    ///
    /// # Errors
    /// All whose it could be, where that is not one.
    pub(super) fn of_certificate(&self, names: &[CertificateName]) -> Result<&KnownClient, String> {
        let own = self.0.iter().filter(|known| {
            matches!(&known.credential, Credential::Certificate(name) if names.contains(name))
        });
        match own.collect::<Vec<_>>()[..] {
            [one] => Ok(one),
            // The rights of two would be those of neither.
            ref several => {
                let names: Vec<_> = several.iter().map(|known| known.name.as_str()).collect();
                Err(names.join(" and "))
            }
        }
    }

    /// The first client that is known by a certificate, if any is.
    pub(super) fn with_certificate(&self) -> Option<&KnownClient> {
        self.0.iter().find(|known| matches!(known.credential, Credential::Certificate(_)))
    }

    /// The name of the client with this key.
    pub fn name(&self, key: PublicKey) -> Option<&str> {
        self.of(key).map(|known| known.name.as_str())
    }

    /// All of them, in the order of their file.
    pub fn all(&self) -> &[KnownClient] {
        &self.0
    }
}

impl KnownClient {
    /// Whether its line says more than a server of one network keeps.
    fn is_for_services(&self) -> bool {
        matches!(self.credential, Credential::Token(_)) || self.rights != Rights::default()
    }
}

impl Rights {
    /// Adds one, unless it is none or is there already.
    fn add(&mut self, word: &str) -> Option<()> {
        let (right, value) = word.split_once('=')?;
        match right {
            "models" => {
                let names: Vec<String> = value.split(',').map(str::to_owned).collect();
                let all = names.iter().all(|name| protocols::ask::check_name(name).is_ok());
                once(&mut self.models, Some(names).filter(|_| all)?)
            }
            "sessions" => once(&mut self.sessions, value.parse().ok().filter(|count| *count > 0)?),
            "images_per_day" => once(&mut self.images_per_day, value.parse().ok()?),
            "reveal" => once(&mut self.reveal, Some(Reveal::Label).filter(|_| value == "label")?),
            _ => None,
        }
    }

    /// Whether there is this network for the client.
    pub fn has(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.iter().any(|name| name == model))
    }
}

/// Sets what is not there yet.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    if place.is_some() {
        return None;
    }
    *place = Some(value);
    Some(())
}

pub(super) fn wrong(path: &Path, number: usize, expected: &str, found: &str) -> Error {
    let (line, expected) = (Some(number + 1), expected.to_owned());
    Error::Key { path: path.into(), line, expected, found: format!("{found:?}") }
}
