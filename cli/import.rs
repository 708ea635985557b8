//! `pq import`: a network that came quantised, taken over with its own integers and widths.

use std::fmt::Write;
use std::path::PathBuf;

use fusion::planner::{Purpose, fastest, inference_bits};
use protocols::ot::Sources;
use protocols::plan::Plan;
use protocols::profile::Profile;
use quant::onnx::import_quantised;
use quant::quantise::{Adjustment, AdoptError, Adopted, Changed, adopt};
use serde::Serialize;

use crate::app::App;
use crate::console::to_json;
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::images::PreprocessArgs;
use crate::net;
use crate::search::INFERENCES;
use crate::table::Table;
use crate::units;

/// What `pq import` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The quantised network: an ONNX file with QuantizeLinear and DequantizeLinear.
    model: PathBuf,
    /// The connection to choose protocols for: lan (330 MB/s, 0.4 ms), wan (40 MB/s, 80 ms) or BYTES_PER_S,RTT_MS.
    #[arg(long, default_value = "lan")]
    net: Profile,
    /// Inferences of one session, over which set-up is spread in choosing protocols.
    #[arg(long, value_name = "N", default_value_t = INFERENCES, value_parser = clap::value_parser!(u64).range(1..))]
    inferences: u64,
    /// Where correlated transfers come from: softspoken:K with K of 1 to 8, or ferret [default: whatever is fastest].
    #[arg(long, value_name = "softspoken:K|ferret")]
    ot: Option<Sources>,
    /// Images that will run together, over which rounds are spread in choosing protocols.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// The folder to write plan.json, weights.safetensors and search.json into; without it, nothing is written.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

#[derive(Serialize)]
struct Summary {
    layers: Vec<Layer>,
    predicted_bits: u64,
    setup_bits: u64,
    changes: Vec<Adjustment>,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    weight_bits: u8,
    activation_bits: u8,
    protocol: String,
    comm_bits: u64,
}

/// Runs `pq import`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let bytes = files::read(&args.model)?;
    let quantised = import_quantised(&bytes).map_err(|error| Failure::import(&error, &args.model))?;
    let adopted = adopt(&quantised, &args.preprocess.preprocess())
        .map_err(|error| Failure::from(error).of_file(&args.model))?;
    let purpose = Purpose {
        profile: args.net,
        inferences: args.inferences,
        batch: args.batch as usize,
        budget_bits: None,
        sources: args.ot.unwrap_or_default(),
    };
    let plan = fastest(&adopted.graph, &adopted.weights.digest(), &purpose)?;
    let plan = plan.ok_or_else(|| Failure::internal("no plan without a budget"))?;
    let summary = Summary::new(&adopted, &plan);
    if let Some(folder) = &args.out {
        let written = [
            (net::PLAN, plan.to_json()),
            (net::WEIGHTS, adopted.weights.to_safetensors()),
            (net::SUMMARY, format!("{}\n", to_json(&summary)?).into_bytes()),
        ];
        let written: Vec<(&str, &[u8])> = written.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
        files::write_together(&app.cleanup, folder, &written)?;
    }
    for change in &summary.changes {
        app.console.note(told(change));
    }
    app.console.result(&summary, |summary| summary.text(&plan))?;
    match &args.out {
        Some(folder) => app.console.note(format_args!("written to {}", folder.display())),
        None => app.console.note("nothing was written; name a folder with --out"),
    }
    Ok(())
}

impl From<AdoptError> for Failure {
    fn from(error: AdoptError) -> Self {
        Self::input(error)
    }
}

/// A change, as a line for people.
fn told(change: &Adjustment) -> String {
    let Adjustment { node, what, found, used, by } = change;
    let percent = 100.0 * by;
    match what {
        Changed::ScaleOfValues => {
            format!("{node}: scale of values {found:.6} rounded to {used:.6} ({percent:+.1} %)")
        }
        Changed::LargestValue => {
            format!("{node}: cut off above {used:.4} instead of {found:.4} ({percent:+.1} %)")
        }
        Changed::Weights => format!(
            "{node}: weights rounded again, largest scale {found:.6} to {used:.6}, changed by {percent:.2} % of their norm"
        ),
    }
}

impl Summary {
    fn new(adopted: &Adopted, plan: &Plan) -> Self {
        let steps = plan.step_costs(1);
        let layer = |(name, weight_bits, activation_bits): &(String, u8, u8)| {
            let step = steps.iter().find(|step| step.name == *name);
            Layer {
                name: name.clone(),
                weight_bits: *weight_bits,
                activation_bits: *activation_bits,
                protocol: step.map_or_else(String::new, |step| step.protocol.clone()),
                comm_bits: step.map_or(0, |step| step.cost.offline.bits() + step.cost.online.bits()),
            }
        };
        Self {
            layers: adopted.layers.iter().map(layer).collect(),
            predicted_bits: inference_bits(plan),
            setup_bits: plan.setup_cost().bits(),
            changes: adopted.changes.clone(),
        }
    }

    fn text(&self, plan: &Plan) -> String {
        let mut table = Table::new(1, &["layer", "weights", "values", "protocol", "communication"]);
        for layer in &self.layers {
            table.row(vec![
                layer.name.clone(),
                layer.weight_bits.to_string(),
                layer.activation_bits.to_string(),
                layer.protocol.clone(),
                units::bits(layer.comm_bits),
            ]);
        }
        let mut text = format!("{}\n\n{table}\n", plan.name);
        let exact = |bits: u64| format!("{} ({} bits)", units::bits(bits), units::count(bits));
        let _ = writeln!(text, "one inference  {}", exact(self.predicted_bits));
        let _ = writeln!(text, "set-up, once   {}", exact(self.setup_bits));
        text
    }
}
