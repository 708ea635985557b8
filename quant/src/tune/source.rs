//! The images to learn from.

use std::ops::Range;

use fusion::Wire;
use model::{DataError, Dataset, Preprocess};
use train::Augmentation;

/// Images of some files, one after the other.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    files: Vec<(&'a Dataset, Range<usize>)>,
    preprocess: &'a Preprocess,
}

impl<'a> Source<'a> {
    /// Some images of each file; `preprocess` is what a pixel is turned into.
    pub const fn new(files: Vec<(&'a Dataset, Range<usize>)>, preprocess: &'a Preprocess) -> Self {
        Self { files, preprocess }
    }

    /// Images in all.
    pub fn len(&self) -> usize {
        self.files.iter().map(|(_, range)| range.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends an image, augmented and preprocessed; its label, if its file has any.
    pub(super) fn image(
        &self,
        index: usize,
        moved: &Augmentation,
        images: &mut Vec<f32>,
    ) -> Result<Option<usize>, DataError> {
        let mut index = index;
        for (file, range) in &self.files {
            if index >= range.len() {
                index -= range.len();
                continue;
            }
            let index = range.start + index;
            let one = file.batch(index..index + 1, self.preprocess)?;
            let shape = one.image_shape();
            let start = images.len();
            images.resize(start + one.data.len(), 0.0);
            moved.apply(shape, &self.blank(shape[0]), &one.data, &mut images[start..]);
            return Ok(file.labels().map(|labels| labels[index]));
        }
        unreachable!("invariant: the order is of the images that there are")
    }

    /// What a black pixel becomes, by channel.
    fn blank(&self, channels: usize) -> Vec<f32> {
        match self.preprocess {
            Preprocess::Unit | Preprocess::Raw => vec![0.0; channels],
            Preprocess::Normalize { mean, std } => {
                mean.iter().zip(std).map(|(mean, std)| -mean / std).collect()
            }
        }
    }
}

/// The integers that preprocessed values become: those that the client feeds in.
pub(super) fn quantize(wire: &Wire, values: &[f32], integers: &mut Vec<f32>) {
    let limits = (wire.range.lo, wire.range.hi);
    integers.clear();
    integers.extend(values.iter().map(|&v| model::data::integer(v, wire.scale, limits) as f32));
}
