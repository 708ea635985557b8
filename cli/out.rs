//! `--out`, before any work starts: it can be written, and what stands there already is the
//! command's own.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use pq::{HINTS, HINTS_SECRET, PLAN, WEIGHTS};

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::net::SUMMARY;

/// The sensitivities of a search.
pub(crate) const SENSITIVITY: &str = "sensitivity.json";
/// The state of a training.
pub(crate) const TRAINING: &str = "training.state";
/// The folder of a frontier's networks, and the file of each beside its plan and weights.
pub(crate) const POINTS: &str = "points";
pub(crate) const POINT: &str = "point.json";
pub(crate) const DRAWING: &str = "frontier.svg";
pub(crate) const PAGE: &str = "report.html";

/// The files of a network, any of which makes a folder one.
const NETWORK: [&str; 4] = [PLAN, WEIGHTS, HINTS, HINTS_SECRET];

/// Which command writes a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    Search,
    Frontier,
    Import,
    Tune,
}

/// A folder that can be written. Dropped empty, it goes again if it was not there before.
pub(crate) struct Folder {
    path: PathBuf,
    created: bool,
}

/// Makes sure of a folder. One that holds anything but what this command wrote there needs `force`.
///
/// # Errors
/// The folder cannot be written, or holds something else, which is named.
pub(crate) fn folder(app: &App, path: &Path, writer: Writer, force: bool) -> Outcome<Folder> {
    if let Some(foreign) = writer.foreign(path).filter(|_| !force) {
        return Err(Failure::usage(format_args!(
            "{} is there already, and {} has not written it; name another folder with --out, or \
            write into this one with \
             --force",
            foreign.display(),
            writer.command()
        )));
    }
    let created = !path.exists();
    writable(app, path)?;
    Ok(Folder { path: path.to_owned(), created })
}

/// Makes sure of a file that is to be written: one that is there already needs `force`.
///
/// # Errors
/// Its folder cannot be written, or it is there.
pub(crate) fn file(app: &App, path: &Path, force: bool) -> Outcome<()> {
    if path.is_dir() {
        let message =
            format!("cannot write {}: it is a folder; name a file with --out", path.display());
        return Err(Failure::internal(message));
    }
    if path.exists() && !force {
        return Err(Failure::usage(format_args!(
            "{} is there already; name another file with --out, or replace it with --force",
            path.display()
        )));
    }
    writable(app, files::folder_of(path))
}

/// Creates the folder, and a file in it.
fn writable(app: &App, folder: &Path) -> Outcome<()> {
    app.cleanup
        .uninterrupted(|| fs::create_dir_all(folder))
        .map_err(|error| files::unwritable(folder, &error))?;
    let probe = folder.join(format!(".pq.{}.tmp", std::process::id()));
    let created = app.cleanup.create(probe, |path| File::create(path));
    created.map(drop).map_err(|error| files::unwritable(folder, &error))
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.created {
            // It fails where something was written.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

impl Writer {
    const fn command(self) -> &'static str {
        match self {
            Self::Search => "pq search",
            Self::Frontier => "pq search --frontier",
            Self::Import => "pq import",
            Self::Tune => "pq tune",
        }
    }

    const fn files(self) -> &'static [&'static str] {
        match self {
            Self::Search => &[PLAN, WEIGHTS, HINTS, HINTS_SECRET, SUMMARY, SENSITIVITY],
            Self::Frontier => &[SUMMARY, DRAWING, PAGE, SENSITIVITY],
            Self::Import => &[PLAN, WEIGHTS, HINTS, HINTS_SECRET, SUMMARY],
            Self::Tune => &[PLAN, WEIGHTS, HINTS, HINTS_SECRET, SUMMARY, TRAINING],
        }
    }

    /// Something at a path that this command does not write there.
    fn foreign(self, path: &Path) -> Option<PathBuf> {
        if path.exists() && !path.is_dir() {
            return Some(path.to_owned());
        }
        let mut foreign = match self {
            Self::Frontier => {
                let mut foreign =
                    other_than(path, |name| self.files().contains(&name) || name == POINTS);
                let files = [PLAN, WEIGHTS, HINTS, HINTS_SECRET, POINT];
                for point in entries(&path.join(POINTS)) {
                    foreign.extend(other_than(&point, |name| files.contains(&name)));
                }
                foreign
            }
            Self::Search | Self::Import | Self::Tune => {
                other_than(path, |name| self.files().contains(&name))
            }
        };
        let summary = path.join(SUMMARY);
        // A network comes with the record of how it was found.
        let network = NETWORK.map(|name| path.join(name)).into_iter().find(|path| path.exists());
        match fs::read(&summary) {
            Ok(json) if !self.has_written(&json) => foreign.push(summary),
            Err(error) if error.kind() == ErrorKind::NotFound => foreign.extend(network),
            Ok(_) | Err(_) => {}
        }
        foreign.into_iter().min()
    }

    /// Whether a record is this command's.
    fn has_written(self, summary: &[u8]) -> bool {
        let Ok(Value::Object(summary)) = serde_json::from_slice(summary) else { return false };
        match self {
            Self::Search | Self::Tune => summary.contains_key("expected_loss"),
            Self::Frontier => summary.contains_key("points"),
            Self::Import => summary.contains_key("changes"),
        }
    }
}

/// What is in a folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// What is in a folder besides the names that are expected, and the temporary files of a run that
/// was killed. Where the folder is none, that.
fn other_than(folder: &Path, expected: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    if folder.is_file() {
        return vec![folder.to_owned()];
    }
    let mut others = entries(folder);
    others.retain(|path| {
        let Some(name) = path.file_name() else { return true };
        let name = name.to_string_lossy();
        let temporary = name.starts_with('.') && name.ends_with(".tmp");
        !(temporary || expected(&name))
    });
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each writer says of a folder with such files.
    fn foreign(files: &[(&str, &str)]) -> [Option<String>; 3] {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let name =
            |path: PathBuf| path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
        [Writer::Search, Writer::Frontier, Writer::Import]
            .map(|writer| writer.foreign(folder.path()).map(name))
    }

    #[test]
    fn a_folder_is_its_writers_or_foreign() {
        let (search, frontier) =
            ((SUMMARY, "{\"expected_loss\": 1}"), (SUMMARY, "{\"points\": []}"));
        let (import, plan, weights) = ((SUMMARY, "{\"changes\": []}"), (PLAN, ""), (WEIGHTS, ""));
        let sensitivity = (SENSITIVITY, "");
        let some = |name: &str| Some(name.to_owned());
        let training = (TRAINING, "");
        assert_eq!(foreign(&[training]), [some(TRAINING), some(TRAINING), some(TRAINING)]);
        let point = [("points/a/plan.json", ""), ("points/a/point.json", "")];
        assert_eq!(foreign(&[]), [None, None, None]);
        let hints = [(HINTS, ""), (HINTS_SECRET, "")];
        assert_eq!(foreign(&[plan, weights, hints[0], hints[1], search, sensitivity])[0], None);
        assert_eq!(foreign(&hints)[2], Some(HINTS.to_owned()));
        assert_eq!(foreign(&[plan, weights, import]), [some(SUMMARY), some(PLAN), None]);
        assert_eq!(foreign(&[frontier, sensitivity, point[0], point[1]])[1], None);
        // Interrupted, or killed amid a write.
        let killed = (".plan.json.77.tmp", "");
        assert_eq!(foreign(&[sensitivity, killed, point[0]])[1], None);
        assert_eq!(foreign(&[sensitivity, killed]), [None, None, some(SENSITIVITY)]);
        // Somebody else's.
        assert_eq!(
            foreign(&[("thesis.tex", "")]),
            [some("thesis.tex"), some("thesis.tex"), some("thesis.tex")]
        );
        assert_eq!(foreign(&[plan, weights]), [some(PLAN), some(PLAN), some(PLAN)]);
        assert_eq!(foreign(&[(SUMMARY, "no JSON")])[0], some(SUMMARY));
        assert_eq!(foreign(&[frontier, ("points/a/notes", "")])[1], some("points/a/notes"));
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_foreign() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net");
        fs::write(&path, "").unwrap();
        assert_eq!(Writer::Search.foreign(&path), Some(path));
    }
}
