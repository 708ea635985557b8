//! Images of a file, with how their pixels become a network's input.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use protocols::plan::Plan;
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
    pub(crate) fn source(&self) -> (&Dataset, Range<usize>) {
        (&self.data, self.range.clone())
    }

    /// The network's input, `[images][channels][rows][columns]`.
    ///
    /// # Errors
    /// The preprocessing does not fit the images' channels, or a pixel is not a finite number.
    pub fn tensor(&self) -> Result<Tensor, Error> {
        Ok(self.data.batch(self.range.clone(), &self.preprocess)?)
    }
}
