//! `pq import`: a network that came quantized, taken over with its own integers and widths.

use std::fmt::Write;
use std::path::PathBuf;

use fusion::planner::{fastest, inference_bits};
use protocols::hints::ServerHints;
use protocols::plan::{Hints, Load, Plan};
use quant::quantize::{QdqChange, QdqChangeKind, QdqImport, QdqImportError, import_qdq};
use quant::search::LayerReport;
use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::images::PreprocessArgs;
use crate::layers;
use crate::net::{self, Net};
use crate::out::{self, Writer};
use crate::purpose::PurposeArgs;
use crate::source::OutputArg;

/// What `pq import` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The quantized network: an ONNX file with QuantizeLinear and DequantizeLinear.
    model: PathBuf,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    purpose: PurposeArgs,
    /// The folder to write plan.json, weights.safetensors, search.json and hints into; without it,
    /// nothing is written.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Write into the folder even if it holds what pq import has not written there.
    #[arg(long, requires = "out")]
    force: bool,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

#[derive(Serialize)]
struct Summary {
    layers: Vec<LayerReport>,
    predicted_bits: u64,
    setup_bits: u64,
    changes: Vec<QdqChange>,
}

/// Runs `pq import`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let out = args.out.as_ref();
    let _kept =
        out.map(|folder| out::folder(app, folder, Writer::Import, args.force)).transpose()?;
    let source = args.output.open(&args.model)?;
    let quantized =
        source.import_quantized().map_err(|error| Failure::import(&error, &args.model))?;
    quantized.notes.iter().for_each(|note| app.console.note(note));
    let imported = import_qdq(&quantized, &args.preprocess.preprocess())
        .map_err(|error| Failure::from(error).of_file(&args.model))?;
    let plan = fastest(&imported.graph, &imported.weights.digest(), &args.purpose.purpose())?;
    let plan = plan.ok_or_else(|| Failure::internal("no plan without a budget"))?;
    let (plan, hints) = ServerHints::make(&plan, &imported.weights)?;
    let summary = Summary::new(&imported, &plan);
    if let Some(folder) = &args.out {
        let net = Net { plan: &plan, weights: &imported.weights, hints: hints.as_ref() };
        net::write(app, folder, net, &summary)?;
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

impl From<QdqImportError> for Failure {
    fn from(error: QdqImportError) -> Self {
        Self::input(error)
    }
}

/// A change, as a line for people.
fn told(change: &QdqChange) -> String {
    let QdqChange { node, what, found, used, by } = change;
    let percent = 100.0 * by;
    match what {
        QdqChangeKind::ScaleOfValues => {
            format!("{node}: scale of values {found:.6} rounded to {used:.6} ({percent:+.1} %)")
        }
        QdqChangeKind::LeastValue => {
            format!("{node}: cut off below {used:.4} instead of {found:.4} ({percent:+.1} %)")
        }
        QdqChangeKind::LargestValue => {
            format!("{node}: cut off above {used:.4} instead of {found:.4} ({percent:+.1} %)")
        }
        QdqChangeKind::Weights => format!(
            "{node}: weights rounded again, largest scale {found:.6} to {used:.6}, changed by \
            {percent:.2} % of their norm"
        ),
    }
}

impl Summary {
    fn new(imported: &QdqImport, plan: &Plan) -> Self {
        Self {
            layers: LayerReport::all(imported.layers.iter().cloned(), plan),
            predicted_bits: inference_bits(plan),
            setup_bits: plan.session_cost(Load::one(1).with(Hints::Known)).bits(),
            changes: imported.changes.clone(),
        }
    }

    fn text(&self, plan: &Plan) -> String {
        let mut text = layers::text(plan, &self.layers, self.predicted_bits);
        let _ = writeln!(text, "set-up, once   {}", layers::exact(self.setup_bits));
        text
    }
}
