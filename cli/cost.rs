//! `pq cost`: what a plan costs, before anything runs.

use std::path::PathBuf;

use fusion::planner;
use protocols::ot::Sources;
use protocols::profile::Profile;

use crate::app::App;
use crate::exit::Outcome;
use crate::ledger::Ledger;
use crate::net;

/// What `pq cost` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that `pq search` has written, or its plan.json.
    net_folder: PathBuf,
    /// Speed of the connection: lan (330 MB/s, 0.4 ms), wan (40 MB/s, 80 ms) or BYTES_PER_S,RTT_MS.
    #[arg(long, default_value = "lan")]
    net: Profile,
    /// As if correlated transfers came from elsewhere: softspoken:K with K of 1 to 8, or ferret.
    #[arg(long, value_name = "softspoken:K|ferret")]
    ot: Option<Sources>,
    /// Images of one run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
}

/// Runs `pq cost`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let mut plan = net::plan(&args.net_folder)?;
    if let Some(sources) = args.ot {
        plan = planner::with_sources(&plan, sources, &args.net, u64::MAX);
    }
    let ledger = Ledger::predicted(&plan, args.batch as usize, &args.net);
    app.console.result(&ledger, |ledger| ledger.text(&plan.name))
}
