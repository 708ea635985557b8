//! What an interrupted training has left for the next one.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use quant::tune::Tuner;

use super::args::Args;
use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::out::TRAINING;

/// Goes on where the state in the folder is; from the beginning where there is none.
///
/// # Errors
/// It cannot be read, is not as it was written, or is of other arguments: the first is named.
pub(super) fn read(args: &Args, fingerprint: &str, tuner: &mut Tuner<'_>) -> Outcome<()> {
    let path = args.out.join(TRAINING);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Failure::input(format_args!("cannot read {}: {error}", path.display())));
        }
    };
    // A zero ends the arguments, in lines of text; the trainer's bytes follow.
    let end = bytes.iter().position(|&byte| byte == 0).ok_or_else(|| damaged(&path))?;
    let (head, state) = (&bytes[..end], &bytes[end + 1..]);
    let head = std::str::from_utf8(head).map_err(|_| damaged(&path))?;
    for (expected, found) in fingerprint.lines().zip(head.lines()) {
        if expected != found {
            return Err(Failure::usage(format_args!(
                "{} is of other arguments: expected {expected}, found {found}; give the same ones, \
                 or train from the beginning without --resume",
                path.display()
            )));
        }
    }
    if head.lines().count() != fingerprint.lines().count() {
        return Err(damaged(&path));
    }
    tuner.restore(state).map_err(|error| args.failure(error.into()))
}

fn damaged(path: &Path) -> Failure {
    let path = path.display();
    Failure::input(format_args!("{path} is damaged; train from the beginning, without --resume"))
}

/// Writes the state: first beside, then in its place.
pub(super) fn write(app: &App, args: &Args, fingerprint: &str, tuner: &Tuner<'_>) -> Outcome<()> {
    let mut bytes = fingerprint.as_bytes().to_vec();
    bytes.push(0);
    bytes.extend(tuner.state());
    files::write_together(&app.cleanup, &args.out, &[files::secret(TRAINING, &bytes)])
}
