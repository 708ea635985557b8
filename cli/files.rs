//! Files: bounded reading, and writing that leaves either the whole file or none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cleanup::{Cleanup, Temporary};
use crate::exit::{Failure, Outcome};

/// No plan or weight file may be larger.
const MAX_FILE: u64 = 1 << 30;

/// A file to be written.
pub(crate) struct Written<'a> {
    name: &'a str,
    bytes: &'a [u8],
    access: Access,
}

/// Who may read a file.
#[derive(Clone, Copy)]
enum Access {
    /// The owner alone: what holds weights, or was derived from them or from images.
    Owner,
    /// Everybody: what the peer gets too.
    All,
}

/// A file that its owner alone may read.
pub(crate) const fn secret<'a>(name: &'a str, bytes: &'a [u8]) -> Written<'a> {
    Written { name, bytes, access: Access::Owner }
}

/// A file that everybody may read.
pub(crate) const fn public<'a>(name: &'a str, bytes: &'a [u8]) -> Written<'a> {
    Written { name, bytes, access: Access::All }
}

/// Reads a file that the user gave. The bytes may be secret, so they are wiped when they are
/// dropped.
pub(crate) fn read(path: &Path) -> Outcome<Zeroizing<Vec<u8>>> {
    let failed = |error| Failure::input(format_args!("cannot read {}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let expected = file.metadata().map_err(failed)?.len().min(MAX_FILE);
    let bytes = read_wiping(file.take(MAX_FILE + 1), expected as usize).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::input(format_args!("{}: more than {MAX_FILE} bytes", path.display())));
    }
    Ok(bytes)
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

/// The folder of a file that is named.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes files that belong together into a folder, which is created if needed: first under
/// temporary names, then, when all are on the disk, under their own. A secret one is its owner's
/// alone from the moment it exists.
pub(crate) fn write_together(
    cleanup: &Cleanup,
    folder: &Path,
    files: &[Written<'_>],
) -> Outcome<()> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Failure::internal(format_args!("cannot write {}: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let mut written: Vec<(Temporary, PathBuf)> = Vec::new();
    for Written { name, bytes, access } in files {
        let path = folder.join(name);
        let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
        let (temporary, mut file) =
            cleanup.create(temporary, |path| create(path, *access)).map_err(failed(&path))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed(&path))?;
        written.push((temporary, path));
    }
    cleanup.uninterrupted(|| {
        written.iter().try_for_each(|(temporary, path)| {
            fs::rename(temporary.path(), path).map_err(failed(path))
        })
    })
}

/// Creates a file that is not there, with the rights that it keeps. What a killed process of the
/// same number left behind is removed: its rights may be others.
fn create(path: &Path, access: Access) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => (),
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(
        &mut options,
        match access {
            Access::Owner => 0o600,
            Access::All => 0o644,
        },
    );
    options.open(path)
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

    #[cfg(unix)]
    #[test]
    fn a_file_has_its_rights_from_the_moment_it_exists_whatever_was_there_before() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        for (access, rights) in [(Access::Owner, 0o600), (Access::All, 0o644)] {
            let path = folder.path().join("file");
            let _ = fs::remove_file(&path);
            for before in [None, Some(0o666), Some(0o600)] {
                if let Some(before) = before {
                    fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
                }
                let mode =
                    create(&path, access).unwrap().metadata().unwrap().permissions().mode() & 0o777;
                // Whoever runs this may have asked for less.
                assert_eq!(mode & !rights, 0, "{before:?}: {mode:o}");
                assert_eq!(mode & 0o600, 0o600);
            }
        }
    }
}
