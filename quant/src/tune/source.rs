//! The images to learn from.

use std::ops::Range;

use fusion::Wire;
use model::{DataError, Dataset, Preprocess};
use train::Augmentation;

/// Images of some files, one after the other.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    files: Vec<&'a Dataset>,
    /// Of each image its file and its index there.
    images: Vec<(usize, usize)>,
    preprocess: &'a Preprocess,
}

impl<'a> Source<'a> {
    /// Some images of each file; `preprocess` is what a pixel is turned into.
    pub fn new(files: Vec<(&'a Dataset, Range<usize>)>, preprocess: &'a Preprocess) -> Self {
        let (files, ranges): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let numbered = ranges.into_iter().enumerate();
        let images = numbered.flat_map(|(file, range)| range.map(move |at| (file, at)));
        Self { images: images.collect(), files, preprocess }
    }

    /// Images in all.
    pub const fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Two parts: some to learn from, and `count` that nothing is learned from, or more where some
    /// are the same. Which ones these are follows from their pixels: other files around them, or
    /// another order, change little of it.
    pub(super) fn hold_back(self, count: usize) -> Result<(Self, Self), DataError> {
        if count == 0 {
            let none = Self { images: Vec::new(), ..self.clone() };
            return Ok((self, none));
        }
        let mut digests = Vec::with_capacity(self.len());
        for (at, &(file, index)) in self.images.iter().enumerate() {
            let pixels = self.files[file].batch(index..index + 1, &Preprocess::Raw)?.data;
            let bytes: Vec<u8> = pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
            digests.push((*blake3::hash(&bytes).as_bytes(), at));
        }
        digests.sort_unstable();
        // Images that are the same are on one side.
        let last = digests.get(count - 1).map(|(digest, _)| *digest);
        let mut is_held = vec![false; digests.len()];
        digests
            .iter()
            .for_each(|(digest, at)| is_held[*at] = last.is_none_or(|last| *digest <= last));
        let (mut learned, mut held) = (Self { images: Vec::new(), ..self.clone() }, self);
        let all = std::mem::take(&mut held.images);
        for (image, is_held) in all.into_iter().zip(is_held) {
            if is_held { &mut held } else { &mut learned }.images.push(image);
        }
        Ok((learned, held))
    }

    /// Appends an image, augmented and preprocessed; its label, if its file has any.
    pub(super) fn image(
        &self,
        index: usize,
        moved: &Augmentation,
        images: &mut Vec<f32>,
    ) -> Result<Option<usize>, DataError> {
        let (file, index) = self.images[index];
        let file = self.files[file];
        let one = file.batch(index..index + 1, self.preprocess)?;
        let shape = one.image_shape();
        let start = images.len();
        images.resize(start + one.data.len(), 0.0);
        moved.apply(shape, &self.blank(shape[0]), &one.data, &mut images[start..]);
        Ok(file.labels().map(|labels| labels[index]))
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
