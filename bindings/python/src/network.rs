//! A quantized network.

use std::path::PathBuf;

use pq::{Event, Load, LocalOptions};
use pyo3::prelude::*;

use crate::answers::{Answers, Inference};
use crate::cost::{Amount, Cost};
use crate::errors::exception;
use crate::images::images_of_plan;
use crate::watch::Watch;

/// Images that are evaluated between two looks at signals.
const CHUNK: usize = 100;

/// A quantized network: a public plan and secret weights.
#[pyclass(module = "pq", frozen)]
pub(crate) struct Network(pub(crate) pq::Network);

#[pymethods]
impl Network {
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| pq::Network::open(path)).map(Self).map_err(exception)
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.0.save(path)).map_err(exception)
    }

    #[getter]
    fn name(&self) -> &str {
        &self.0.plan().name
    }

    #[getter]
    fn input_shape(&self) -> (usize, usize, usize) {
        self.0.plan().input_wire().shape.into()
    }

    #[getter]
    fn classes(&self) -> usize {
        self.0.plan().classes()
    }

    #[pyo3(signature = (images=1, *, link="lan", hints_known=true))]
    fn cost(&self, images: usize, link: &str, hints_known: bool) -> PyResult<Cost> {
        Cost::predicted(&self.0, images, link, hints_known)
    }

    #[pyo3(signature = (images, labels=None, *, progress=None))]
    fn eval(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        labels: Option<&Bound<'_, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Answers> {
        let images = images_of_plan(images, labels, self.0.plan())?;
        let answers = Watch::new(progress).blocking(py, |watch| {
            let mut answers = Vec::with_capacity(images.len());
            for start in (0..images.len()).step_by(CHUNK) {
                watch.tell_or_unwind("evaluation", start, images.len());
                answers.extend(self.0.evaluate(&images.skip(start).take(CHUNK))?);
            }
            Ok(answers)
        })?;
        Answers::new(py, &answers, images.labels())
    }

    #[pyo3(signature = (images, labels=None, *, progress=None))]
    fn infer_local(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        labels: Option<&Bound<'_, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Inference> {
        let plan = self.0.plan();
        let images = images_of_plan(images, labels, plan)?;
        let (found, report) = Watch::new(progress).blocking(py, |watch| {
            let load = Load::one(images.len());
            load.check()?;
            let input = plan.encode(&images.tensor()?.data)?;
            let options = LocalOptions { load, ..LocalOptions::default() };
            self.0.run_locally(&input, &options, &mut |event: Event<'_>| {
                watch.tell_or_unwind(event.phase, event.index, event.count);
            })
        })?;
        let answers = plan.decode(&found, images.len());
        let answers = Answers::new(py, &answers, images.labels())?;
        let [setup, offline, online] = Amount::measured(&report);
        let bytes = [setup, offline, online].map(Amount::in_all).iter().sum();
        Ok(Inference { answers: Py::new(py, answers)?, setup, offline, online, bytes })
    }

    fn __repr__(&self) -> String {
        let (name, shape) = (self.name(), self.input_shape());
        format!("Network(name={name:?}, input_shape={shape:?}, classes={})", self.classes())
    }
}
