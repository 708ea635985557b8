//! `pq cost`: what a plan costs, before anything runs, and why its protocols were chosen.

mod why;

use std::path::PathBuf;

use fusion::planner::{self, PlannerOptions};
use pq::Network;
use protocols::Role;
use protocols::ot::OtExtensions;
use protocols::plan::{Hints, Load, Plan, Protocols};
use protocols::profile::Profile;
use serde::Serialize;

use crate::assumptions::{self, Assumed};
use crate::context::App;
use crate::exit::Outcome;
use crate::ledger::Ledger;
use crate::net;
use crate::purpose::{INFERENCES, MAX_BATCH, MAX_INFERENCES};
use crate::units;
use why::Why;

/// What `pq cost` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that `pq search` has written, or its plan.json.
    net_folder: PathBuf,
    /// Speed of the connection: lan (330 MB/s, 0.4 ms), wan (40 MB/s, 80 ms) or BYTES_PER_S,RTT_MS.
    #[arg(long, alias = "net", default_value = "lan")]
    link: Profile,
    /// As if correlated OTs came from elsewhere: softspoken:K with K of 1 to 8, or ferret.
    #[arg(long, value_name = "softspoken:K|ferret")]
    ot: Option<OtExtensions>,
    /// Whether the client has hints.bin, or gets the hints in set-up [default: known where the file
    /// is beside the plan].
    #[arg(long, value_enum)]
    hints: Option<Known>,
    /// Images of one run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_BATCH))]
    batch: u32,
    /// Show every way to run this step, with its price, instead.
    #[arg(long, value_name = "LAYER")]
    why: Option<String>,
    /// Inferences of one session, over which set-up is spread in comparing protocols [default:
    /// 1000].
    #[arg(
        long,
        value_name = "N",
        requires = "why",
        value_parser = clap::value_parser!(u64).range(1..=MAX_INFERENCES),
    )]
    inferences: Option<u64>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Known {
    /// The client has the file.
    Known,
    /// The server sends them in set-up.
    Sent,
}

/// Runs `pq cost`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let mut plan = Network::open_plan(&args.net_folder)?;
    let load = Load::one(args.batch as usize).with(args.hints(&plan)?);
    load.check()?;
    if let Some(extensions) = args.ot {
        plan = planner::with_extensions(&plan, extensions, &args.purpose(extensions));
    }
    if let Some(step) = &args.why {
        let why = Why::new(&plan, step, args)?;
        return app.console.result(&why, Why::text);
    }
    let priced = Priced::new(&plan, load, &args.link);
    app.console.result(&priced, |priced| priced.text(&plan.name))
}

/// What one inference is predicted to move, what it rests on, and what it needs of either party's
/// memory.
#[derive(Serialize)]
struct Priced {
    #[serde(flatten)]
    ledger: Ledger,
    assumptions: Vec<Assumed>,
    memory: Memory,
}

/// Bytes of a process, of each party.
#[derive(Serialize)]
struct Memory {
    server_bytes: u64,
    client_bytes: u64,
}

impl Priced {
    fn new(plan: &Plan, load: Load, profile: &Profile) -> Self {
        let of = |role| plan.memory(role, load);
        let memory = Memory { server_bytes: of(Role::Server), client_bytes: of(Role::Client) };
        let ledger = Ledger::predicted(plan, load, profile);
        Self { ledger, assumptions: assumptions::of(plan), memory }
    }

    fn text(&self, name: &str) -> String {
        let [server, client] =
            [self.memory.server_bytes, self.memory.client_bytes].map(units::bytes);
        let memory = format!("memory: {server} of the server, {client} of the client");
        let (ledger, assumptions) = (self.ledger.text(name), assumptions::text(&self.assumptions));
        format!("{ledger}{memory}\n\n{assumptions}")
    }
}

impl Args {
    /// How the client comes by the hints.
    fn hints(&self, plan: &Plan) -> Outcome<Hints> {
        Ok(match self.hints {
            Some(Known::Known) => Hints::Known,
            Some(Known::Sent) => Hints::Sent,
            None => net::hints_of_client(&self.net_folder, plan)?,
        })
    }

    /// What a plan would be made for.
    fn purpose(&self, extensions: OtExtensions) -> PlannerOptions {
        PlannerOptions {
            profile: self.link,
            inferences: self.inferences.unwrap_or(INFERENCES),
            batch: self.batch as usize,
            budget_bits: None,
            extensions,
            protocols: Protocols::All,
            lean: true,
        }
    }
}
