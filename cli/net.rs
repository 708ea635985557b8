//! Writing a quantized network with its hints, beside the record of how it was found.

use std::path::Path;

use pq::{HINTS, HINTS_SECRET, Hints, Network, PLAN, Plan, ServerHints, WEIGHTS, Weights};
use serde::Serialize;

use crate::console::to_json;
use crate::context::App;
use crate::exit::Outcome;
use crate::files::{self, Written};

/// The record of how they were found.
pub(crate) const SUMMARY: &str = "search.json";

/// How a client that has this folder comes by the hints of its plan: known where their file is
/// there, and refused where it is not the plan's.
pub(crate) fn hints_of_client(folder: &Path, plan: &Plan) -> Outcome<Hints> {
    Ok(Hints::of(Network::hints_beside(folder, plan)?.is_some()))
}

/// A network to be written: its plan names the hints that were made for it, if any were.
#[derive(Clone, Copy)]
pub(crate) struct Net<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) weights: &'a Weights,
    pub(crate) hints: Option<&'a ServerHints>,
}

/// Writes both halves with their hints, and the record of how they were found.
pub(crate) fn write(
    app: &App,
    folder: &Path,
    net: Net<'_>,
    summary: &impl Serialize,
) -> Outcome<()> {
    let summary = format!("{}\n", to_json(summary)?);
    write_with(app, folder, net, files::secret(SUMMARY, summary.as_bytes()))
}

/// The same, with a record of another kind.
pub(crate) fn write_with(
    app: &App,
    folder: &Path,
    Net { plan, weights, hints }: Net<'_>,
    record: Written<'_>,
) -> Outcome<()> {
    let (plan, weights) = (plan.to_json(), weights.to_safetensors());
    let secret = hints.map(|hints| hints.secret().to_bytes());
    let mut written = vec![files::secret(WEIGHTS, &weights), record];
    if let (Some(hints), Some(secret)) = (hints, &secret) {
        written.push(files::secret(HINTS_SECRET, secret));
        written.push(files::public(HINTS, hints.public().bytes()));
    }
    // The plan names all others.
    written.push(files::public(PLAN, &plan));
    files::write_together(&app.cleanup, folder, &written)
}
