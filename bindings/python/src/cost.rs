//! What a run moves, predicted or measured.

use pq::{Cost as Moved, Hints, Load, Network, Profile, Report, Role};
use pyo3::prelude::*;

use crate::errors::exception;

/// Bytes, rounds and time.
#[pyclass(module = "pq", frozen, get_all, from_py_object)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Amount {
    /// Bytes that the server sends, framing included.
    server_bytes: u64,
    /// Bytes that the client sends, framing included.
    client_bytes: u64,
    /// One-way messages on the critical path.
    rounds: u64,
    /// Seconds: predicted on the link, or measured.
    seconds: f64,
}

/// One step of a plan.
#[pyclass(module = "pq", frozen, get_all, from_py_object)]
#[derive(Clone)]
pub(crate) struct Step {
    name: String,
    /// The protocol that it runs by.
    protocol: String,
    /// Without the images.
    offline: Amount,
    /// With the images.
    online: Amount,
}

/// What one private inference is predicted to move: every run is held to its bytes and rounds.
#[pyclass(module = "pq", frozen, get_all)]
pub(crate) struct Cost {
    /// Images of the inference.
    images: usize,
    /// Once a session.
    setup: Amount,
    offline: Amount,
    online: Amount,
    steps: Vec<Step>,
    /// Bits of one inference, offline and online, in both directions.
    bits: u64,
    /// Bytes of memory of the server's process.
    server_memory: u64,
    /// Bytes of memory of the client's process.
    client_memory: u64,
}

impl Amount {
    pub(crate) const fn new(cost: Moved, seconds: f64) -> Self {
        let Moved { server_bytes, client_bytes, rounds, .. } = cost;
        Self { server_bytes, client_bytes, rounds, seconds }
    }

    /// The phases of a run: set-up, offline and online.
    pub(crate) fn measured(report: &Report) -> [Self; 3] {
        let of = |measured: &pq::Measured| Self::new(measured.cost, measured.seconds);
        let sum = |all: &mut dyn Iterator<Item = Self>| all.fold(Self::default(), Self::plus);
        let offline = sum(&mut report.steps.iter().map(|step| of(&step.offline)));
        let online = sum(&mut report.steps.iter().map(|step| of(&step.online)));
        [of(&report.setup), offline, online]
    }

    fn plus(self, other: Self) -> Self {
        Self {
            server_bytes: self.server_bytes + other.server_bytes,
            client_bytes: self.client_bytes + other.client_bytes,
            rounds: self.rounds + other.rounds,
            seconds: self.seconds + other.seconds,
        }
    }

    pub(crate) const fn in_all(self) -> u64 {
        self.server_bytes + self.client_bytes
    }
}

impl Cost {
    /// Of so many images in one inference, on a link (`lan`, `wan` or `BYTES_PER_S,RTT_MS`).
    pub(crate) fn predicted(
        network: &Network,
        images: usize,
        link: &str,
        hints_known: bool,
    ) -> PyResult<Self> {
        let profile: Profile =
            link.parse().map_err(|error: pq::ProtocolError| exception(error.into()))?;
        let load = Load::one(images).with(Hints::of(hints_known));
        load.check().map_err(|error| exception(error.into()))?;
        let plan = network.plan();
        let lines = plan.load_costs(load).into_iter().zip(plan.step_seconds(&profile, images));
        let steps: Vec<Step> = lines
            .map(|(step, seconds)| Step {
                name: step.name,
                protocol: step.protocol,
                offline: Amount::new(step.cost.offline, seconds.offline),
                online: Amount::new(step.cost.online, seconds.online),
            })
            .collect();
        let sum = |phase: fn(&Step) -> Amount| {
            steps.iter().map(phase).fold(Amount::default(), Amount::plus)
        };
        let (offline, online) = (sum(|step| step.offline), sum(|step| step.online));
        let setup = plan.setup_seconds(&profile, load.hints);
        Ok(Self {
            images,
            setup: Amount::new(plan.session_cost(load), setup),
            bits: 8 * (offline.in_all() + online.in_all()),
            offline,
            online,
            server_memory: plan.memory(Role::Server, load),
            client_memory: plan.memory(Role::Client, load),
            steps,
        })
    }
}

#[pymethods]
impl Amount {
    /// Bytes in both directions.
    #[getter]
    const fn bytes(&self) -> u64 {
        self.in_all()
    }

    fn __repr__(&self) -> String {
        let Self { server_bytes, client_bytes, rounds, seconds } = self;
        format!(
            "Amount(server_bytes={server_bytes}, client_bytes={client_bytes}, rounds={rounds}, \
             seconds={seconds:.6})"
        )
    }
}

#[pymethods]
impl Step {
    fn __repr__(&self) -> String {
        let Self { name, protocol, offline, online } = self;
        let bytes = [offline, online].map(|amount| amount.in_all());
        format!("Step(name={name:?}, protocol={protocol:?}, bytes={bytes:?})")
    }
}

#[pymethods]
impl Cost {
    fn __repr__(&self) -> String {
        let Self { images, bits, .. } = self;
        format!("Cost(images={images}, bits={bits}, setup_bytes={})", self.setup.in_all())
    }
}
