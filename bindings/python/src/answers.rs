//! What a client learns, as arrays.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pq::Answer;
use pyo3::prelude::*;

use crate::cost::Amount;

/// Answers to images, one a row.
#[pyclass(module = "pq", frozen, get_all)]
pub(crate) struct Answers {
    /// Classes, `int64[images]`.
    labels: Py<PyArray1<i64>>,
    /// Their real values, `float64[images, classes]`; none where the label alone is revealed.
    logits: Option<Py<PyArray2<f64>>>,
    /// As the parties compute them, `int64[images, classes]`.
    integers: Option<Py<PyArray2<i64>>>,
    /// The share of images whose label is told, where labels are known.
    accuracy: Option<f64>,
}

/// A private run of both parties.
#[pyclass(module = "pq", frozen, get_all)]
pub(crate) struct Inference {
    /// What the client has learned.
    pub(crate) answers: Py<Answers>,
    /// What was measured, set-up included.
    pub(crate) setup: Amount,
    /// Without the images.
    pub(crate) offline: Amount,
    /// With the images.
    pub(crate) online: Amount,
    /// Bytes in both directions.
    pub(crate) bytes: u64,
}

impl Answers {
    /// Of images, whose labels may be known.
    pub(crate) fn new(
        py: Python<'_>,
        answers: &[Answer],
        labels: Option<&[usize]>,
    ) -> PyResult<Self> {
        let found: Vec<i64> = answers.iter().map(|answer| answer.label as i64).collect();
        let accuracy = labels.filter(|labels| !labels.is_empty()).map(|labels| {
            let hits = answers.iter().zip(labels).filter(|(found, label)| found.label == **label);
            hits.count() as f64 / labels.len() as f64
        });
        let logits: Option<Vec<_>> = answers.iter().map(|answer| answer.logits.as_ref()).collect();
        let logits = logits.filter(|logits| !logits.is_empty());
        let (mut values, mut integers) = (None, None);
        if let Some(logits) = logits {
            let shape = [logits.len(), logits[0].integers.len()];
            let all: Vec<f64> = logits.iter().flat_map(|logits| logits.values.clone()).collect();
            values = Some(all.into_pyarray(py).reshape(shape)?.unbind());
            let all: Vec<i64> = logits.iter().flat_map(|logits| logits.integers.clone()).collect();
            integers = Some(all.into_pyarray(py).reshape(shape)?.unbind());
        }
        let labels = found.into_pyarray(py).unbind();
        Ok(Self { labels, logits: values, integers, accuracy })
    }
}

#[pymethods]
impl Answers {
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.labels.bind(py).len()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Answers(labels={})", self.labels.bind(py).call_method0("tolist")?))
    }
}

#[pymethods]
impl Inference {
    fn __repr__(&self) -> String {
        format!("Inference(bytes={})", self.bytes)
    }
}
