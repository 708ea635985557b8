//! The images that clients had today, in a file that outlives the process.
//!
//! A line a client: by what it is known, the day (days of UTC since 1970), and its images of that
//! day. What is asked for is written down before it is granted, so that no end of the process gives
//! any back.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::whole::{Access, write};
use crate::{Credential, Error, secret};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// The counts of all clients that have a quota.
pub(super) struct Quota {
    path: PathBuf,
    used: Mutex<BTreeMap<String, Used>>,
}

/// What one client had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    day: u64,
    images: u64,
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Seconds until the next day begins.
pub(super) fn until_tomorrow(now: u64) -> u32 {
    (DAY - now % DAY) as u32
}

impl Quota {
    /// The counts of a file, none where there is no file yet.
    ///
    /// # Errors
    /// The file cannot be read, or is no such file.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let used = match secret::read(path) {
            Ok(text) => parse(&String::from_utf8_lossy(&text), path)?,
            Err(Error::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                BTreeMap::new()
            }
            Err(error) => return Err(error),
        };
        Ok(Self { path: path.into(), used: Mutex::new(used) })
    }

    /// What a client may still have at a time, of so many a day.
    pub(super) fn left(&self, client: &Credential, a_day: u64, now: u64) -> u64 {
        let used = self.used();
        a_day.saturating_sub(of_today(&used, &client.to_string(), now).images)
    }

    /// Takes images of a client, unless they are more than are left of so many a day.
    ///
    /// # Errors
    /// The file cannot be written: nothing is granted then.
    pub(super) fn take(
        &self,
        client: &Credential,
        (a_day, images): (u64, u64),
        now: u64,
    ) -> Result<bool, Error> {
        let (client, mut used) = (client.to_string(), self.used());
        let mut own = of_today(&used, &client, now);
        own.images = own.images.saturating_add(images);
        if own.images > a_day {
            return Ok(false);
        }
        // Written first: what is granted is on the disk, and what is not is as it was.
        let before = used.insert(client.clone(), own);
        let written = write(&self.path, text(&used).as_bytes(), Access::Owner);
        if written.is_err() {
            match before {
                Some(before) => used.insert(client, before),
                None => used.remove(&client),
            };
        }
        written.map(|()| true)
    }

    fn used(&self) -> MutexGuard<'_, BTreeMap<String, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client had on this day. A clock that was set back begins no new day.
fn of_today(used: &BTreeMap<String, Used>, client: &str, now: u64) -> Used {
    // A count of a later day stays, or it could be had again.
    let day = now / DAY;
    let own = used.get(client).filter(|own| own.day >= day);
    own.copied().unwrap_or(Used { day, images: 0 })
}

fn text(used: &BTreeMap<String, Used>) -> String {
    used.iter().fold(String::new(), |mut text, (client, Used { day, images })| {
        let _ = writeln!(text, "{client} {day} {images}");
        text
    })
}

fn parse(text: &str, path: &Path) -> Result<BTreeMap<String, Used>, Error> {
    let mut all = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let read = match words[..] {
            [client, day, images] if client.parse::<Credential>().is_ok() => {
                day.parse().ok().zip(images.parse().ok()).map(|found| (client, found))
            }
            _ => None,
        };
        // A file that cannot be read grants nothing: whoever damages it would have a new day.
        let Some((client, (day, images))) = read else {
            let expected = "ed25519:..., x509:... or token:..., a day and a number of images, as \
                            pq serve writes them; mend or remove the line";
            let (line, found) = (Some(number + 1), format!("{line:?}"));
            return Err(Error::Key { path: path.into(), line, expected: expected.into(), found });
        };
        all.insert(client.to_owned(), Used { day, images });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, Token};

    const NOON: u64 = 20_000 * DAY + DAY / 2;

    #[test]
    fn what_was_had_survives_a_restart_and_ends_with_the_day() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("used");
        let a = Credential::Key(Identity::generate().unwrap().public());
        let b = Credential::Token(Token::generate().unwrap().digest());
        let c: Credential = "x509:uri:spiffe://example.org/c#1".parse().unwrap();
        let quota = Quota::open(&path).unwrap();
        assert!(quota.take(&a, (10, 7), NOON).unwrap());
        assert!(!quota.take(&a, (10, 4), NOON).unwrap(), "all or nothing");
        assert!(quota.take(&b, (2, 2), NOON).unwrap());
        assert!(quota.take(&c, (2, 1), NOON).unwrap());
        for quota in [quota, Quota::open(&path).unwrap()] {
            let left = [(&a, 10), (&b, 2), (&c, 2)].map(|(of, a_day)| quota.left(of, a_day, NOON));
            assert_eq!(left, [3, 0, 1]);
            assert_eq!(quota.left(&a, 10, NOON - DAY), 3, "a clock that was set back");
            assert_eq!(quota.left(&a, 10, NOON + DAY), 10);
        }
        let quota = Quota::open(&path).unwrap();
        assert!(quota.take(&a, (10, 9), NOON + DAY).unwrap());
        assert_eq!(Quota::open(&path).unwrap().left(&a, 10, NOON + DAY), 1);
        assert_eq!(until_tomorrow(NOON), (DAY / 2) as u32);
    }

    #[test]
    fn a_damaged_file_is_named_and_grants_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("used");
        std::fs::write(&path, "ed25519:AAAA 1 2\n").unwrap();
        let Err(error) = Quota::open(&path) else { panic!("it is damaged") };
        assert!(error.to_string().contains("used, line 1"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let quota = Quota::open(&path).unwrap();
        let key = Credential::Key(Identity::generate().unwrap().public());
        drop(folder);
        assert!(quota.take(&key, (1, 1), NOON).is_err(), "there is no folder to write into");
        assert_eq!(quota.left(&key, 1, NOON), 1);
    }
}
