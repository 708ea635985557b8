//! What the user sees: one JSON object or text on stdout, messages on stderr.
//!
//! Everything goes through here, and nothing that moves a cursor, hides or reorders text leaves it:
//! names in plans, ONNX files and class files, and what a peer says, are from outside. A line feed
//! is the one control character that text may hold; so [`Printable`] is for names in text that is
//! no table (tables do it themselves).

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use protocols::printable::{Printable, is_plain};
use serde::Serialize;

use crate::exit::{Failure, Outcome};

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Progress and notes, too.
    #[default]
    Usual,
    /// And every step as it begins.
    Verbose,
}

/// Of the process, as stderr itself is: progress is shown from many places.
static VERBOSITY: OnceLock<Verbosity> = OnceLock::new();

/// What was asked for.
pub(crate) fn verbosity() -> Verbosity {
    VERBOSITY.get().copied().unwrap_or_default()
}

/// Where results and messages go.
pub(crate) struct Console {
    json: bool,
    /// Whether the one object is on stdout already.
    printed: AtomicBool,
}

/// An error under `--json`.
#[derive(Serialize)]
struct ErrorReport<'a> {
    code: u8,
    kind: &'static str,
    message: &'a str,
}

/// A result, and why the command fails nevertheless.
#[derive(Serialize)]
struct Reported<'a, T> {
    #[serde(flatten)]
    object: &'a T,
    error: ErrorReport<'a>,
}

/// An error alone.
#[derive(Serialize)]
struct Failed<'a> {
    error: ErrorReport<'a>,
}

impl Console {
    pub(crate) fn new(json: bool, verbosity: Verbosity) -> Self {
        // A process has one command line.
        let _ = VERBOSITY.set(verbosity);
        Self { json, printed: AtomicBool::new(false) }
    }

    /// A message, unless the user wants quiet.
    pub(crate) fn note(&self, message: impl Display) {
        if verbosity() >= Verbosity::Usual {
            say(Printable(message));
        }
    }

    /// A message that everybody should read.
    pub(crate) fn warn(&self, message: impl Display) {
        say(format_args!("warning: {}", Printable(message)));
    }

    /// The command's result, on stdout: the object, or the text that `text` makes of it.
    pub(crate) fn result<T: Serialize>(
        &self,
        object: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Outcome<()> {
        if !self.json {
            return self.print(&text(object));
        }
        self.print(&to_json(object)?)
    }

    /// The result of a command that fails after all: as [`Console::result`], the object with the
    /// error in it.
    pub(crate) fn failed_result<T: Serialize>(
        &self,
        object: &T,
        text: impl FnOnce(&T) -> String,
        failure: Failure,
    ) -> Outcome<()> {
        if !self.json {
            self.print(&text(object))?;
            return Err(failure);
        }
        self.print(&to_json(&Reported { object, error: ErrorReport::of(&failure) })?)?;
        Err(failure)
    }

    /// Why the command ends: on stderr, and, where JSON is asked for and no result is there, on
    /// stdout.
    pub(crate) fn failure(&self, failure: &Failure) {
        say(format_args!("error: {failure}"));
        if self.json && !self.printed.load(Ordering::Relaxed) {
            // Where stdout is closed, stderr has it.
            let json = to_json(&Failed { error: ErrorReport::of(failure) });
            let _ = json.and_then(|json| self.print(&json));
        }
    }

    fn print(&self, text: &str) -> Outcome<()> {
        self.printed.store(true, Ordering::Relaxed);
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{}", Lines(text.trim_end())).and_then(|()| stdout.flush());
        match written {
            // A reader that has seen enough, such as `head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::internal(format_args!("cannot write to stdout: {error}"))),
            Ok(()) => Ok(()),
        }
    }
}

impl<'a> ErrorReport<'a> {
    fn of(failure: &'a Failure) -> Self {
        let code = failure.code();
        Self { code: code as u8, kind: code.kind(), message: failure.message() }
    }
}

/// Lines on stderr.
pub(crate) fn say(text: impl Display) {
    // Nobody listens any more where stderr is closed: there is no better place to say so.
    let _ = writeln!(io::stderr(), "{}", Lines(&text.to_string()));
}

/// An object as the JSON that is printed and stored: characters that are not plain are escaped in
/// its strings.
pub(crate) fn to_json<T: Serialize>(object: &T) -> Outcome<String> {
    let json = serde_json::to_string_pretty(object)
        .map_err(|error| Failure::internal(format_args!("cannot write JSON: {error}")))?;
    Ok(escaped_json(&json))
}

/// An object as one line of JSON, likewise.
pub(crate) fn to_json_line<T: Serialize>(object: &T) -> Outcome<String> {
    let json = serde_json::to_string(object)
        .map_err(|error| Failure::internal(format_args!("cannot write JSON: {error}")))?;
    Ok(escaped_json(&json))
}

/// JSON escapes the control characters below the space only.
fn escaped_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || is_plain(c) {
            text.push(c);
            continue;
        }
        c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text += &format!("\\u{unit:04x}"));
    }
    text
}

/// Text of several lines, perhaps with tabs, all else escaped.
struct Lines<'a>(&'a str);

impl Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(['\n', '\t']) {
            let text = part.strip_suffix(['\n', '\t']).unwrap_or(part);
            write!(f, "{}{}", Printable(text), &part[text.len()..])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_same_in_plain_characters() {
        let hostile = "\u{1b}[2J\u{9b}1m\u{202e}\u{7f}\u{e0041}\n\"é";
        let json = to_json(&[hostile]).unwrap();
        assert!(json.chars().all(|c| c == '\n' || is_plain(c)), "{json:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [hostile]);
    }

    #[test]
    fn text_keeps_its_lines_and_nothing_else_that_is_not_plain() {
        assert_eq!(Lines("a\nb\rc\u{1b}[0m\n").to_string(), "a\nb\\u{d}c\\u{1b}[0m\n");
    }
}
