//! What can be wrong with a data file.

use std::io;
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
        source: io::Error,
    },
    /// The file, unpacked, is larger than this program takes.
    #[error(
        "{} holds more than {limit} bytes once unpacked, the most that is read of its kind; split \
         it",
        path.display()
    )]
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
        "{}: the images are {} (channels x rows x columns), but the network takes {}; convert or \
         resize them",
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
    /// An element that is no pixel: the first one.
    #[error(
        "{}: image {image}, channel {channel}, row {row}, column {column}: expected {expected}, \
         found {found}",
        path.display()
    )]
    Pixel {
        /// The file.
        path: PathBuf,
        /// The image, from 0.
        image: usize,
        /// The channel, from 0.
        channel: usize,
        /// The row, from 0.
        row: usize,
        /// The column, from 0.
        column: usize,
        /// What pixels are.
        expected: &'static str,
        /// What is there.
        found: String,
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
    /// A label that is none of the network's classes: the first one.
    #[error(
        "{}: the label of image {image} is {found}, but the network tells {classes} classes apart, \
         from 0 on; are these labels of another data set?",
        path.display()
    )]
    Label {
        /// The file of the labels.
        path: PathBuf,
        /// The image, from 0.
        image: usize,
        /// The label.
        found: String,
        /// The number of classes.
        classes: usize,
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

/// What is wrong with a content, its file not yet named.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    TooLarge { limit: u64 },
    Malformed { format: &'static str, field: &'static str, expected: String, found: String },
    Shape { expected: [usize; 3], found: Vec<usize> },
    Pixel { at: usize, shape: [usize; 3], expected: &'static str, found: String },
    Label { image: usize, found: String, classes: usize },
}

impl Fault {
    pub(super) fn new(
        format: &'static str,
        field: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Malformed { format, field, expected: expected.into(), found: found.into() }
    }

    pub(super) fn at(self, path: &Path) -> DataError {
        let path = path.to_owned();
        match self {
            Self::Io(source) => DataError::Io { path, source },
            Self::TooLarge { limit } => DataError::TooLarge { path, limit },
            Self::Malformed { format, field, expected, found } => {
                DataError::Malformed { path, format, field, expected, found }
            }
            Self::Shape { expected, found } => DataError::Shape { path, expected, found },
            Self::Label { image, found, classes } => {
                DataError::Label { path, image, found, classes }
            }
            Self::Pixel { at, shape: [c, h, w], expected, found } => {
                let (image, channel) = (at / (c * h * w), at / (h * w) % c);
                let (row, column) = (at / w % h, at % w);
                DataError::Pixel { path, image, channel, row, column, expected, found }
            }
        }
    }
}

impl From<io::Error> for Fault {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

fn by(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}
