//! Files that are there whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::Error;

/// Who may read a file.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    Owner,
    All,
}

/// Writes a file that is there whole or not at all.
///
/// # Errors
/// [`Error::Write`] with the system's reason.
pub(crate) fn write(path: &Path, bytes: &[u8], access: Access) -> Result<(), Error> {
    write_whole(path, bytes, access)
        .map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Writes a file under another name first, which is its owner's alone, and gives it its own when it
/// is on the disk.
fn write_whole(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    #[cfg(unix)]
    if let Access::All = access {
        use std::os::unix::fs::PermissionsExt;
        let everybody = fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(everybody)?;
    }
    #[cfg(not(unix))]
    let _ = access;
    file.persist(path)?;
    Ok(())
}
