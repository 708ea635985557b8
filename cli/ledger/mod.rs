//! The ledger as users see it: what every step moves, predicted and measured.

mod text;

use protocols::Cost;
use protocols::execute::{Measured, Report};
use protocols::plan::{Kind, Load, Op, Plan};
use protocols::price::StepCost;
use protocols::profile::Profile;
use protocols::steps::Linear;
use serde::{Deserialize, Serialize};

/// The ledger of a run, or of a run to come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// Totals, by phase.
    pub(crate) cost: Totals,
    /// Every step that can move something.
    pub(crate) steps: Vec<Step>,
}

/// What a whole run moves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Images of the run, of all inferences together.
    pub(crate) images: usize,
    /// Images of one inference; the last that is run may have fewer.
    pub(crate) batch: usize,
    /// Inferences that the offline part prepared, and those that the online part ran.
    pub(crate) prepared: usize,
    pub(crate) inferences: usize,
    pub(crate) setup: Amount,
    pub(crate) offline: Amount,
    pub(crate) online: Amount,
}

/// Bytes, rounds and time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Amount {
    /// Bytes sent by the server, framing included.
    pub(crate) server_bytes: u64,
    /// Bytes sent by the client, framing included.
    pub(crate) client_bytes: u64,
    /// One-way messages on the critical path.
    pub(crate) rounds: u64,
    pub(crate) seconds: f64,
}

/// What one step moves, by phase and in all.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Phases {
    pub(crate) offline: Amount,
    pub(crate) online: Amount,
    #[serde(flatten)]
    pub(crate) total: Amount,
}

/// One step's line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) protocol: String,
    /// Width of the weights, of a linear step.
    pub(crate) weight_bits: Option<u8>,
    /// Width of the values that the step reads and writes.
    pub(crate) input_bits: Option<u8>,
    pub(crate) output_bits: Option<u8>,
    /// Width of the ring that the step computes in.
    pub(crate) ring_bits: Option<u8>,
    /// What was measured; of a run to come, what is predicted.
    #[serde(flatten)]
    pub(crate) amount: Phases,
    pub(crate) predicted: Phases,
}

impl Ledger {
    /// Of one inference to come.
    pub(crate) fn predicted(plan: &Plan, load: Load, profile: &Profile) -> Self {
        let predictions = predictions(plan, load, profile);
        let steps = plan.load_costs(load);
        let steps = steps
            .iter()
            .zip(predictions)
            .map(|(step, amount)| Step::new(plan, step, amount, amount));
        let setup = plan.setup_seconds(profile, load.hints);
        let setup = Amount::new(&plan.session_cost(load), setup);
        Self::of(load, setup, steps.collect())
    }

    /// Of a run that was measured.
    pub(crate) fn measured(plan: &Plan, report: &Report, profile: &Profile) -> Self {
        let lines = report.steps.iter().zip(predictions(plan, report.load, profile));
        let steps = lines.map(|(line, predicted)| {
            let measured = Phases::new(line.offline.into(), line.online.into());
            let predicted = predicted.of(&line.predicted.cost);
            Step::new(plan, &line.predicted, measured, predicted)
        });
        Self::of(report.load, report.setup.into(), steps.collect())
    }

    /// Of a run that took several sessions: their sum. Batches are those of the first.
    ///
    /// Without any, of a run that moved nothing.
    pub(crate) fn of_sessions(plan: &Plan, reports: &[&Report], profile: &Profile) -> Self {
        let mut ledgers = reports.iter().map(|report| Self::measured(plan, report, profile));
        let first = ledgers.next();
        let first =
            first.unwrap_or_else(|| Self::of(Load::new(0, 0, 0), Amount::default(), vec![]));
        ledgers.fold(first, Self::plus)
    }

    /// The sum of two sessions of one plan.
    fn plus(mut self, other: Self) -> Self {
        // Lines are a plan's steps, in the same order whatever the session.
        for (line, more) in self.steps.iter_mut().zip(other.steps) {
            line.amount = line.amount.plus(more.amount);
            line.predicted = line.predicted.plus(more.predicted);
        }
        let (cost, more) = (&mut self.cost, other.cost);
        cost.images += more.images;
        cost.prepared += more.prepared;
        cost.inferences += more.inferences;
        cost.setup = cost.setup.plus(more.setup);
        cost.offline = cost.offline.plus(more.offline);
        cost.online = cost.online.plus(more.online);
        self
    }

    fn of(load: Load, setup: Amount, steps: Vec<Step>) -> Self {
        let sum = |phase: fn(&Step) -> Amount| {
            steps.iter().map(phase).fold(Amount::default(), Amount::plus)
        };
        let cost = Totals {
            images: load.total(),
            batch: load.images,
            prepared: load.prepared_in_all(),
            inferences: load.inferences,
            setup,
            offline: sum(|step| step.amount.offline),
            online: sum(|step| step.amount.online),
        };
        Self { cost, steps }
    }
}

impl Totals {
    /// Offline and online, both directions: what a budget bounds.
    pub(crate) fn bits(&self) -> u64 {
        8 * (self.offline.bytes() + self.online.bytes())
    }
}

/// What every step will move, and how long it will take.
fn predictions(plan: &Plan, load: Load, profile: &Profile) -> impl Iterator<Item = Phases> {
    let seconds = plan.step_seconds(profile, load.images);
    let last = plan.step_seconds(profile, load.last);
    // All inferences but the last are whole batches; the last one may hold fewer images. Prepared
    // ones count offline, those that ran online.
    let others =
        [load.prepared_in_all(), load.inferences].map(|count| count.saturating_sub(1) as f64);
    plan.load_costs(load).into_iter().zip(seconds).zip(last).map(move |((step, each), last)| {
        let offline = Amount::new(&step.cost.offline, each.offline * others[0] + last.offline);
        Phases::new(offline, Amount::new(&step.cost.online, each.online * others[1] + last.online))
    })
}

impl Step {
    fn new(plan: &Plan, cost: &StepCost, amount: Phases, predicted: Phases) -> Self {
        let op = plan.steps.iter().find(|step| step.name == cost.name).map(|step| &step.op);
        let width = |wire: Option<usize>| wire.map(|wire| plan.wires[wire].bits);
        let weight_bits = op.and_then(|op| op.get::<Linear>()).map(|linear| linear.weight_bits);
        Self {
            name: cost.name.clone(),
            kind: cost.kind,
            protocol: cost.protocol.clone(),
            weight_bits,
            input_bits: width(op.and_then(|op| op.inputs().first().copied())),
            output_bits: width(op.and_then(Op::output)),
            ring_bits: op.map(|op| op.ring(&plan.wires).get() as u8),
            amount,
            predicted,
        }
    }

    /// Whether the step moved what was predicted.
    fn balances(&self) -> bool {
        let same =
            |a: Amount, b: Amount| Amount { seconds: 0.0, ..a } == Amount { seconds: 0.0, ..b };
        same(self.amount.offline, self.predicted.offline)
            && same(self.amount.online, self.predicted.online)
    }
}

impl Phases {
    /// The same seconds, of what was really prepared and run.
    fn of(self, cost: &protocols::Phases) -> Self {
        let offline = Amount::new(&cost.offline, self.offline.seconds);
        Self::new(offline, Amount::new(&cost.online, self.online.seconds))
    }

    fn plus(self, other: Self) -> Self {
        Self::new(self.offline.plus(other.offline), self.online.plus(other.online))
    }

    fn new(offline: Amount, online: Amount) -> Self {
        Self { offline, online, total: offline.plus(online) }
    }
}

impl Amount {
    pub(crate) const fn new(cost: &Cost, seconds: f64) -> Self {
        let Cost { server_bytes, client_bytes, rounds, .. } = *cost;
        Self { server_bytes, client_bytes, rounds, seconds }
    }

    /// Bytes in both directions.
    pub(crate) const fn bytes(&self) -> u64 {
        self.server_bytes + self.client_bytes
    }

    fn plus(self, other: Self) -> Self {
        Self {
            server_bytes: self.server_bytes + other.server_bytes,
            client_bytes: self.client_bytes + other.client_bytes,
            rounds: self.rounds + other.rounds,
            seconds: self.seconds + other.seconds,
        }
    }
}

impl From<Measured> for Amount {
    fn from(measured: Measured) -> Self {
        Self::new(&measured.cost, measured.seconds)
    }
}
