//! From a model to a network within a budget.

use std::path::PathBuf;

use pq::{Model, Preprocess, SearchOptions};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::exception;
use crate::images::{images, warn};
use crate::network::Network;
use crate::watch::Watch;

/// What a search has found.
#[pyclass(module = "pq", frozen, get_all)]
pub(crate) struct Found {
    network: Py<Network>,
    layers: Vec<Layer>,
    /// Bits of one inference, offline and online, in both directions.
    predicted_bits: u64,
    /// Bits of set-up, once a session, for a client that has the hints.
    setup_bits: u64,
    /// Seconds of one inference on the link.
    predicted_seconds: f64,
}

/// A linear layer of what was found.
#[pyclass(module = "pq", frozen, get_all, from_py_object)]
#[derive(Clone)]
pub(crate) struct Layer {
    name: String,
    weight_bits: u8,
    activation_bits: u8,
    protocol: String,
    comm_bits: u64,
}

/// See `__init__.pyi`.
#[pyfunction]
#[pyo3(signature = (
    model, calib, *, labels=None, samples=256, budget_bits=None, budget_online_bits=None,
    budget_seconds=None, min_accuracy=None, fixed=None, first_last=None, link="lan",
    inferences=1000, raw=false, mean=None, std=None, seed=0, out=None, progress=None
))]
pub(crate) fn search(
    py: Python<'_>,
    model: PathBuf,
    calib: &Bound<'_, PyAny>,
    labels: Option<&Bound<'_, PyAny>>,
    samples: usize,
    budget_bits: Option<u64>,
    budget_online_bits: Option<u64>,
    budget_seconds: Option<f64>,
    min_accuracy: Option<f64>,
    fixed: Option<&str>,
    first_last: Option<&str>,
    link: &str,
    inferences: u64,
    raw: bool,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    seed: u64,
    out: Option<PathBuf>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Found> {
    let preprocess = preprocess(raw, mean, std)?;
    let options = SearchOptions {
        budget_bits,
        budget_online_bits,
        budget_seconds: budget_seconds
            .map(|seconds| positive("budget_seconds", seconds))
            .transpose()?,
        min_accuracy: min_accuracy.map(|share| positive("min_accuracy", share)).transpose()?,
        fixed: fixed.map(str::parse).transpose().map_err(PyValueError::new_err)?,
        profile: link.parse().map_err(|error: pq::ProtocolError| exception(error.into()))?,
        inferences: at_least_one("inferences", inferences)?,
        seed,
        ..SearchOptions::default()
    };
    let options = match first_last {
        Some(ends) => {
            SearchOptions { ends: ends.parse().map_err(PyValueError::new_err)?, ..options }
        }
        None => options,
    };
    // Without the interpreter's lock: a large model takes seconds to read.
    let model = py.detach(|| Model::open(model)).map_err(exception)?;
    let calib = images(calib, labels, model.interface())?.preprocessed(preprocess);
    let calib = calib.take(at_least_one("samples", samples as u64)? as usize);
    warn(py, &calib, None)?;
    let found = Watch::new(progress).blocking(py, |watch| {
        let found = pq::search_observed(&model, &calib, &options, &mut |at| {
            watch.tell_or_unwind(at.phase, at.done, at.of);
        })?;
        if let Some(folder) = out {
            found.network.save(folder)?;
        }
        Ok(found)
    })?;
    Found::new(py, found)
}

impl Found {
    fn new(py: Python<'_>, found: pq::Found) -> PyResult<Self> {
        let layers = found.layers.into_iter().map(|layer| Layer {
            name: layer.name,
            weight_bits: layer.weight_bits,
            activation_bits: layer.activation_bits,
            protocol: layer.protocol,
            comm_bits: layer.comm_bits,
        });
        Ok(Self {
            network: Py::new(py, Network(found.network))?,
            layers: layers.collect(),
            predicted_bits: found.predicted_bits,
            setup_bits: found.setup_bits,
            predicted_seconds: found.predicted_seconds,
        })
    }
}

#[pymethods]
impl Found {
    fn __repr__(&self) -> String {
        let Self { predicted_bits, predicted_seconds, .. } = self;
        format!("Found(predicted_bits={predicted_bits}, predicted_seconds={predicted_seconds:.4})")
    }
}

#[pymethods]
impl Layer {
    fn __repr__(&self) -> String {
        let Self { name, weight_bits, activation_bits, protocol, comm_bits } = self;
        format!(
            "Layer(name={name:?}, weight_bits={weight_bits}, activation_bits={activation_bits}, \
             protocol={protocol:?}, comm_bits={comm_bits})"
        )
    }
}

/// How pixels become the network's input.
fn preprocess(raw: bool, mean: Option<Vec<f32>>, std: Option<Vec<f32>>) -> PyResult<Preprocess> {
    match (raw, mean, std) {
        (false, None, None) => Ok(Preprocess::Unit),
        (true, None, None) => Ok(Preprocess::Raw),
        (false, Some(mean), Some(std)) => Ok(Preprocess::Normalize { mean, std }),
        (..) => Err(PyValueError::new_err(
            "mean and std belong together, and raw=True leaves pixels as they are: expected raw, \
             or mean and std, or neither",
        )),
    }
}

fn positive(name: &str, value: f64) -> PyResult<f64> {
    if value > 0.0 && value.is_finite() {
        return Ok(value);
    }
    Err(PyValueError::new_err(format!("{name}: expected a number above 0, found {value}")))
}

fn at_least_one(name: &str, value: u64) -> PyResult<u64> {
    if value > 0 {
        return Ok(value);
    }
    Err(PyValueError::new_err(format!("{name}: expected 1 or more, found 0")))
}
