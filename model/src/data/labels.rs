//! Files of labels: IDX, .npy, or one number a line.

use std::path::Path;

use super::error::Fault;
use super::read::Content;
use super::{DataError, idx, npy, read};

/// The classes that a file names, each less than `classes`.
pub(super) fn open(path: &Path, classes: usize) -> Result<Vec<usize>, DataError> {
    parse(path, Content::open(path)?, classes)
}

/// The classes in a file's content; the path is for errors.
pub(super) fn parse(
    path: &Path,
    mut content: Content<'_>,
    classes: usize,
) -> Result<Vec<usize>, DataError> {
    let labels = if content.head().starts_with(npy::MAGIC) {
        npy::labels(&mut content, classes)
    } else if idx::is_one(content.head()) {
        idx::labels(&mut content).and_then(|labels| checked(labels, classes))
    } else {
        content.all(read::LABELS).and_then(|bytes| numbers(&bytes, classes))
    };
    labels.map_err(|fault| fault.at(path))
}

/// Labels, if every one is less than `classes`.
pub(super) fn checked(labels: Vec<usize>, classes: usize) -> Result<Vec<usize>, Fault> {
    match labels.iter().position(|&label| label >= classes) {
        None => Ok(labels),
        Some(image) => Err(Fault::Label { image, found: labels[image].to_string(), classes }),
    }
}

fn numbers(bytes: &[u8], classes: usize) -> Result<Vec<usize>, Fault> {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end().lines().enumerate().map(|(at, line)| number(at, line.trim(), classes)).collect()
}

fn number(at: usize, line: &str, classes: usize) -> Result<usize, Fault> {
    let shown: String = line.chars().take(20).collect();
    match line.parse::<i128>().map(usize::try_from) {
        Ok(Ok(label)) if label < classes => Ok(label),
        Ok(_) => Err(Fault::Label { image: at, found: shown, classes }),
        Err(_) => {
            let expected = format!("a class number in line {}; or an IDX or .npy file", at + 1);
            Err(Fault::new("labels", "text", expected, format!("{shown:?}")))
        }
    }
}
