//! Image files: what the networks are calibrated with, evaluated on and asked about.

mod cifar;
mod error;
mod idx;
mod labels;
mod npy;
mod picture;
mod preprocess;
mod read;

pub use error::DataError;
pub use preprocess::{Preprocess, PreprocessError, integer};

use std::ops::Range;
use std::path::{Path, PathBuf};

use protocols::plan::MAX_NAME;

use crate::tensor::Tensor;
use error::Fault;

/// Images of one shape, with their labels if there are any.
///
/// Bytes are kept as bytes, so that a data set costs no more memory than its file, unpacked.
#[derive(Clone, Debug)]
pub struct Dataset {
    path: PathBuf,
    shape: [usize; 3],
    pixels: Pixels,
    labels: Option<Vec<usize>>,
}

/// The elements of the images, in the order N, C, H, W.
#[derive(Clone, Debug, PartialEq)]
enum Pixels {
    /// On the scale 0..255.
    Bytes(Vec<u8>),
    /// On the scale 0..1, or already preprocessed.
    Floats(Vec<f32>),
}

impl Pixels {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(x) => x.len(),
            Self::Floats(x) => x.len(),
        }
    }
}

/// What a parser makes of a file: the shape of one image as the file says, the elements, and labels if it holds them.
struct Images {
    shape: Vec<usize>,
    pixels: Pixels,
    labels: Option<Vec<usize>>,
}

impl Dataset {
    /// Reads images for a network whose input is `[C, H, W]`; for a network of flat vectors, `[C, 1, 1]`, images with C
    /// elements will do.
    ///
    /// The format is told by the content: CIFAR-10 or CIFAR-100 records (the label is the fine one), IDX, .npy, .npz (keys
    /// `x`, `images`, `data` or `arr_0`; labels `y` or `labels`), PNG or JPEG (one image), and gzip of any of them.
    /// `labels` names a file of labels (IDX, .npy or one number a line) that replaces any found; an IDX file's labels
    /// are looked for beside it (`images-idx3` becomes `labels-idx1`).
    ///
    /// # Errors
    /// The file cannot be read, is malformed, or holds images of another shape; or the labels do.
    pub fn open(path: &Path, labels: Option<&Path>, input: [usize; 3]) -> Result<Self, DataError> {
        Self::assemble(path, read::unpacked(path)?, input, |inside| match (labels, inside) {
            (Some(path), _) => Ok(Some(labels::open(path)?)),
            (None, Some(inside)) => Ok(Some(inside)),
            (None, None) => idx::labels_beside(path).map(|beside| labels::open(&beside)).transpose(),
        })
    }

    /// As [`Dataset::open`], from the content of the files. Nothing is read from the disk: paths are what errors name.
    ///
    /// # Errors
    /// The content is malformed, or holds images of another shape; or the labels do.
    pub fn from_bytes(
        path: &Path,
        content: &[u8],
        labels: Option<(&Path, &[u8])>,
        input: [usize; 3],
    ) -> Result<Self, DataError> {
        Self::assemble(path, read::unpacked_from(path, content)?, input, |inside| match labels {
            Some((path, content)) => Ok(Some(labels::parse(path, &read::unpacked_from(path, content)?)?)),
            None => Ok(inside),
        })
    }

    /// Uniform noise: what stands in where a network is looked at and its accuracy does not matter.
    #[must_use]
    pub fn noise(images: usize, input: [usize; 3], seed: u64) -> Self {
        let mut bytes = vec![0; images * input.iter().product::<usize>()];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        Self { path: "noise".into(), shape: input, pixels: Pixels::Bytes(bytes), labels: None }
    }

    /// A data set of unpacked content; `label` decides on the labels, given those inside.
    fn assemble(
        path: &Path,
        bytes: Vec<u8>,
        input: [usize; 3],
        label: impl FnOnce(Option<Vec<usize>>) -> Result<Option<Vec<usize>>, DataError>,
    ) -> Result<Self, DataError> {
        let images = parse(&bytes, input).map_err(|fault| fault.at(path))?;
        drop(bytes);
        // A file without images may claim axes of any length.
        let elements = images.shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        let fits = images.shape == input || (input[1..] == [1, 1] && Some(input[0]) == elements);
        let Some(elements) = elements.filter(|_| fits) else {
            return Err(DataError::Shape { path: path.into(), expected: input, found: images.shape });
        };
        let found = label(images.labels)?;
        let count = images.pixels.len() / elements.max(1);
        if let Some(found) = found.as_ref().filter(|found| found.len() != count) {
            return Err(DataError::LabelCount { path: path.into(), images: count, labels: found.len() });
        }
        Ok(Self { path: path.into(), shape: input, pixels: images.pixels, labels: found })
    }

    /// The number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pixels.len() / self.image_len()
    }

    /// Whether there are no images.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of an image, `[C, H, W]`.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The label of every image, if the file has labels.
    #[must_use]
    pub fn labels(&self) -> Option<&[usize]> {
        self.labels.as_deref()
    }

    /// The bytes of image `n`, in the order C, H, W; `None` if there is no such image or the pixels are floats.
    #[must_use]
    pub fn bytes(&self, n: usize) -> Option<&[u8]> {
        let len = self.image_len();
        match &self.pixels {
            Pixels::Bytes(bytes) => bytes.chunks_exact(len).nth(n),
            Pixels::Floats(_) => None,
        }
    }

    /// The images of a half-open range, preprocessed, `[N, C, H, W]`.
    ///
    /// Float pixels (of .npy files) are taken to be on the scale 0..1, where bytes are once they are divided by 255:
    /// [`Preprocess::Unit`] and [`Preprocess::Raw`] use them as they are.
    ///
    /// # Errors
    /// The range goes beyond the last image, or the preprocessing is for another number of channels.
    pub fn batch(&self, range: Range<usize>, preprocess: &Preprocess) -> Result<Tensor, DataError> {
        if range.start > range.end || range.end > self.len() {
            return Err(DataError::Range {
                path: self.path.clone(),
                start: range.start,
                end: range.end,
                images: self.len(),
            });
        }
        preprocess::check(preprocess, self.shape[0])?;
        let [c, h, w] = self.shape;
        let elements = range.start * self.image_len()..range.end * self.image_len();
        let mut data: Vec<f32> = match &self.pixels {
            Pixels::Bytes(bytes) => {
                let divisor = preprocess::byte_divisor(preprocess);
                bytes[elements].iter().map(|&x| f32::from(x) / divisor).collect()
            }
            Pixels::Floats(floats) => floats[elements].to_vec(),
        };
        preprocess::normalise(preprocess, &mut data, c, h * w);
        Ok(Tensor { shape: [range.len(), c, h, w], data })
    }

    fn image_len(&self) -> usize {
        self.shape.iter().product::<usize>().max(1)
    }
}

/// The names of the classes, one per line of a text file; blank lines at the end are none.
///
/// # Errors
/// The file cannot be read or is not UTF-8, or a name has more than [`MAX_NAME`] bytes.
pub fn class_names(path: &Path) -> Result<Vec<String>, DataError> {
    let text = read::text(path)?;
    let names: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    if let Some(at) = names.iter().position(|name| name.len() > MAX_NAME) {
        let (expected, found) = (format!("at most {MAX_NAME} bytes in line {}", at + 1), names[at].len());
        return Err(Fault::new("class names", "name", expected, format!("{found} bytes")).at(path));
    }
    Ok(names)
}

fn parse(bytes: &[u8], input: [usize; 3]) -> Result<Images, Fault> {
    if bytes.starts_with(npy::MAGIC) {
        npy::images(bytes, input)
    } else if bytes.starts_with(b"PK\x03\x04") {
        npy::archived_images(bytes, input)
    } else if picture::is_one(bytes) {
        picture::parse(bytes, input)
    } else if idx::is_one(bytes) && !cifar::is_one(bytes) || idx::is_exact(bytes) {
        idx::images(bytes)
    } else {
        cifar::parse(bytes)
    }
}

#[cfg(test)]
mod tests;
