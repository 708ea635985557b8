//! A client of a `pq serve`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use pq::{Cache, ClientOptions, Event, Limits, Load, Network, Plan};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use tokio::runtime::Runtime;

use crate::answers::Answers;
use crate::credentials::{Own, Trust, both, security};
use crate::errors::exception;
use crate::images::images_of_plan;
use crate::watch::Watch;

/// The most inferences that a session may be asked for.
const INFERENCES: usize = 1 << 20;

/// A session with a server, in which one image is inferred after the other.
#[pyclass(module = "pq", frozen)]
pub(crate) struct Client {
    plan: Arc<Plan>,
    address: String,
    runtime: Runtime,
    /// None where it was closed, or ended by an error or Ctrl-C.
    session: Mutex<Option<pq::Client>>,
}

#[pymethods]
impl Client {
    #[staticmethod]
    #[pyo3(signature = (
        address, *, model=None, plan=None, key=None, server_key=None, tls_cert=None, tls_key=None,
        server_ca=None, server_name=None, insecure=false, stock=1, cache=None,
        connect_timeout=10.0, timeout=30.0
    ))]
    fn connect(
        py: Python<'_>,
        address: String,
        model: Option<String>,
        plan: Option<PathBuf>,
        key: Option<PathBuf>,
        server_key: Option<String>,
        tls_cert: Option<PathBuf>,
        tls_key: Option<PathBuf>,
        server_ca: Option<PathBuf>,
        server_name: Option<String>,
        insecure: bool,
        stock: usize,
        cache: Option<PathBuf>,
        connect_timeout: f64,
        timeout: f64,
    ) -> PyResult<Self> {
        let own = Own { key, certificate: both("tls_cert", tls_cert, "tls_key", tls_key)? };
        let trust = Trust { key: server_key, authority: server_ca, name: server_name };
        let options = ClientOptions {
            load: Load::new(1, stock, INFERENCES),
            hints: None,
            limits: Limits::new(seconds("timeout", timeout)?),
            patience: seconds("connect_timeout", connect_timeout)?,
            security: security(own, trust, &address, insecure)?,
        };
        options.load.check().map_err(|error| exception(error.into()))?;
        let runtime = pq::runtime().map_err(exception)?;
        let cache = cache.map(Cache::new).or_else(Cache::of_user);
        let watch = Watch::new(None);
        let met = py.detach(|| {
            runtime.block_on(watch.until(async {
                match (model, plan) {
                    (Some(name), None) => {
                        pq::Client::connect_to(&address, &name, cache.as_ref(), &options).await
                    }
                    (None, Some(path)) => by_plan(&address, path, &options).await,
                    (Some(_), Some(_)) | (None, None) => {
                        let expected = "either, a name at the server or the file of a plan";
                        Err(pq::ProtocolError::invalid("model, plan", expected, "both or none"))?
                    }
                }
            }))
        });
        let client = ended(met, &watch)?;
        let (plan, session) = (Arc::clone(client.plan()), Mutex::new(Some(client)));
        Ok(Self { plan, address, runtime, session })
    }

    #[getter]
    fn name(&self) -> &str {
        &self.plan.name
    }

    #[getter]
    fn input_shape(&self) -> (usize, usize, usize) {
        self.plan.input_wire().shape.into()
    }

    #[getter]
    fn classes(&self) -> usize {
        self.plan.classes()
    }

    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.lock()?.is_none())
    }

    #[pyo3(signature = (*, progress=None))]
    fn prepare(&self, py: Python<'_>, progress: Option<Py<PyAny>>) -> PyResult<()> {
        self.work(py, progress, async |client, watch| {
            client.prepare(&mut |event: Event<'_>| told(watch, event)).await
        })
    }

    #[pyo3(signature = (images, labels=None, *, progress=None))]
    fn infer(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        labels: Option<&Bound<'_, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Answers> {
        let images = images_of_plan(images, labels, &self.plan)?;
        // What does not fit is found before anything is asked for.
        let tensor = images.tensor().map_err(exception)?;
        let elements = self.plan.input_wire().elements();
        let mut inputs = Vec::with_capacity(images.len());
        for image in tensor.data.chunks_exact(elements) {
            inputs.push(self.plan.encode(image).map_err(|error| exception(error.into()))?);
        }
        let answers = self.work(py, progress, async |client, watch| {
            let mut answers = Vec::with_capacity(inputs.len());
            for input in &inputs {
                let told = &mut |event: Event<'_>| told(watch, event);
                let found = client.infer_integers(input, told).await?;
                answers.extend(self.plan.decode(&found, 1));
            }
            Ok(answers)
        })?;
        Answers::new(py, &answers, images.labels())
    }

    /// Ends the session in good order; nothing where it has ended.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Some(client) = self.lock()?.take() else { return Ok(()) };
        let watch = Watch::new(None);
        let closed = py.detach(|| self.runtime.block_on(watch.until(client.close())));
        match closed {
            // A session that was not set up has nothing to end.
            Some(Ok(_) | Err(pq::Error::Ended)) => Ok(()),
            Some(Err(error)) => Err(exception(error)),
            None => Err(stopped(&watch)),
        }
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        format!("Client(address={:?}, name={:?})", self.address, self.plan.name)
    }
}

impl Client {
    /// Runs a request of the session, without the interpreter's lock. An error ends the session,
    /// and so does Ctrl-C: nobody knows what the server has seen by then.
    fn work<T: Send>(
        &self,
        py: Python<'_>,
        progress: Option<Py<PyAny>>,
        request: impl AsyncFnOnce(&mut pq::Client, &Watch) -> Result<T, pq::Error> + Send,
    ) -> PyResult<T> {
        let mut session = self.lock()?;
        let mut client = session.take().ok_or_else(|| exception(pq::Error::Ended))?;
        let watch = Watch::new(progress);
        let done = py.detach(|| self.runtime.block_on(watch.until(request(&mut client, &watch))));
        let done = ended(done, &watch)?;
        *session = Some(client);
        Ok(done)
    }

    fn lock(&self) -> PyResult<MutexGuard<'_, Option<pq::Client>>> {
        match self.session.try_lock() {
            Ok(session) => Ok(session),
            // What a panic has left is no session.
            Err(TryLockError::Poisoned(session)) => Ok(session.into_inner()),
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(
                "another thread uses this client; give each thread a client of its own",
            )),
        }
    }
}

fn told(watch: &Watch, event: Event<'_>) {
    // Work that waits next is dropped where it is not to go on.
    let _ = watch.tell(event.phase, event.index, event.count);
}

/// What came of work, unless it was stopped.
fn ended<T>(done: Option<Result<T, pq::Error>>, watch: &Watch) -> PyResult<T> {
    match (done, watch.stopped()) {
        (_, Some(error)) => Err(error),
        (Some(outcome), None) => outcome.map_err(exception),
        (None, None) => Err(PyRuntimeError::new_err("internal error: stopped without a reason")),
    }
}

fn stopped(watch: &Watch) -> PyErr {
    match ended::<()>(None, watch) {
        Err(error) => error,
        Ok(()) => PyRuntimeError::new_err("internal error: stopped and done"),
    }
}

/// A session by a plan's file, and the hints beside it.
async fn by_plan(
    address: &str,
    path: PathBuf,
    options: &ClientOptions,
) -> Result<pq::Client, pq::Error> {
    let plan = Network::open_plan(&path)?;
    let hints = Network::hints_beside(&path, &plan)?.map(Arc::new);
    pq::Client::connect(address, plan, &ClientOptions { hints, ..options.clone() }).await
}

fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    if (0.001..=1e6).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    let expected = "a number of seconds from 0.001 to 1000000";
    Err(PyValueError::new_err(format!("{name}: expected {expected}, found {value}")))
}
