//! `pq search`: chooses the widths and protocols of every layer, and writes the quantised network.

use std::fmt::Write;
use std::path::PathBuf;

use protocols::plan::Plan;
use protocols::profile::Profile;
use quant::search::{self, Ends, Found, LayerReport, SearchError, SearchOptions, Uniform, Winograd};
use quant::{Dataset, import_file};
use serde::Serialize;

use crate::app::App;
use crate::console::to_json;
use crate::exit::{Code, Failure, Outcome};
use crate::files;
use crate::images::PreprocessArgs;
use crate::net;
use crate::progress::Progress;
use crate::table::Table;
use crate::units::{self, BitCount};

/// What `pq search` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The network, an ONNX file.
    pub(crate) model: PathBuf,
    /// Images to calibrate on: CIFAR records, IDX, .npy, .npz, PNG or JPEG, also gzipped. They need no labels.
    #[arg(long, value_name = "FILE")]
    pub(crate) calib: PathBuf,
    /// How many of them, from the first.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) samples: u32,
    /// The most bits that one inference may move, offline and online, both directions; suffixes k, M, G.
    #[arg(long, value_name = "BITS", required_unless_present = "fixed")]
    pub(crate) budget_bits: Option<BitCount>,
    /// Use these widths for all layers instead of searching, such as w4a4.
    #[arg(long, value_name = "wNaM")]
    pub(crate) fixed: Option<Uniform>,
    /// Widths of the first and last layer with --fixed: same, or wNaM [default: w8a8].
    #[arg(long, value_name = "same|wNaM", requires = "fixed")]
    pub(crate) first_last: Option<Ends>,
    /// Which 3x3 convolutions become requantised Winograd, another network of fewer products: exact (none), auto (those that lose
    /// nothing, as measured on the calibration images) or always (all that it suits).
    #[arg(long, value_name = "exact|auto|always", default_value = "exact")]
    pub(crate) winograd: Winograd,
    /// The connection to choose protocols for: lan (330 MB/s, 0.4 ms), wan (40 MB/s, 80 ms) or BYTES_PER_S,RTT_MS.
    #[arg(long, default_value = "lan")]
    pub(crate) net: Profile,
    /// Inferences of one session, over which set-up is spread in choosing protocols.
    #[arg(long, value_name = "N", default_value_t = INFERENCES, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) inferences: u64,
    /// Images that will run together, over which rounds are spread in choosing protocols.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Seed of everything random in the search.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The folder to write plan.json, weights.safetensors and search.json into; without it, nothing is written.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) preprocess: PreprocessArgs,
}

/// What was found, as `search.json` has it.
#[derive(Serialize)]
pub(crate) struct Summary {
    layers: Vec<LayerReport>,
    pub(crate) predicted_bits: u64,
    pub(crate) setup_bits: u64,
    pub(crate) budget_bits: Option<u64>,
    expected_loss: f64,
}

/// Inferences of a session, unless told otherwise.
pub(crate) const INFERENCES: u64 = 1000;
/// The file that holds the summary.
const SUMMARY: &str = "search.json";

/// Runs `pq search`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let (summary, plan) = find(app, args)?;
    app.console.result(&summary, |summary| summary.text(&plan))?;
    match &args.out {
        Some(folder) => app.console.note(format_args!("written to {}", folder.display())),
        None => app.console.note("nothing was written; name a folder with --out"),
    }
    Ok(())
}

/// Searches, and writes what was found.
pub(crate) fn find(app: &App, args: &Args) -> Outcome<(Summary, Plan)> {
    let model = import_file(&args.model).map_err(|error| Failure::import(&error, &args.model))?;
    let data = Dataset::open(&args.calib, None, model.input)?;
    let samples = data.len().min(args.samples as usize);
    let preprocess = args.preprocess.preprocess();
    let batch = data.batch(0..samples, &preprocess)?;
    let options = SearchOptions {
        budget_bits: args.budget_bits.map(|BitCount(bits)| bits),
        fixed: args.fixed,
        ends: args.first_last.unwrap_or_default(),
        winograd: args.winograd,
        profile: args.net,
        inferences: args.inferences,
        batch: args.batch as usize,
        seed: args.seed,
    };
    let progress = Progress::new();
    let found =
        search::search(&model, &preprocess, &batch, &options, &mut |p| progress.set(p.phase, p.done, p.of));
    drop(progress);
    let found = found.map_err(|error| Failure::from(error).of_file(&args.model))?;
    let summary = Summary::new(&found);
    if let Some(folder) = &args.out {
        let written = [
            (net::PLAN, found.plan.to_json()),
            (net::WEIGHTS, found.weights.to_safetensors()),
            (SUMMARY, format!("{}\n", to_json(&summary)?).into_bytes()),
        ];
        let written: Vec<(&str, &[u8])> =
            written.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        files::write_together(&app.cleanup, folder, &written)?;
    }
    Ok((summary, found.plan))
}

impl From<SearchError> for Failure {
    fn from(error: SearchError) -> Self {
        let code = match &error {
            SearchError::Nothing => Code::Usage,
            SearchError::Impossible { .. }
            | SearchError::Quantise(_)
            | SearchError::Lower(_)
            | SearchError::Float(_)
            | SearchError::NoLayers => Code::Input,
        };
        Self::new(code, error)
    }
}

impl Summary {
    fn new(found: &Found) -> Self {
        Self {
            layers: found.layers.clone(),
            predicted_bits: found.predicted_bits,
            setup_bits: found.setup_bits,
            budget_bits: found.budget_bits,
            expected_loss: found.expected_loss,
        }
    }

    /// What was found, as text.
    pub(crate) fn text(&self, plan: &Plan) -> String {
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
        if let Some(budget) = self.budget_bits {
            let _ = writeln!(text, "budget         {}", exact(budget));
        }
        let _ = writeln!(text, "set-up, once   {}", exact(self.setup_bits));
        let _ = writeln!(text, "expected loss  {:.4}", self.expected_loss);
        text
    }
}
