//! The user's folders.

use std::path::PathBuf;

/// `pq` in the folder that a variable of the environment names, or in one of `HOME`. None where
/// neither is set.
pub(crate) fn folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let home = set("HOME").map(|home| home.join(below_home));
    Some(set(variable).or(home)?.join("pq"))
}

/// A folder that a variable of the environment names.
fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
