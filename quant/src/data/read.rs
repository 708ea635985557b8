//! Files to bytes, gzip undone, within bounds.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::DataError;

/// No file, unpacked, may be larger.
pub(super) const LIMIT: u64 = 2 << 30;

/// The file's content, decompressed if it is gzip.
pub(super) fn unpacked(path: &Path) -> Result<Vec<u8>, DataError> {
    let file = File::open(path).map_err(|source| DataError::Io { path: path.into(), source })?;
    unpacked_from(path, BufReader::new(file))
}

/// What a reader gives, decompressed if it is gzip; the path is for errors.
pub(super) fn unpacked_from(path: &Path, mut packed: impl Read) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::Io { path: path.into(), source };
    let mut bytes = Vec::new();
    packed.by_ref().take(2).read_to_end(&mut bytes).map_err(failed)?;
    let gzip = bytes == [0x1f, 0x8b];
    let whole = std::io::Cursor::new(std::mem::take(&mut bytes)).chain(packed);
    let read = if gzip {
        flate2::read::MultiGzDecoder::new(whole).take(LIMIT + 1).read_to_end(&mut bytes)
    } else {
        whole.take(LIMIT + 1).read_to_end(&mut bytes)
    };
    read.map_err(failed)?;
    if bytes.len() as u64 > LIMIT {
        return Err(DataError::TooLarge { path: path.into(), limit: LIMIT });
    }
    Ok(bytes)
}

/// The file's content as text, decompressed if it is gzip.
pub(super) fn text(path: &Path) -> Result<String, DataError> {
    String::from_utf8(unpacked(path)?).map_err(|error| DataError::Malformed {
        path: path.into(),
        format: "text",
        field: "encoding",
        expected: "UTF-8".into(),
        found: error.utf8_error().to_string(),
    })
}
