//! onnxruntime as the judge of our own evaluation, where it is installed.
//!
//! Nothing depends on it: it is loaded at run time, from wherever it is found, and only to compare.

mod library;

use std::path::{Path, PathBuf};

use ort::session::Session;
use ort::value::TensorRef;

use crate::tensor::Tensor;

/// How many images are given to onnxruntime at once, if the file does not say.
const BATCH: usize = 256;

/// An onnxruntime, loaded.
#[derive(Clone)]
pub struct ReferenceRuntime {
    library: PathBuf,
    environment: ort::environment::Environment,
}

/// A network that onnxruntime evaluates.
pub struct ReferenceSession {
    session: Session,
    output: usize,
    path: PathBuf,
}

/// Why there is no judgment.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceRuntimeError {
    /// No onnxruntime is installed where it is looked for.
    #[error(
        "no onnxruntime found (looked in {}); install the Python package onnxruntime, or name the \
         library",
        list(.searched)
    )]
    NotFound {
        /// The folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// The library that was named is not there.
    #[error("{what} names {}, which is not a file", path.display())]
    NoFile {
        /// Who named it.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// There is a library, but it cannot be used.
    #[error("cannot load onnxruntime from {}: {reason}", path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// onnxruntime does not evaluate the network.
    #[error("onnxruntime cannot evaluate {}: {reason}", path.display())]
    Run {
        /// The ONNX file.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
}

impl ReferenceRuntime {
    /// Finds and loads an onnxruntime: the library `explicit`, or the one that `ORT_DYLIB_PATH`
    /// names, or else that of a Python package `onnxruntime` of the virtual environment or of
    /// `python3`.
    ///
    /// A process can load one such library: later calls give the first again, whatever they name;
    /// see [`library`](Self::library).
    ///
    /// # Errors
    /// [`ReferenceRuntimeError::NotFound`] if there is none; other errors if one was named or
    /// found, and cannot be used.
    pub fn find(explicit: Option<&Path>) -> Result<Self, ReferenceRuntimeError> {
        let (library, environment) = match (library::named(explicit)?, library::loaded()) {
            (None, Some(first)) => first,
            (None, None) => library::load(&library::search()?)?,
            (Some(path), _) => library::load(&path)?,
        };
        Ok(Self { library, environment })
    }

    /// The library that was loaded.
    #[must_use]
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Reads a network, of which the output of this name is meant; without a name, the first.
    ///
    /// # Errors
    /// onnxruntime refuses the file, or there is no such output.
    pub fn open(
        &self,
        onnx: &Path,
        output: Option<&str>,
    ) -> Result<ReferenceSession, ReferenceRuntimeError> {
        let builder = Session::builder(&self.environment)
            .map_err(|error| run_error(onnx, error.to_string()))?;
        // Idle threads that spin take the cores from our own evaluation.
        let mut builder = builder
            .with_intra_op_spinning(false)
            .map_err(|error| run_error(onnx, error.to_string()))?;
        let session =
            builder.commit_from_file(onnx).map_err(|error| run_error(onnx, error.to_string()))?;
        let mut outputs = session.outputs().iter();
        let output = match output {
            Some(name) => outputs.position(|output| output.name() == name),
            None => Some(0),
        };
        let output = output.ok_or_else(|| run_error(onnx, "it has no such output".into()))?;
        Ok(ReferenceSession { session, output, path: onnx.into() })
    }

    /// The logits of a batch, `[N, classes, 1, 1]`.
    ///
    /// # Errors
    /// onnxruntime refuses the file or the batch.
    pub fn run(&self, onnx: &Path, batch: &Tensor) -> Result<Tensor, ReferenceRuntimeError> {
        self.open(onnx, None)?.run(batch)
    }
}

impl ReferenceSession {
    /// The logits of a batch, `[N, classes, 1, 1]`: the output, flattened.
    ///
    /// # Errors
    /// onnxruntime refuses the batch.
    pub fn run(&mut self, batch: &Tensor) -> Result<Tensor, ReferenceRuntimeError> {
        let input = self.session.inputs().first().and_then(|input| input.dtype().tensor_shape());
        let dims: Vec<i64> = input.map(|shape| shape.to_vec()).unwrap_or_default();
        // A file with a fixed number of images is given just so many at a time.
        let images =
            dims.first().and_then(|&n| usize::try_from(n).ok()).filter(|&n| n > 0).unwrap_or(BATCH);
        let mut logits = Vec::new();
        for part in batch.data.chunks((images * batch.image_len()).max(1)) {
            let n = part.len() / batch.image_len();
            // Axes that the file fixes are as it says; elements come in the same order.
            let fixed: Option<Vec<usize>> =
                dims.iter().skip(1).map(|&d| usize::try_from(d).ok().filter(|&d| d > 0)).collect();
            let [_, c, h, w] = batch.shape;
            let image = fixed.filter(|axes| axes.iter().product::<usize>() == c * h * w);
            let shape = [vec![n], image.unwrap_or_else(|| vec![c, h, w])].concat();
            let part =
                self.part(shape, part).map_err(|error| run_error(&self.path, error.to_string()))?;
            logits.extend(part);
        }
        let classes = logits.len().checked_div(batch.images()).unwrap_or(0);
        let found = logits.len();
        Tensor::new([batch.images(), classes, 1, 1], logits).ok_or_else(|| {
            run_error(&self.path, format!("{found} logits for {} images", batch.images()))
        })
    }

    fn part(&mut self, shape: Vec<usize>, data: &[f32]) -> ort::Result<Vec<f32>> {
        let input = TensorRef::from_array_view((shape, data))?;
        let outputs = self.session.run(ort::inputs![input])?;
        let (_, logits) = outputs[self.output].try_extract_tensor::<f32>()?;
        Ok(logits.to_vec())
    }
}

fn run_error(path: &Path, reason: String) -> ReferenceRuntimeError {
    ReferenceRuntimeError::Run { path: path.into(), reason }
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    if shown.is_empty() { "no Python installation".into() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_another_error_than_one_that_does_not_load() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libonnxruntime.so");
        assert!(matches!(
            ReferenceRuntime::find(Some(&path)),
            Err(ReferenceRuntimeError::NoFile { .. })
        ));
        std::fs::write(&path, "no library").unwrap();
        assert!(matches!(
            ReferenceRuntime::find(Some(&path)),
            Err(ReferenceRuntimeError::Load { .. })
        ));
        // A failure does not stand in the way of the next attempt.
        assert!(matches!(
            ReferenceRuntime::find(Some(&path)),
            Err(ReferenceRuntimeError::Load { .. })
        ));
    }
}
