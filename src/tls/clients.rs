//! The clients that a server serves: a file of names and keys.

use std::path::Path;

use crate::key::PublicKey;
use crate::{Error, secret};

/// Names and keys of clients.
///
/// Their file has one client a line, `NAME ed25519:...`. Empty lines, and what follows a `#`, say
/// nothing.
#[derive(Clone, Debug, Default)]
pub struct Clients(Vec<(String, PublicKey)>);

impl Clients {
    /// One client.
    pub fn one(name: &str, key: PublicKey) -> Self {
        Self(vec![(name.to_owned(), key)])
    }

    /// The clients of a file.
    ///
    /// # Errors
    /// [`Error::Read`] where it cannot be read, [`Error::Key`] with the line where one is not a
    /// client, or a name or a key is there twice.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let text = secret::read(path)?;
        Self::parse(&String::from_utf8_lossy(&text), path)
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let mut all = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let words: Vec<&str> = line.split_whitespace().collect();
            let (name, key) = match words[..] {
                [] => continue,
                [name, key] => (name, key),
                _ => {
                    let expected = "a name and a key, NAME ed25519:..., and no more";
                    return Err(wrong(path, number, expected, line));
                }
            };
            let key = key.parse().map_err(|_| {
                let expected = "a key as pq keygen prints it, ed25519: and 43 characters";
                wrong(path, number, expected, key)
            })?;
            // One key with two names would have the rights of both.
            if all.0.iter().any(|(known, _)| known == name) || all.name(key).is_some() {
                return Err(wrong(path, number, "a name and a key that no line before has", line));
            }
            all.0.push((name.to_owned(), key));
        }
        Ok(all)
    }

    /// The name of the client with this key.
    pub fn name(&self, key: PublicKey) -> Option<&str> {
        self.0.iter().find(|(_, known)| *known == key).map(|(name, _)| name.as_str())
    }
}

fn wrong(path: &Path, number: usize, expected: &str, found: &str) -> Error {
    let (line, expected) = (Some(number + 1), expected.to_owned());
    Error::Key { path: path.into(), line, expected, found: format!("{found:?}") }
}
