//! Image files: what the networks are calibrated with, evaluated on and asked about.

mod cifar;
mod error;
mod idx;
mod labels;
mod npy;
mod picture;
mod preprocess;
mod read;
mod scale;

pub use error::DataError;
pub use preprocess::{Preprocess, PreprocessError, integer};
pub use scale::OffScale;

use std::ops::Range;
use std::path::{Path, PathBuf};

use protocols::plan::{MAX_NAME, Plan};

use crate::tensor::Tensor;
use error::Fault;
use read::Content;

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

/// What a parser makes of a file: the shape of one image as the file says, the elements, and labels
/// if it holds them.
struct Images {
    shape: Vec<usize>,
    pixels: Pixels,
    labels: Option<Vec<usize>>,
}

/// What a network takes and tells apart: what data is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The shape of an image, `[C, H, W]`; of a flat vector, `[C, 1, 1]`.
    pub input: [usize; 3],
    /// The number of classes: labels are less.
    pub classes: usize,
}

impl From<&Plan> for Interface {
    fn from(plan: &Plan) -> Self {
        Self { input: plan.input_wire().shape, classes: plan.classes() }
    }
}

impl Dataset {
    /// Reads images for a network whose input is `[C, H, W]`; for a network of flat vectors, `[C,
    /// 1, 1]`, images with C elements will do.
    ///
    /// The format is told by the content: CIFAR-10 or CIFAR-100 records (the label is the fine
    /// one), IDX, .npy, .npz (keys `x`, `images`, `data` or `arr_0`; labels `y` or `labels`), PNG
    /// or JPEG (one image), and gzip of any of them. `labels` names a file of labels (IDX, .npy or
    /// one number a line) that replaces any found; an IDX file's labels are looked for beside it
    /// (`images-idx3` becomes `labels-idx1`).
    ///
    /// No more is unpacked than the format's header says, nor than 1 GiB; than 256 MiB where a
    /// format has no such header.
    ///
    /// # Errors
    /// The file cannot be read, is malformed, holds images of another shape, or elements that are
    /// no pixels; or the labels are malformed, too few or too many, or none of the network's
    /// classes.
    pub fn open(path: &Path, labels: Option<&Path>, network: Interface) -> Result<Self, DataError> {
        Self::assemble(path, Content::open(path)?, network, |inside| match (labels, inside) {
            (Some(path), _) => Ok(Some(labels::open(path, network.classes)?)),
            (None, Some(inside)) => Ok(Some(inside)),
            (None, None) => {
                let beside = idx::labels_beside(path);
                beside.map(|beside| labels::open(&beside, network.classes)).transpose()
            }
        })
    }

    /// As [`Dataset::open`], from the content of the files. Nothing is read from the disk: paths
    /// are what errors name.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn from_bytes(
        path: &Path,
        content: &[u8],
        labels: Option<(&Path, &[u8])>,
        network: Interface,
    ) -> Result<Self, DataError> {
        let images = Content::of(content).map_err(|fault| fault.at(path))?;
        Self::assemble(path, images, network, |inside| match labels {
            Some((path, content)) => {
                let content = Content::of(content).map_err(|fault| fault.at(path))?;
                Ok(Some(labels::parse(path, content, network.classes)?))
            }
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

    /// A data set of a content; `label` decides on the labels, given those inside.
    fn assemble(
        path: &Path,
        mut content: Content<'_>,
        network: Interface,
        label: impl FnOnce(Option<Vec<usize>>) -> Result<Option<Vec<usize>>, DataError>,
    ) -> Result<Self, DataError> {
        let images = parse(&mut content, network).map_err(|fault| fault.at(path))?;
        let elements = images.shape.iter().product::<usize>();
        let found = label(images.labels)?;
        let count = images.pixels.len() / elements.max(1);
        if let Some(found) = found.as_ref().filter(|found| found.len() != count) {
            return Err(DataError::LabelCount {
                path: path.into(),
                images: count,
                labels: found.len(),
            });
        }
        Ok(Self { path: path.into(), shape: network.input, pixels: images.pixels, labels: found })
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

    /// The bytes of image `n`, in the order C, H, W; `None` if there is no such image or the pixels
    /// are floats.
    #[must_use]
    pub fn bytes(&self, n: usize) -> Option<&[u8]> {
        let len = self.image_len();
        match &self.pixels {
            Pixels::Bytes(bytes) => bytes.chunks_exact(len).nth(n),
            Pixels::Floats(_) => None,
        }
    }

    /// Whether float pixels of a half-open range of images are far from the scale that a
    /// preprocessing takes them to be on. `held` is the range that the network's integers hold of
    /// the preprocessed ones, where that is known. Bytes are never off their scale.
    #[must_use]
    pub fn off_scale(
        &self,
        images: Range<usize>,
        preprocess: &Preprocess,
        held: Option<[f64; 2]>,
    ) -> Option<OffScale> {
        let Pixels::Floats(floats) = &self.pixels else { return None };
        let elements = images.start.checked_mul(self.image_len())?
            ..images.end.checked_mul(self.image_len())?;
        scale::off_scale(floats.get(elements)?, preprocess, held)
    }

    /// The images of a half-open range, preprocessed, `[N, C, H, W]`.
    ///
    /// Float pixels (of .npy files) are taken to be on the scale 0..1, where bytes are once they
    /// are divided by 255: [`Preprocess::Unit`] and [`Preprocess::Raw`] use them as they are.
    ///
    /// # Errors
    /// The range goes beyond the last image, or the preprocessing is for another number of
    /// channels.
    pub fn batch(&self, range: Range<usize>, preprocess: &Preprocess) -> Result<Tensor, DataError> {
        self.check_range(&range)?;
        preprocess::check(preprocess, self.shape[0])?;
        let [c, h, w] = self.shape;
        let elements = range.start * self.image_len()..range.end * self.image_len();
        let mut data: Vec<f32> = match &self.pixels {
            Pixels::Bytes(bytes) => {
                let divisor = preprocess.byte_divisor();
                bytes[elements].iter().map(|&x| f32::from(x) / divisor).collect()
            }
            Pixels::Floats(floats) => floats[elements].to_vec(),
        };
        preprocess.normalize(&mut data, c, h * w);
        Ok(Tensor { shape: [range.len(), c, h, w], data })
    }

    /// Checks that all images of a range are there.
    ///
    /// # Errors
    /// The range goes beyond the last image.
    pub fn check_range(&self, range: &Range<usize>) -> Result<(), DataError> {
        if range.start <= range.end && range.end <= self.len() {
            return Ok(());
        }
        Err(DataError::Range {
            path: self.path.clone(),
            start: range.start,
            end: range.end,
            images: self.len(),
        })
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
        let (expected, found) =
            (format!("at most {MAX_NAME} bytes in line {}", at + 1), names[at].len());
        return Err(Fault::new("class names", "name", expected, format!("{found} bytes")).at(path));
    }
    Ok(names)
}

fn parse(
    content: &mut Content<'_>,
    Interface { input, classes }: Interface,
) -> Result<Images, Fault> {
    let may_be_cifar = fitting(&cifar::SHAPE, input);
    if content.head().starts_with(npy::MAGIC) {
        return npy::images(content, input);
    }
    if content.head().starts_with(b"PK\x03\x04") {
        let limit = if content.is_gzip() { read::UNSIZED } else { read::SIZED };
        return npy::archived_images(&content.all(limit)?, input, classes);
    }
    if picture::is_one(content.head()) {
        return picture::parse(&content.all(read::PICTURE)?, input);
    }
    // CIFAR records have no magic number and may begin with the bytes of IDX: what IDX says of its
    // shape decides where both could be, and else the lengths do.
    let may_be_idx = idx::is_one(content.head());
    if may_be_idx && (idx::is_for(content.head(), input) || may_be_cifar.is_err()) {
        return idx::images(content, input);
    }
    if let Err(another_shape) = may_be_cifar {
        // Records do not fit, and everything else is nothing.
        return Err(cifar::kind(content.count(read::UNSIZED)?).err().unwrap_or(another_shape));
    }
    let bytes = content.all(read::UNSIZED)?;
    if may_be_idx && !cifar::is_one(&bytes) {
        return idx::images(&mut &bytes[..], input);
    }
    let images = cifar::parse(bytes)?;
    let labels = images.labels.map(|labels| labels::checked(labels, classes)).transpose()?;
    Ok(Images { labels, ..images })
}

/// Whether images of this shape are for a network with this input.
fn fitting(shape: &[usize], input: [usize; 3]) -> Result<(), Fault> {
    // A file without images may claim axes of any length.
    let elements = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
    if shape == input || (input[1..] == [1, 1] && Some(input[0]) == elements) {
        return Ok(());
    }
    Err(Fault::Shape { expected: input, found: shape.to_vec() })
}

#[cfg(test)]
mod tests;
