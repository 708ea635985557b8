//! What can be wrong with a data file.

use std::path::{Path, PathBuf};

use super::PreprocessError;

/// A data file that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file, unpacked, is larger than this program takes.
    #[error("{} holds more than {limit} bytes once unpacked; split it", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The content is not what its format says.
    #[error("{}: {format}: {field}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The format that it was taken for.
        format: &'static str,
        /// The part at fault.
        field: &'static str,
        /// What the format says, or what this program reads.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The images do not fit the network.
    #[error(
        "{}: the images are {} (channels x rows x columns), but the network takes {}; convert or resize them",
        path.display(), by(found), by(expected)
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// The network's input, `[C, H, W]`.
        expected: [usize; 3],
        /// The shape of one image in the file.
        found: Vec<usize>,
    },
    /// There are not as many labels as images.
    #[error("{}: {images} images, but {labels} labels", path.display())]
    LabelCount {
        /// The file of images.
        path: PathBuf,
        /// The number of images.
        images: usize,
        /// The number of labels.
        labels: usize,
    },
    /// Images were asked for that the file does not have.
    #[error("{} holds {images} images; {start}..{end} is not a range of them", path.display())]
    Range {
        /// The file.
        path: PathBuf,
        /// The first that was asked for.
        start: usize,
        /// The one after the last that was asked for.
        end: usize,
        /// The number of images.
        images: usize,
    },
    /// The preprocessing does not fit the images.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
}

/// A malformed content, its file not yet named.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) format: &'static str,
    pub(super) field: &'static str,
    pub(super) expected: String,
    pub(super) found: String,
}

impl Fault {
    pub(super) fn new(
        format: &'static str,
        field: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self { format, field, expected: expected.into(), found: found.into() }
    }

    pub(super) fn at(self, path: &Path) -> DataError {
        DataError::Malformed {
            path: path.into(),
            format: self.format,
            field: self.field,
            expected: self.expected,
            found: self.found,
        }
    }
}

fn by(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}
