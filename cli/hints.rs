//! `pq hints`: makes the hints of a quantized network anew.

use std::path::PathBuf;

use pq::{HINTS, HINTS_SECRET, Network, PLAN, WEIGHTS};
use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::units;

/// What `pq hints` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that `pq search` or `pq import` has written, weights included. Its plan names the
    /// new hints: clients need the new plan.
    net_folder: PathBuf,
}

#[derive(Serialize)]
struct Made {
    digest: String,
    layers: usize,
    bytes: usize,
}

/// Runs `pq hints`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    // Without the seed of the hints that were: whatever is wrong with it, it serves no more.
    let plan = Network::open_plan(&args.net_folder)?;
    let weights = Network::open_weights(args.net_folder.join(WEIGHTS), &plan)?;
    let network = Network::new(plan, weights)?;
    if !network.plan().has_hint_layers() {
        let why = "no layer of this plan has a hint: there is nothing to make";
        return Err(Failure::input(why).of_file(&args.net_folder.join(PLAN)));
    }
    let network = network.with_new_hints()?;
    let hints = network.hints()?.ok_or_else(|| Failure::internal("no hints were made"))?;
    let (plan, secret) = (network.plan().to_json(), hints.secret().to_bytes());
    let written = [
        files::secret(HINTS_SECRET, &secret),
        files::public(HINTS, hints.public().bytes()),
        files::public(PLAN, &plan),
    ];
    files::write_together(&app.cleanup, &args.net_folder, &written)?;
    let layers = network.plan().layers().filter(|(_, _, layer)| layer.has_hint()).count();
    let (digest, bytes) = (hints.public().digest(), hints.public().bytes().len());
    app.console.result(&Made { digest, layers, bytes }, Made::text)
}

impl Made {
    fn text(&self) -> String {
        let bytes = units::bytes(self.bytes as u64);
        format!("hints of {} layers, {bytes}, digest {}\n", self.layers, self.digest)
    }
}
