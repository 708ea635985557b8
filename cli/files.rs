//! Files: writing that leaves either the whole file or none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cleanup::{Cleanup, Temporary};
use crate::exit::{Failure, Outcome};

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
    // Not amid a clean-up: it would make temporary folders anew that are removed already.
    cleanup
        .uninterrupted(|| fs::create_dir_all(folder))
        .map_err(|error| unwritable(folder, &error))?;
    let mut written: Vec<(Temporary, PathBuf)> = Vec::new();
    for Written { name, bytes, access } in files {
        let path = folder.join(name);
        let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
        let (temporary, mut file) = cleanup
            .create(temporary, |path| create(path, *access))
            .map_err(|error| unwritable(&path, &error))?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(|error| unwritable(&path, &error))?;
        written.push((temporary, path));
    }
    cleanup.uninterrupted(|| {
        for (temporary, path) in &written {
            fs::rename(temporary.path(), path).map_err(|error| unwritable(path, &error))?;
        }
        Ok(())
    })
}

/// A file or a folder that the system does not let be written.
pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::internal(format_args!("cannot write {}: {error}", path.display()))
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
