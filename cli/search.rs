//! `pq search`: chooses the widths and protocols of every layer, and writes the quantised network.

use std::fmt::Write;
use std::path::PathBuf;

use protocols::ot::Sources;
use protocols::plan::Plan;
use protocols::profile::Profile;
use quant::search::{
    self, Ends, Found, Images, LayerReport, Measure, SearchError, SearchOptions, Uniform, Winograd,
};
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
    /// How many of them, from the first [default: 256; 2048 with --reconstruct].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) samples: Option<u32>,
    /// The most bits that one inference may move, offline and online, both directions; suffixes k, M, G.
    #[arg(
        long,
        value_name = "BITS",
        required_unless_present_any = ["fixed", "budget_online_bits", "budget_seconds", "min_accuracy"]
    )]
    pub(crate) budget_bits: Option<BitCount>,
    /// The most bits that it may move online.
    #[arg(long, value_name = "BITS")]
    pub(crate) budget_online_bits: Option<BitCount>,
    /// The most seconds that it may take on the connection of --net, offline and online, as predicted.
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub(crate) budget_seconds: Option<f64>,
    /// Search for the cheapest network that classifies so large a fraction of the calibration images rightly; without labels,
    /// as the float network does.
    #[arg(long, value_name = "FRACTION", value_parser = fraction, conflicts_with = "fixed")]
    pub(crate) min_accuracy: Option<f64>,
    /// Pairs of widths that are swapped on trial, the loss measured.
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub(crate) swaps: u32,
    /// Use these widths for all layers instead of searching, such as w4a4.
    #[arg(long, value_name = "wNaM")]
    pub(crate) fixed: Option<Uniform>,
    /// Widths of the first and last layer with --fixed: same, or wNaM [default: w8a8].
    #[arg(long, value_name = "same|wNaM", requires = "fixed")]
    pub(crate) first_last: Option<Ends>,
    /// How the loss of each width is found: loss (measured), fisher or hessian (estimated from its curvature; faster).
    #[arg(long, value_name = "MEASURE", default_value = "loss")]
    pub(crate) sensitivity: Measure,
    /// Learn weights, biases and scales for N steps, so that the whole network says what the float network says; worth its
    /// time at 4 bits and below.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) reconstruct: Option<u32>,
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
    /// Where correlated transfers come from: softspoken:K with K of 1 to 8, or ferret [default: whatever is fastest].
    #[arg(long, value_name = "softspoken:K|ferret")]
    pub(crate) ot: Option<Sources>,
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
    predicted_seconds: f64,
    pub(crate) budget_bits: Option<u64>,
    expected_loss: f64,
}

/// Inferences of a session, unless told otherwise.
pub(crate) const INFERENCES: u64 = 1000;

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
    let default = if args.reconstruct.is_some() { 2048 } else { 256 };
    let samples = data.len().min(args.samples.unwrap_or(default) as usize);
    let preprocess = args.preprocess.preprocess();
    let batch = data.batch(0..samples, &preprocess)?;
    let options = SearchOptions {
        budget_bits: args.budget_bits.map(|BitCount(bits)| bits),
        budget_online_bits: args.budget_online_bits.map(|BitCount(bits)| bits),
        budget_seconds: args.budget_seconds,
        min_accuracy: args.min_accuracy,
        swaps: args.swaps as usize,
        fixed: args.fixed,
        ends: args.first_last.unwrap_or_default(),
        winograd: args.winograd,
        profile: args.net,
        inferences: args.inferences,
        sources: args.ot.unwrap_or_default(),
        batch: args.batch as usize,
        measure: args.sensitivity,
        reconstruct: args.reconstruct.map(|steps| steps as usize),
        seed: args.seed,
    };
    let images = Images { batch: &batch, labels: data.labels() };
    let progress = Progress::new();
    let found =
        search::search(&model, &preprocess, &images, &options, &mut |p| progress.set(p.phase, p.done, p.of));
    drop(progress);
    let found = found.map_err(|error| Failure::from(error).of_file(&args.model))?;
    let summary = Summary::new(&found);
    if let Some(folder) = &args.out {
        let written = [
            (net::PLAN, found.plan.to_json()),
            (net::WEIGHTS, found.weights.to_safetensors()),
            (net::SUMMARY, format!("{}\n", to_json(&summary)?).into_bytes()),
        ];
        let written: Vec<(&str, &[u8])> =
            written.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        files::write_together(&app.cleanup, folder, &written)?;
    }
    Ok((summary, found.plan))
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
    number.ok_or_else(|| "expected a number above 0".into())
}

fn fraction(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| (0.0..=1.0).contains(n));
    number.ok_or_else(|| "expected a fraction within 0 and 1, such as 0.9".into())
}

impl From<SearchError> for Failure {
    fn from(error: SearchError) -> Self {
        let code = match &error {
            SearchError::Nothing => Code::Usage,
            SearchError::Impossible { .. }
            | SearchError::ImpossibleOnline { .. }
            | SearchError::ImpossibleSeconds { .. }
            | SearchError::Inaccurate { .. }
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
            predicted_seconds: found.predicted_seconds,
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
        let _ = writeln!(text, "predicted time {}", units::seconds(self.predicted_seconds));
        let _ = writeln!(text, "expected loss  {:.4}", self.expected_loss);
        text
    }
}
