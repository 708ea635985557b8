//! Files of labels: IDX, .npy, or one number a line.

use std::path::Path;

use super::error::Fault;
use super::{DataError, idx, npy, read};

pub(super) fn open(path: &Path) -> Result<Vec<usize>, DataError> {
    parse(path, &read::unpacked(path)?)
}

/// The labels in a file's content; the path is for errors.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<usize>, DataError> {
    let labels = if bytes.starts_with(npy::MAGIC) {
        npy::labels(bytes)
    } else if idx::is_one(bytes) {
        idx::labels(bytes)
    } else {
        numbers(bytes)
    };
    labels.map_err(|fault| fault.at(path))
}

fn numbers(bytes: &[u8]) -> Result<Vec<usize>, Fault> {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end()
        .lines()
        .enumerate()
        .map(|(i, line)| {
            line.trim().parse().map_err(|_| {
                let shown: String = line.chars().take(20).collect();
                let expected = format!("a class number in line {}; or an IDX or .npy file", i + 1);
                Fault::new("labels", "text", expected, format!("{shown:?}"))
            })
        })
        .collect()
}
