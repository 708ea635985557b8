//! Reading and writing files whose bytes may be secret.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::Error;

/// No file that is read whole may be larger.
const MAX_FILE: u64 = 1 << 30;

/// Reads a file of at most 1 GiB. The bytes may be secret, so they are wiped when they are dropped.
///
/// # Errors
/// [`Error::Read`] with the system's reason, or [`Error::TooLarge`].
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let bytes = read_start(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::TooLarge { path: path.to_owned(), limit: MAX_FILE });
    }
    Ok(bytes)
}

/// Writes a new file, which its owner alone may read.
///
/// # Errors
/// [`Error::Write`]; a file that is there already is kept.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // The mode is set where the file is made: it is not open to others even for a moment.
    let written = options.open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|source| Error::Write { path: path.into(), source })
}

/// A file, of which a byte too many shows that it is too large.
fn read_start(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let expected = file.metadata()?.len().min(MAX_FILE);
    read_wiping(file.take(MAX_FILE + 1), expected as usize)
}

/// Everything that a reader has, about as much as expected. No copy of it stays behind where the
/// buffer has to grow.
fn read_wiping(mut from: impl Read, expected: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // One byte more, so that the end is found without growing.
    let mut bytes = Zeroizing::new(vec![0; expected + 1]);
    let mut len = 0;
    loop {
        if len == bytes.len() {
            let mut larger = Zeroizing::new(vec![0; 2 * len]);
            larger[..len].copy_from_slice(&bytes);
            bytes = larger;
        }
        match from.read(&mut bytes[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read_whatever_was_expected() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| i as u8).collect();
        for expected in [0, 1, 10, 999, 1000, 1001, 5000] {
            // In pieces, as from a pipe.
            let pieces = (&bytes[..300]).chain(&bytes[300..]);
            assert_eq!(*read_wiping(pieces, expected).unwrap(), bytes, "{expected} expected");
        }
        assert!(read_wiping(&[][..], 0).unwrap().is_empty());
    }
}
