//! What an interrupted training has left for the next one.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::files;

/// Where a training's state is kept, and all arguments that it depends on, one line each.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) arguments: String,
}

impl Place {
    /// The state that is there; none where there is no file.
    ///
    /// # Errors
    /// It cannot be read, is not as it was written, or is of other arguments: the first is named.
    pub(super) fn read(&self) -> Outcome<Option<Vec<u8>>> {
        let path = &self.path;
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::input(format_args!(
                    "cannot read {}: {error}",
                    path.display()
                )));
            }
        };
        // A zero ends the arguments, in lines of text; the trainer's bytes follow.
        let end = bytes.iter().position(|&byte| byte == 0).ok_or_else(|| damaged(path))?;
        let (head, state) = (&bytes[..end], &bytes[end + 1..]);
        let head = std::str::from_utf8(head).map_err(|_| damaged(path))?;
        for (expected, found) in self.arguments.lines().zip(head.lines()) {
            if expected != found {
                return Err(Failure::usage(format_args!(
                    "{} is of other arguments: expected {expected}, found {found}; give the same \
                     ones, or train from the beginning without --resume",
                    path.display()
                )));
            }
        }
        if head.lines().count() != self.arguments.lines().count() {
            return Err(damaged(path));
        }
        Ok(Some(state.to_vec()))
    }

    /// Writes the state: first beside, then in its place.
    pub(super) fn write(&self, app: &App, state: &[u8]) -> Outcome<()> {
        let mut bytes = self.arguments.as_bytes().to_vec();
        bytes.push(0);
        bytes.extend(state);
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let folder = files::folder_of(&self.path);
        files::write_together(&app.cleanup, folder, &[files::secret(name, &bytes)])
    }
}

fn damaged(path: &Path) -> Failure {
    let path = path.display();
    Failure::input(format_args!("{path} is damaged; train from the beginning, without --resume"))
}
