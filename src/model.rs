//! A trained network, from an ONNX file.

use std::path::Path;

use quant::Interface;

use crate::whole::{Access, write};
use crate::{Error, Images};

/// Images that are evaluated together: what bounds the memory of it.
const TOGETHER: usize = 256;

/// A trained network of floats.
#[derive(Clone, Debug)]
pub struct Model(pub(crate) quant::Model);

impl Model {
    /// Imports an ONNX file, as PyTorch exports it.
    ///
    /// # Errors
    /// [`Error::Import`] names every node that is not supported.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        quant::import_file(path)
            .map(Self)
            .map_err(|source| Error::Import { path: path.to_owned(), source: Box::new(source) })
    }

    /// Writes an ONNX file that other runtimes evaluate alike: input `input` `[N, C, H, W]`,
    /// preprocessed, output `logits` `[N, classes]`. It holds the weights, and is its owner's alone
    /// to read.
    ///
    /// # Errors
    /// [`Error::Write`] with the system's reason.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        write(path.as_ref(), &quant::onnx::export(&self.0), Access::Owner)
    }

    /// Evaluates the model in floats: the share of images whose label it tells.
    ///
    /// # Errors
    /// The images are not the model's, or have no labels.
    pub fn accuracy(&self, images: &Images) -> Result<f64, Error> {
        let labels = images.labels().ok_or_else(|| {
            protocols::Error::invalid("images", "labels in their file or beside it", "none")
        })?;
        let (mut rest, mut hits) = (images.clone(), 0);
        for labels in labels.chunks(TOGETHER) {
            let logits = quant::float::evaluate(&self.0, &rest.take(TOGETHER).tensor()?)
                .map_err(quant::reshape::ReshapeError::from)?;
            hits +=
                logits.argmax().iter().zip(labels).filter(|(found, label)| found == label).count();
            rest = rest.skip(TOGETHER);
        }
        Ok(hits as f64 / labels.len().max(1) as f64)
    }

    /// The shape of its input, and its number of classes.
    pub fn interface(&self) -> Interface {
        self.0.interface()
    }
}

impl From<quant::Model> for Model {
    fn from(model: quant::Model) -> Self {
        Self(model)
    }
}

impl From<&Model> for Interface {
    fn from(model: &Model) -> Self {
        model.interface()
    }
}
