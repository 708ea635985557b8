//! The clients that a server serves: a file of names, keys and rights.

use std::path::Path;

use protocols::plan::Reveal;

use crate::key::PublicKey;
use crate::{Error, secret};

/// Names, keys and rights of clients.
///
/// Their file has one client a line, `NAME ed25519:...`. Empty lines, and what follows a `#`, say
/// nothing. A server of several networks reads more behind the key: see [`Rights`].
#[derive(Clone, Debug, Default)]
pub struct Clients(Vec<KnownClient>);

/// A client of a server.
#[derive(Clone, Debug)]
pub struct KnownClient {
    /// Its name in the file.
    pub name: String,
    /// Its key.
    pub key: PublicKey,
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

const KEY: &str = "a key as pq keygen prints it, ed25519: and 43 characters";
const OPTIONS: &str = "models=A,B, sessions=N, images_per_day=N or reveal=label, each once";

impl Clients {
    /// One client.
    pub fn one(name: &str, key: PublicKey) -> Self {
        Self(vec![KnownClient { name: name.to_owned(), key, rights: Rights::default() }])
    }

    /// The clients of a file, of a server that keeps no rights.
    ///
    /// # Errors
    /// [`Error::Read`] where it cannot be read, [`Error::Key`] with the line where one is not a
    /// client, where it has rights, or where a name or a key is there twice.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let all = Self::open_with_rights(path)?;
        match all.0.iter().find(|client| client.rights != Rights::default()) {
            None => Ok(all),
            Some(client) => Err(Error::Key {
                path: path.into(),
                line: None,
                expected: "names and keys alone: pq serve keeps rights, this server does not"
                    .into(),
                found: format!("rights of {}", client.name),
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
            let line = line.split('#').next().unwrap_or_default().trim();
            let mut words = line.split_whitespace();
            let Some(name) = words.next() else { continue };
            let Some(key) = words.next() else {
                return Err(wrong(path, number, "a name and a key, NAME ed25519:...", line));
            };
            let key = key.parse().map_err(|_| wrong(path, number, KEY, key))?;
            // One key with two names would have the rights of both.
            if all.0.iter().any(|known| known.name == name) || all.of(key).is_some() {
                return Err(wrong(path, number, "a name and a key that no line before has", line));
            }
            // What is not understood is refused: a right that is overlooked is one too many.
            let mut rights = Rights::default();
            for word in words {
                rights.add(word).ok_or_else(|| wrong(path, number, OPTIONS, word))?;
            }
            all.0.push(KnownClient { name: name.to_owned(), key, rights });
        }
        Ok(all)
    }

    /// The client with this key.
    pub fn of(&self, key: PublicKey) -> Option<&KnownClient> {
        self.0.iter().find(|known| known.key == key)
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

fn wrong(path: &Path, number: usize, expected: &str, found: &str) -> Error {
    let (line, expected) = (Some(number + 1), expected.to_owned());
    Error::Key { path: path.into(), line, expected, found: format!("{found:?}") }
}
