//! Files: bounded reading, and writing that leaves either the whole file or none.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::cleanup::{Cleanup, Temporary};
use crate::exit::{Failure, Outcome};

/// No plan or weight file may be larger.
const MAX_FILE: u64 = 1 << 30;

/// Reads a file that the user gave.
pub(crate) fn read(path: &Path) -> Outcome<Vec<u8>> {
    let failed = |error| Failure::input(format_args!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::input(format_args!("{}: more than {MAX_FILE} bytes", path.display())));
    }
    Ok(bytes)
}

/// The folder of a file that is named.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes files that belong together into a folder, which is created if needed: first under temporary names, then, when all
/// are on the disk, under their own.
pub(crate) fn write_together(cleanup: &Cleanup, folder: &Path, files: &[(&str, &[u8])]) -> Outcome<()> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Failure::internal(format_args!("cannot write {}: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let mut written: Vec<(Temporary, PathBuf)> = Vec::new();
    for (name, bytes) in files {
        let path = folder.join(name);
        let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
        let (temporary, mut file) =
            cleanup.create(temporary, |path| File::create(path)).map_err(failed(&path))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed(&path))?;
        written.push((temporary, path));
    }
    cleanup.uninterrupted(|| {
        written
            .iter()
            .try_for_each(|(temporary, path)| fs::rename(temporary.path(), path).map_err(failed(path)))
    })
}
