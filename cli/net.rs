//! Writing a quantized network, beside the record of how it was found.

use std::path::Path;

use pq::{PLAN, Plan, WEIGHTS, Weights};
use serde::Serialize;

use crate::console::to_json;
use crate::context::App;
use crate::exit::Outcome;
use crate::files;

/// The record of how they were found.
pub(crate) const SUMMARY: &str = "search.json";

/// Writes both halves, and the record of how they were found.
pub(crate) fn write(
    app: &App,
    folder: &Path,
    plan: &Plan,
    weights: &Weights,
    summary: &impl Serialize,
) -> Outcome<()> {
    let (plan, weights, summary) =
        (plan.to_json(), weights.to_safetensors(), format!("{}\n", to_json(summary)?));
    let written = [
        files::public(PLAN, &plan),
        files::secret(WEIGHTS, &weights),
        files::secret(SUMMARY, summary.as_bytes()),
    ];
    files::write_together(&app.cleanup, folder, &written)
}
