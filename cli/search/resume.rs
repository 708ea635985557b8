//! What an interrupted search has left for the next one.

use quant::search::Sensitivity;
use serde::{Deserialize, Serialize};

use super::args::Args;
use crate::context::App;
use crate::exit::Outcome;
use crate::files;
use crate::out::SENSITIVITY;
use crate::sealed;

/// Sensitivities in a folder, and of what they are.
#[derive(Serialize, Deserialize)]
struct Stored {
    fingerprint: String,
    sensitivity: Sensitivity,
}

/// The sensitivities that an interrupted search has written.
///
/// # Errors
/// The file is not as it was written.
pub(crate) fn known(app: &App, args: &Args, fingerprint: &str) -> Outcome<Option<Sensitivity>> {
    let Some(folder) = args.out.as_ref().filter(|_| args.resume) else { return Ok(None) };
    let path = folder.join(SENSITIVITY);
    match sealed::open::<Stored>(&path)? {
        Some(stored) if stored.fingerprint == fingerprint => Ok(Some(stored.sensitivity)),
        Some(_) => {
            let path = path.display();
            app.console
                .note(format_args!("{path} is of other arguments: sensitivities are found anew"));
            Ok(None)
        }
        None => Ok(None),
    }
}

/// Writes sensitivities, for a search that goes on after an interruption.
pub(crate) fn remember(
    app: &App,
    args: &Args,
    fingerprint: &str,
    sensitivity: Option<&Sensitivity>,
) -> Outcome<()> {
    let (Some(folder), Some(sensitivity)) = (&args.out, sensitivity) else { return Ok(()) };
    let stored = Stored { fingerprint: fingerprint.to_owned(), sensitivity: sensitivity.clone() };
    let sealed = sealed::seal(&stored)?;
    let file = files::secret(SENSITIVITY, sealed.as_bytes());
    files::write_together(&app.cleanup, folder, &[file])
}
