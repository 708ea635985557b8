//! The servers that a client knows: a file of addresses and keys.

use std::path::{Path, PathBuf};

use super::clients::wrong;
use crate::key::PublicKey;
use crate::whole::{Access, write};
use crate::{Error, secret, user};

/// The keys of servers, by address.
///
/// Their file has one server a line, `HOST:PORT ed25519:...`. Empty lines, and what follows a `#`,
/// say nothing. A key comes into it by its user's hand alone: one that is taken from the server
/// itself would be whoever's stands in the way.
#[derive(Clone, Debug)]
pub struct KnownServers {
    path: PathBuf,
    /// The file, with comments of its user's.
    text: String,
    servers: Vec<(String, PublicKey)>,
}

const LINE: &str = "an address and a key, HOST:PORT ed25519:...";

impl KnownServers {
    /// The user's file: `pq/known` in `XDG_CONFIG_HOME`, or in `.config` in `HOME`. None where
    /// neither is set.
    pub fn of_user() -> Option<PathBuf> {
        user::folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("known"))
    }

    /// The servers of a file; none where there is no file yet.
    ///
    /// # Errors
    /// [`Error::Read`] where it cannot be read, [`Error::Key`] with the line where one is not a
    /// server, or where an address is there twice.
    pub fn open(path: &Path) -> Result<Self, Error> {
        match secret::read(path) {
            Ok(text) => Self::parse(&String::from_utf8_lossy(&text), path),
            Err(Error::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Self::parse("", path)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let mut all = Self { path: path.to_owned(), text: text.to_owned(), servers: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            let said = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = said.split_whitespace().collect();
            let (address, key) = match words[..] {
                [] => continue,
                [address, key] => (address, key.parse().ok()),
                _ => (said, None),
            };
            let key = key.ok_or_else(|| wrong(path, number, LINE, line))?;
            if all.key(address).is_some() {
                return Err(wrong(path, number, "an address that no line before has", line));
            }
            all.servers.push((address.to_owned(), key));
        }
        Ok(all)
    }

    /// Their file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key of the server at an address. Letters of its host may be small or large.
    pub fn key(&self, address: &str) -> Option<PublicKey> {
        let known = self.servers.iter().find(|(known, _)| known.eq_ignore_ascii_case(address));
        known.map(|(_, key)| *key)
    }

    /// All of them, in the order of their file.
    pub fn all(&self) -> impl Iterator<Item = (&str, PublicKey)> {
        self.servers.iter().map(|(address, key)| (address.as_str(), *key))
    }

    /// Adds a server at the end of the file, and makes its folder where there is none. One that is
    /// there with this key changes nothing.
    ///
    /// # Errors
    /// [`Error::Key`] where the address has another key, [`Error::Write`] with the system's reason.
    pub fn add(&mut self, address: &str, key: PublicKey) -> Result<(), Error> {
        match self.key(address) {
            Some(known) if known == key => return Ok(()),
            Some(known) => {
                return Err(Error::Key {
                    path: self.path.clone(),
                    line: None,
                    expected: format!(
                        "the key {known}, by which {address} is known; ask its operator which is \
                         right, and where it has changed, remove the old one first"
                    ),
                    found: key.to_string(),
                });
            }
            None => self.servers.push((address.to_owned(), key)),
        }
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.push_str(&format!("{address} {key}\n"));
        self.save()
    }

    /// Removes the server at an address, and says whether there was one.
    ///
    /// # Errors
    /// [`Error::Write`] with the system's reason.
    pub fn remove(&mut self, address: &str) -> Result<bool, Error> {
        if self.key(address).is_none() {
            return Ok(false);
        }
        self.servers.retain(|(known, _)| !known.eq_ignore_ascii_case(address));
        let others = self.text.lines().filter(|line| {
            let first = line.split_whitespace().next();
            !first.is_some_and(|known| known.eq_ignore_ascii_case(address))
        });
        self.text = others.map(|line| format!("{line}\n")).collect();
        self.save()?;
        Ok(true)
    }

    fn save(&self) -> Result<(), Error> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
        write(&self.path, self.text.as_bytes(), Access::Owner)
    }
}
