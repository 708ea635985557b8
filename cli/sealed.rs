//! Files that a search goes on from: sealed, so that what was edited or cut short since is not
//! taken for what was found.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::console::to_json;
use crate::exit::{Failure, Outcome};

/// A content with its digest.
#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    #[serde(flatten)]
    content: T,
    digest: String,
}

/// A content as the JSON of a sealed file.
pub(crate) fn seal<T: Serialize>(content: &T) -> Outcome<String> {
    to_json(&Sealed { content, digest: digest(content)? })
}

/// The content of a sealed file; `None` if there is no such file.
pub(crate) fn open<T: Serialize + DeserializeOwned>(path: &Path) -> Outcome<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = pq::read_secret(path)?;
    match serde_json::from_slice::<Sealed<T>>(&bytes) {
        Ok(sealed) if digest(&sealed.content)? == sealed.digest => Ok(Some(sealed.content)),
        Ok(_) => Err(broken(path, "its digest is not that of its content")),
        Err(error) => Err(broken(path, error)),
    }
}

/// A file that is not as it was written.
pub(crate) fn broken(path: &Path, why: impl std::fmt::Display) -> Failure {
    let what = "not as the search has written it";
    let advice = "remove it, or search without --resume";
    Failure::input(format_args!("{}: {what} ({why}); {advice}", path.display()))
}

fn digest<T: Serialize>(content: &T) -> Outcome<String> {
    Ok(quant::search::digest(to_json(content)?.as_bytes()))
}
