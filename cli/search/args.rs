//! What `pq search` is given.

use std::borrow::Cow;
use std::path::PathBuf;

use quant::data::OffScale;
use quant::search::{
    FirstAndLast, Images, Measure, Memory, Ranges, SearchError, SearchOptions, Uniform, Winograd,
    equalized,
};
use quant::{Dataset, Model, Preprocess, Tensor};

use crate::console::Console;
use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::images::{self, PreprocessArgs};
use crate::out::{self, Writer};
use crate::purpose::PurposeArgs;
use crate::source::OutputArg;
use crate::units::{BitCount, ByteCount, positive};

/// Choices of which one has to be made: what the search keeps to.
const GOALS: [&str; 6] =
    ["budget_bits", "budget_online_bits", "budget_seconds", "min_accuracy", "fixed", "frontier"];

/// Which of them there are, in lines that a terminal holds.
pub(crate) const USAGE: &str = "\
pq search [OPTIONS] --calib <FILE> <GOAL> <MODEL>

GOAL is --budget-bits, --budget-online-bits, --budget-seconds, --min-accuracy, --fixed or
--frontier; budgets may be combined";
/// The most pairs of widths that are swapped on trial: there are no more pairs in networks of a
/// hundred layers.
const MAX_SWAPS: i64 = 10_000;
/// The most steps of reconstruction: days of work.
const MAX_STEPS: i64 = 1_000_000;

/// Images that the result is compared with the float network on, beside those of calibration.
const MOST_HELD_BACK: usize = 256;
/// Fewer tell less than those of calibration do.
const LEAST_HELD_BACK: usize = 64;

/// What `pq search` is given.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("goal").required(true).multiple(true).args(GOALS))]
pub(crate) struct Args {
    /// The network, an ONNX file.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArg,
    /// Images to calibrate on: CIFAR records, IDX, .npy, .npz, PNG or JPEG, also gzipped. They need
    /// no labels.
    #[arg(long, value_name = "FILE")]
    pub(crate) calib: PathBuf,
    /// How many of them, from the first [default: 256; 2048 with --reconstruct].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) samples: Option<u32>,
    /// The most bits that one inference may move, offline and online, both directions; suffixes k,
    /// M, G.
    #[arg(long, value_name = "BITS")]
    pub(crate) budget_bits: Option<BitCount>,
    /// The most bits that it may move online.
    #[arg(long, value_name = "BITS")]
    pub(crate) budget_online_bits: Option<BitCount>,
    /// The most seconds that it may take on the connection of --link, offline and online, as
    /// predicted.
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub(crate) budget_seconds: Option<f64>,
    /// Search for the cheapest network that classifies so large a fraction of the calibration
    /// images rightly; without labels, as the float network does.
    #[arg(long, value_name = "FRACTION", value_parser = fraction, conflicts_with = "fixed")]
    pub(crate) min_accuracy: Option<f64>,
    /// Pairs of widths that are swapped on trial, the loss measured.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 24,
        value_parser = clap::value_parser!(u32).range(..=MAX_SWAPS),
    )]
    pub(crate) swaps: u32,
    /// Use these widths for all layers instead of searching, such as w4a4.
    #[arg(long, value_name = "wNaM")]
    pub(crate) fixed: Option<Uniform>,
    /// Widths of the first and last layer with --fixed: same, or wNaM [default: w8a8].
    #[arg(long, value_name = "same|wNaM", requires = "fixed")]
    pub(crate) first_last: Option<FirstAndLast>,
    /// How the loss of each width is found: loss (measured), fisher or hessian (estimated from its
    /// curvature; faster).
    #[arg(long, value_name = "MEASURE", default_value = "loss")]
    pub(crate) sensitivity: Measure,
    /// Learn weights, biases and scales for N steps, so that the whole network says what the float
    /// network says; worth its time at 4 bits and below.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_STEPS))]
    pub(crate) reconstruct: Option<u32>,
    /// How the ranges of values are chosen: mse, by the least squared error; or percentile:P, the
    /// narrowest that hold P percent.
    #[arg(long, value_name = "mse|percentile:P", default_value = "mse")]
    pub(crate) ranges: Ranges,
    /// Which 3x3 convolutions become requantized Winograd, another network of fewer products: exact
    /// (none), auto (those that lose nothing, as measured on the calibration images) or always (all
    /// that it suits); +N gives their weights N bits more.
    #[arg(long, value_name = "exact|auto[+N]|always[+N]", default_value = "exact")]
    pub(crate) winograd: Winograd,
    #[command(flatten)]
    pub(crate) purpose: PurposeArgs,
    /// Show the losses of all widths, by all three measures.
    #[arg(long)]
    pub(crate) explain: bool,
    /// Search within N budgets, and write accuracies against communication: search.json,
    /// frontier.svg, report.html, and the networks themselves.
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        default_missing_value = "8",
        requires = "out",
        conflicts_with_all = [
            "fixed",
            "budget_bits",
            "budget_online_bits",
            "budget_seconds",
            "min_accuracy",
            "explain",
        ],
        value_parser = clap::value_parser!(u16).range(2..=100)
    )]
    pub(crate) frontier: Option<u16>,
    /// Labeled images that --frontier measures accuracies on; those of --calib without it.
    #[arg(long, value_name = "FILE", requires = "frontier")]
    pub(crate) test: Option<PathBuf>,
    /// How many of them, from the first.
    #[arg(
        long,
        value_name = "N",
        requires = "frontier",
        value_parser = clap::value_parser!(u32).range(1..),
    )]
    pub(crate) limit: Option<u32>,
    /// Go on where an interrupted search with the same arguments ended: sensitivities, and networks
    /// of a frontier, that --out has already are taken from there.
    #[arg(long, requires = "out")]
    pub(crate) resume: bool,
    /// The memory that the search may take, by estimate; suffixes k, M, G. With less, fewer images
    /// calibrate at a time [default: 6G].
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_memory: Option<ByteCount>,
    /// Seed of everything random in the search.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The folder to write plan.json, weights.safetensors, search.json and hints into; without it,
    /// nothing is written.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Write into the folder even if it holds what pq search has not written there.
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) preprocess: PreprocessArgs,
}

/// What is searched: the network and the images.
pub(crate) struct Input {
    pub(crate) model: Model,
    pub(crate) data: Dataset,
    pub(crate) preprocess: Preprocess,
    pub(crate) batch: Tensor,
    /// The images behind them, where there are enough to tell how good the result is.
    pub(crate) held_back: Option<Tensor>,
    /// Where the images are floats on another scale than they are taken to be on.
    pub(crate) off_scale: Option<OffScale>,
}

impl Input {
    /// The labels of the calibration images, if their file has any.
    pub(crate) fn labels(&self) -> Option<&[usize]> {
        self.data.labels()
    }

    /// What calibrates, and what judges.
    pub(super) fn images(&self) -> Images<'_> {
        let (batch, held_back) = (&self.batch, self.held_back.as_ref());
        Images { batch, labels: self.labels(), held_back }
    }

    /// The network with its channels brought together, and a note where there was need to.
    pub(super) fn equalized(&self, app: &App) -> Result<Cow<'_, Model>, SearchError> {
        let model = equalized(&self.model, &self.batch)?;
        if let Cow::Owned(_) = &model {
            app.console.note(format_args!(
                "channels that differ by orders of magnitude were scaled alike, which changes \
                 nothing of what the float network computes"
            ));
        }
        Ok(model)
    }
}

impl Args {
    /// Makes sure of the folder of --out, before anything takes time.
    pub(crate) fn folder(&self, app: &App, writer: Writer) -> Outcome<Option<out::Folder>> {
        self.out.as_ref().map(|folder| out::folder(app, folder, writer, self.force)).transpose()
    }

    /// A search that failed, of this model or of these images.
    pub(super) fn failure(&self, error: SearchError) -> Failure {
        let images = error.is_of_images();
        Failure::from(error).of_file(if images { &self.calib } else { &self.model })
    }

    pub(crate) fn input(&self, console: &Console) -> Outcome<Input> {
        let model = self.output.import(&self.model, console)?;
        let data = Dataset::open(&self.calib, None, model.interface())?;
        let default = if self.reconstruct.is_some() { 2048 } else { 256 };
        let samples = data.len().min(self.samples.unwrap_or(default) as usize);
        let preprocess = self.preprocess.preprocess();
        let batch = data.batch(0..samples, &preprocess)?;
        let others = samples..data.len().min(samples + MOST_HELD_BACK);
        let held_back = (others.len() >= LEAST_HELD_BACK)
            .then(|| data.batch(others, &preprocess))
            .transpose()?;
        let off_scale = data.off_scale(0..samples, &preprocess, None);
        images::warn(console, &self.calib, off_scale.as_ref());
        let pixels = matches!(preprocess, Preprocess::Unit | Preprocess::Raw);
        if pixels && batch.data.iter().any(|&pixel| pixel < 0.0) {
            let path = self.calib.display();
            console.note(format_args!(
                "{path}: there are negative pixels, so they are taken as they are, and the input \
                 is signed"
            ));
        }
        Ok(Input { model, data, preprocess, batch, held_back, off_scale })
    }

    pub(crate) fn options(&self) -> SearchOptions {
        SearchOptions {
            budget_bits: self.budget_bits.map(|BitCount(bits)| bits),
            budget_online_bits: self.budget_online_bits.map(|BitCount(bits)| bits),
            budget_seconds: self.budget_seconds,
            min_accuracy: self.min_accuracy,
            swaps: self.swaps as usize,
            fixed: self.fixed,
            ends: self.first_last.unwrap_or_default(),
            ranges: self.ranges,
            winograd: self.winograd,
            measure: self.sensitivity,
            reconstruct: self.reconstruct.map(|steps| steps as usize),
            max_memory: self.max_memory.map_or(Memory::DEFAULT, |ByteCount(bytes)| bytes),
            seed: self.seed,
            ..self.purpose.search()
        }
    }
}

fn fraction(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| (0.0..=1.0).contains(n));
    number.ok_or_else(|| "expected a fraction within 0 and 1, such as 0.9".into())
}
