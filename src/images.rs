//! Images of a file, with how their pixels become a network's input.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use protocols::plan::Plan;
use quant::data::OffScale;
use quant::tune::Source;
use quant::{Dataset, Interface, Preprocess, Tensor};

use crate::Error;

/// Some images of a file, with their labels where they are known.
///
/// Files are CIFAR records, IDX, `.npy`, `.npz`, PNG or JPEG, also gzipped.
#[derive(Clone)]
pub struct Images {
    data: Arc<Dataset>,
    preprocess: Preprocess,
    range: Range<usize>,
}

impl Images {
    /// Opens a file of images for a model or a network. Pixels are scaled to 0..1 until
    /// [`Images::preprocessed`] says otherwise; [`Network::images`](crate::Network::images)
    /// does as the network was calibrated.
    ///
    /// # Errors
    /// The file cannot be read, or its images are of another shape.
    pub fn open(path: impl AsRef<Path>, network: impl Into<Interface>) -> Result<Self, Error> {
        let data = Dataset::open(path.as_ref(), None, network.into())?;
        Ok(Self { range: 0..data.len(), data: Arc::new(data), preprocess: Preprocess::Unit })
    }

    /// The same of a content in memory, in any of the formats of files: `name` is what errors call
    /// it. `labels` are in a content of their own, where they are not beside the images in theirs.
    ///
    /// # Errors
    /// The content is malformed, its images are of another shape, or its labels are none of the
    /// network's classes.
    pub fn from_bytes(
        name: &str,
        content: &[u8],
        labels: Option<(&str, &[u8])>,
        network: impl Into<Interface>,
    ) -> Result<Self, Error> {
        let labels = labels.map(|(name, content)| (Path::new(name), content));
        let data = Dataset::from_bytes(Path::new(name), content, labels, network.into())?;
        Ok(Self { range: 0..data.len(), data: Arc::new(data), preprocess: Preprocess::Unit })
    }

    /// Opens a file of images for a plan, preprocessed as its network was calibrated.
    ///
    /// # Errors
    /// The file cannot be read, or its images are of another shape.
    pub fn of_plan(path: impl AsRef<Path>, plan: &Plan) -> Result<Self, Error> {
        Ok(Self::open(path, plan)?.preprocessed(plan.input.preprocess.clone()))
    }

    /// The same images, with other numbers made of their pixels.
    #[must_use]
    pub fn preprocessed(self, preprocess: Preprocess) -> Self {
        Self { preprocess, ..self }
    }

    /// The first `count` of them, or all where there are fewer.
    #[must_use]
    pub fn take(&self, count: usize) -> Self {
        let Range { start, end } = self.range;
        Self { range: start..end.min(start.saturating_add(count)), ..self.clone() }
    }

    /// All but the first `count`.
    #[must_use]
    pub fn skip(&self, count: usize) -> Self {
        let Range { start, end } = self.range;
        Self { range: start.saturating_add(count).min(end)..end, ..self.clone() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Their classes, where they are known.
    pub fn labels(&self) -> Option<&[usize]> {
        self.data.labels().map(|labels| &labels[self.range.clone()])
    }

    /// How their pixels become a network's input.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The file, and which of its images are meant.
    fn source(&self) -> (&Dataset, Range<usize>) {
        (&self.data, self.range.clone())
    }

    /// All of some files, preprocessed as the first is, and that one; none where there are none.
    pub(crate) fn lessons(files: &[Self]) -> Option<(&Self, Source<'_>)> {
        let first = files.first()?;
        Some((first, Source::new(files.iter().map(Self::source).collect(), first.preprocess())))
    }

    /// Whether float pixels are far from the scale that the preprocessing takes them to be on, and
    /// would be cut off: of a plan's network, from the range that its integers hold.
    pub fn off_scale(&self, plan: Option<&Plan>) -> Option<OffScale> {
        let held = plan.map(|plan| {
            let (low, high) = plan.input_wire().range();
            [low, high].map(|integer| integer as f64 * plan.input.scale)
        });
        self.data.off_scale(self.range.clone(), &self.preprocess, held)
    }

    /// The network's input, `[images][channels][rows][columns]`.
    ///
    /// # Errors
    /// The preprocessing does not fit the images' channels, or a pixel is not a finite number.
    pub fn tensor(&self) -> Result<Tensor, Error> {
        Ok(self.data.batch(self.range.clone(), &self.preprocess)?)
    }
}
