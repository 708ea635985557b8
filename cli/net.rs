//! A quantized network on the disk: `plan.json` and `weights.safetensors`.

use std::path::Path;

use protocols::plan::Plan;
use protocols::weights::Weights;
use serde::Serialize;

use crate::app::App;
use crate::console::to_json;
use crate::exit::{Failure, Outcome};
use crate::files;

/// The public half's name within a folder.
pub(crate) const PLAN: &str = "plan.json";
/// The secret half's name within a folder.
pub(crate) const WEIGHTS: &str = "weights.safetensors";

/// The record of how they were found.
pub(crate) const SUMMARY: &str = "search.json";

/// Both halves, checked against each other.
pub(crate) struct Net {
    pub(crate) plan: Plan,
    pub(crate) weights: Weights,
}

impl Net {
    /// Reads the folder that `pq search` has written.
    pub(crate) fn open(folder: &Path) -> Outcome<Self> {
        let plan = plan(&folder.join(PLAN))?;
        let weights = weights(&folder.join(WEIGHTS), &plan)?;
        Ok(Self { plan, weights })
    }
}

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

/// Reads a plan, from its file or from the folder that holds it, and checks it whole.
pub(crate) fn plan(path: &Path) -> Outcome<Plan> {
    let path = if path.is_dir() { path.join(PLAN) } else { path.to_owned() };
    Plan::from_json(&files::read(&path)?).map_err(|error| Failure::from(error).of_file(&path))
}

/// Reads weights and holds them against the plan.
pub(crate) fn weights(path: &Path, plan: &Plan) -> Outcome<Weights> {
    let of_file = |error: protocols::Error| Failure::from(error).of_file(path);
    let weights = Weights::from_safetensors(&files::read(path)?).map_err(of_file)?;
    weights.check(plan).map_err(of_file)?;
    Ok(weights)
}
