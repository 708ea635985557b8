//! A trained network, from an ONNX file.

use std::path::Path;

use quant::Interface;

use crate::Error;

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
