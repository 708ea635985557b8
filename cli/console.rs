//! What the user sees: one JSON object or text on stdout, messages on stderr.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use crate::exit::{Failure, Outcome};

/// Where results and messages go.
pub(crate) struct Console {
    json: bool,
}

impl Console {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// A message, on stderr.
    pub(crate) fn note(&self, message: impl Display) {
        // Nobody listens any more where stderr is closed: there is no better place to say so.
        let _ = writeln!(io::stderr(), "{message}");
    }

    /// The command's result, on stdout: the object, or the text that `text` makes of it.
    pub(crate) fn result<T: Serialize>(&self, object: &T, text: impl FnOnce(&T) -> String) -> Outcome<()> {
        if self.json { self.print(&to_json(object)?) } else { self.print(&text(object)) }
    }

    fn print(&self, text: &str) -> Outcome<()> {
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush());
        match written {
            // A reader that has seen enough, such as `head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::internal(format_args!("cannot write to stdout: {error}"))),
            Ok(()) => Ok(()),
        }
    }
}

/// An object as the JSON that is printed and stored.
pub(crate) fn to_json<T: Serialize>(object: &T) -> Outcome<String> {
    serde_json::to_string_pretty(object)
        .map_err(|error| Failure::internal(format_args!("cannot write JSON: {error}")))
}
