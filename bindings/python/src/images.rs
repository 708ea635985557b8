//! Images and labels out of arrays and files.

use std::ffi::CString;
use std::path::PathBuf;

use pq::{Images, Interface, Plan};
use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::errors::exception;

/// Images of a file, or of an array: what its `.npy` file would hold. An array of one image's shape
/// is one image.
pub(crate) fn images(
    source: &Bound<'_, PyAny>,
    labels: Option<&Bound<'_, PyAny>>,
    network: Interface,
) -> PyResult<Images> {
    if let (Some(path), None) = (path(source)?, labels) {
        return Images::open(path, network).map_err(exception);
    }
    let content = content(source, Some(network.input))?;
    let labels = labels.map(|labels| content_of_labels(labels)).transpose()?;
    let labels = labels.as_ref().map(|(name, content)| (name.as_str(), content.as_slice()));
    Images::from_bytes(&name(source, "images")?, &content, labels, network).map_err(exception)
}

/// Images for a plan, preprocessed as its network was calibrated. Pixels off their scale are warned
/// of.
pub(crate) fn images_of_plan(
    source: &Bound<'_, PyAny>,
    labels: Option<&Bound<'_, PyAny>>,
    plan: &Plan,
) -> PyResult<Images> {
    let images = images(source, labels, plan.into())?.preprocessed(plan.input.preprocess.clone());
    warn(source.py(), &images, Some(plan))?;
    Ok(images)
}

/// Warns of float pixels that would be cut off.
pub(crate) fn warn(py: Python<'_>, images: &Images, plan: Option<&Plan>) -> PyResult<()> {
    let Some(off_scale) = images.off_scale(plan) else { return Ok(()) };
    let message = CString::new(off_scale.to_string()).unwrap_or_default();
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &message, 1)
}

/// The path, where it is one.
fn path(source: &Bound<'_, PyAny>) -> PyResult<Option<PathBuf>> {
    let named = source.hasattr("__fspath__")? || source.is_instance_of::<pyo3::types::PyString>();
    if named { source.extract().map(Some) } else { Ok(None) }
}

/// What errors call it.
fn name(source: &Bound<'_, PyAny>, otherwise: &str) -> PyResult<String> {
    let path = path(source)?;
    Ok(path.map_or_else(|| otherwise.to_owned(), |path| path.display().to_string()))
}

fn content_of_labels(labels: &Bound<'_, PyAny>) -> PyResult<(String, Vec<u8>)> {
    Ok((name(labels, "labels")?, content(labels, None)?))
}

/// The bytes of the file, or of the array's `.npy` file.
fn content(source: &Bound<'_, PyAny>, one: Option<[usize; 3]>) -> PyResult<Vec<u8>> {
    let py = source.py();
    if let Some(path) = path(source)? {
        return py
            .detach(|| std::fs::read(&path))
            .map_err(|source| exception(pq::Error::Read { path, source }));
    }
    let numpy = py.import("numpy")?;
    let mut array = numpy.call_method1("asarray", (source,))?;
    let shape: Vec<usize> = array.getattr("shape")?.extract()?;
    if one.is_some_and(|one| is_one(&shape, one)) {
        let batch = [&[1], &shape[..]].concat();
        array = array.call_method1("reshape", (PyTuple::new(py, batch)?,))?;
    }
    let file = py.import("io")?.call_method0("BytesIO")?;
    numpy.call_method1("save", (&file, array, false))?;
    let bytes = file.call_method0("getvalue")?;
    Ok(bytes.cast::<PyBytes>()?.as_bytes().to_vec())
}

/// Whether it is the shape of one image, whose axes of one need not be there.
fn is_one(shape: &[usize], [channels, rows, columns]: [usize; 3]) -> bool {
    match *shape {
        [c, r, k] => [c, r, k] == [channels, rows, columns],
        [r, k] => channels == 1 && [r, k] == [rows, columns],
        [c] => [c, 1, 1] == [channels, rows, columns],
        _ => false,
    }
}
