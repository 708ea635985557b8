//! `pq compare`: what published systems would move for the same network, beside ours.

use std::fmt::Write;
use std::path::PathBuf;

use fusion::baselines::{self, System, Traffic};
use pq::Network;
use protocols::plan::{Hints, Load, Plan};
use protocols::printable::Printable;
use protocols::profile::Profile;
use serde::Serialize;

use crate::context::App;
use crate::exit::Outcome;
use crate::infer;
use crate::ledger::Ledger;
use crate::net;
use crate::table::Table;
use crate::units;

/// What `pq compare` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that `pq search` has written; without --input, its plan.json is enough.
    net_folder: PathBuf,
    /// Measure ours too: run the network privately on the first image of this file, both parties on
    /// this machine.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

/// Every system on one network, for one image and without set-up.
#[derive(Serialize)]
struct Comparison {
    name: String,
    systems: Vec<Line>,
    predicted_bytes: u64,
    /// Without --input, none.
    measured_bytes: Option<u64>,
    /// Ours, once a session.
    setup_bytes: u64,
    steps: Vec<Step>,
}

/// A system on the whole network, or on one step.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    iknp_bytes: u64,
    silent_bytes: u64,
}

#[derive(Serialize)]
struct Step {
    name: String,
    weight_bits: Option<u8>,
    input_bits: Option<u8>,
    systems: Vec<Line>,
    predicted_bytes: u64,
    measured_bytes: Option<u64>,
}

/// Runs `pq compare`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let plan = Network::open_plan(&args.net_folder)?;
    let hints = net::hints_of_client(&args.net_folder, &plan)?;
    let measured =
        args.input.as_ref().map(|input| infer::measure(&args.net_folder, input)).transpose()?;
    app.console.result(&Comparison::new(&plan, hints, measured.as_ref()), Comparison::text)
}

impl Comparison {
    fn new(plan: &Plan, hints: Hints, measured: Option<&Ledger>) -> Self {
        let traffic = System::ALL.map(|system| (system, baselines::steps(plan, system)));
        // Times are not compared, so that the connection is of no matter.
        let predicted = Ledger::predicted(plan, Load::one(1).with(hints), &Profile::LAN);
        let steps = predicted.steps.iter().enumerate().map(|(at, step)| {
            let found = plan.steps.iter().position(|planned| planned.name == step.name);
            Step {
                name: step.name.clone(),
                weight_bits: step.weight_bits,
                input_bits: step.input_bits,
                systems: Line::all(&traffic, |steps| {
                    found.map_or_else(Traffic::default, |at| steps[at])
                }),
                predicted_bytes: step.amount.total.bytes(),
                measured_bytes: measured.map(|ledger| ledger.steps[at].amount.total.bytes()),
            }
        });
        Self {
            name: plan.name.clone(),
            systems: Line::all(&traffic, |steps| steps.iter().copied().sum()),
            predicted_bytes: predicted.cost.bits() / 8,
            measured_bytes: measured.map(|ledger| ledger.cost.bits() / 8),
            setup_bytes: predicted.cost.setup.bytes(),
            steps: steps.collect(),
        }
    }

    fn text(&self) -> String {
        let mut headings = vec!["step", "widths"];
        headings.extend(System::ALL.map(System::name));
        headings.push("pq");
        headings.extend(self.measured_bytes.map(|_| "measured"));
        let mut table = Table::new(2, &headings);
        for step in &self.steps {
            let widths = [("w", step.weight_bits), ("a", step.input_bits)];
            let widths = if step.weight_bits.is_some() { &widths[..] } else { &[] };
            let widths =
                widths.iter().filter_map(|(name, bits)| bits.map(|bits| format!("{name}{bits}")));
            let mut row = vec![step.name.clone(), widths.collect::<String>()];
            row.extend(step.systems.iter().map(Line::cell));
            row.extend(ours(step.predicted_bytes, step.measured_bytes));
            table.row(row);
        }
        let mut total = vec!["total".to_owned(), String::new()];
        total.extend(self.systems.iter().map(Line::cell));
        total.extend(ours(self.predicted_bytes, self.measured_bytes));
        table.row(total);
        let mut ratio = vec!["times pq".to_owned(), String::new()];
        for system in &self.systems {
            let [iknp, silent] = [system.iknp_bytes, system.silent_bytes]
                .map(|bytes| bytes as f64 / self.predicted_bytes.max(1) as f64);
            ratio.push(format!("{iknp:.1} / {silent:.1}"));
        }
        table.row(ratio);
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{}, one image: megabytes of published systems, modeled (OTs by IKNP / silent), \
            and of pq, predicted to the byte\n",
            Printable(&self.name)
        );
        let _ = writeln!(text, "{table}");
        let _ = writeln!(
            text,
            "Without 'N bit' a system runs at the network's own widths. Once a session, pq moves \
            {} more for set-up; the others\n\
             repeat theirs with every inference. Their formulas and sources: \
             fusion/src/baselines.rs.",
            units::bytes(self.setup_bytes)
        );
        text
    }
}

impl Line {
    /// A line of every system, for what is taken of its traffic by step.
    fn all(traffic: &[(System, Vec<Traffic>)], of: impl Fn(&[Traffic]) -> Traffic) -> Vec<Self> {
        traffic.iter().map(|(system, steps)| Self::new(*system, of(steps))).collect()
    }

    const fn new(system: System, traffic: Traffic) -> Self {
        let (iknp_bytes, silent_bytes) = (traffic.iknp_bytes(), traffic.silent_bytes());
        Self { name: system.name(), iknp_bytes, silent_bytes }
    }

    fn cell(&self) -> String {
        if self.iknp_bytes == 0 {
            return String::new();
        }
        format!("{} / {}", megabytes(self.iknp_bytes), megabytes(self.silent_bytes))
    }
}

/// The cells of ours: predicted, and measured where it was.
fn ours(predicted: u64, measured: Option<u64>) -> impl Iterator<Item = String> {
    [Some(predicted), measured].into_iter().flatten().map(megabytes)
}

/// `1234567` as `1.23`.
fn megabytes(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!("{:.2}", bytes as f64 / 1e6) }
}
