//! What `pq tune` is given.

use std::path::PathBuf;

use quant::Model;
use quant::search::{
    FirstAndLast, Found, LayerWidths, SearchError, SearchOptions, Uniform, Winograd,
};
use quant::tune::TuneOptions;

use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::images::PreprocessArgs;
use crate::net::SUMMARY;
use crate::out::TRAINING;
use crate::purpose::PurposeArgs;
use crate::source::OutputArg;
use crate::training::{Place, TrainingArgs, digest};
use crate::units::{self, BitCount};

/// What `pq tune` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The network, an ONNX file: it is the teacher, and where training starts.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArg,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Another network to learn from, an ONNX file: where MODEL was reshaped, what it was before.
    #[arg(long, value_name = "MODEL")]
    pub(crate) teacher: Option<PathBuf>,
    #[command(flatten)]
    goal: Goal,
    /// Widths of the first and last layer beside --fixed: same, or wNaM [default: w8a8].
    #[arg(long, value_name = "same|wNaM", requires = "fixed")]
    first_last: Option<FirstAndLast>,
    /// How far an integer of up to four bits moves in a step, about, where the rate is highest;
    /// each bit more doubles it.
    #[arg(long, value_name = "RATE", default_value_t = 0.012, value_parser = units::rate)]
    rate: f32,
    /// What a bit less of all accumulators is worth, in nats of the loss, from half of the steps
    /// on: narrower ones move fewer bits.
    #[arg(long, value_name = "NATS", default_value_t = 0.0, value_parser = worth)]
    narrow: f32,
    /// Which 3x3 convolutions become requantized Winograd, whose weights are then trained in its
    /// domain: exact (none), auto (those that lose nothing before training) or always (all that it
    /// suits); +N gives their weights N bits more.
    #[arg(long, value_name = "exact|auto[+N]|always[+N]", default_value = "exact")]
    winograd: Winograd,
    #[command(flatten)]
    pub(crate) purpose: PurposeArgs,
    /// The folder to write plan.json, weights.safetensors, search.json, hints and the state of the
    /// training into.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Write into the folder even if it holds what pq tune has not written there.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) preprocess: PreprocessArgs,
}

/// Which widths are trained.
#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Goal {
    /// Widths of weights and activations of all layers, such as w3a3.
    #[arg(long, value_name = "wNaM")]
    fixed: Option<Uniform>,
    /// The most bits that one inference may move, in both directions (2G, 400M): widths of the
    /// least loss within it, or the protocols of the widths that are given.
    #[arg(long, value_name = "BITS")]
    budget_bits: Option<BitCount>,
    /// The most seconds that one inference may take on the link, likewise.
    #[arg(long, value_name = "SECONDS", value_parser = units::positive)]
    budget_seconds: Option<f64>,
    /// Widths of another network of the same layers: a folder that search or tune has written.
    #[arg(long, value_name = "NET", conflicts_with = "fixed")]
    widths: Option<PathBuf>,
}

/// The part of a network's summary that has its widths.
#[derive(serde::Deserialize)]
struct Widths {
    layers: Vec<LayerWidths>,
}

impl Goal {
    /// The file that widths are read from, where that is asked for.
    fn summary(&self) -> Option<PathBuf> {
        self.widths.as_ref().map(|net| net.join(SUMMARY))
    }

    /// All of it that the result depends on.
    fn line(&self) -> Outcome<String> {
        let mut parts = Vec::new();
        if let Some(Uniform { weight_bits, activation_bits }) = self.fixed {
            parts.push(format!("--fixed w{weight_bits}a{activation_bits}"));
        }
        // What is in the file counts, not where it is.
        if let Some(summary) = self.summary() {
            parts.push(format!("--widths {}", digest(&summary)?));
        }
        if let Some(BitCount(bits)) = self.budget_bits {
            parts.push(format!("--budget-bits {bits}"));
        }
        if let Some(seconds) = self.budget_seconds {
            parts.push(format!("--budget-seconds {seconds}"));
        }
        Ok(parts.join(" "))
    }
}

impl Args {
    pub(super) fn options(&self) -> SearchOptions {
        SearchOptions {
            fixed: self.goal.fixed,
            budget_bits: self.goal.budget_bits.map(|BitCount(bits)| bits),
            budget_seconds: self.goal.budget_seconds,
            ends: self.first_last.unwrap_or_default(),
            winograd: self.winograd,
            seed: self.training.seed,
            ..self.purpose.search()
        }
    }

    pub(super) fn tuning(&self) -> TuneOptions {
        let (rate, narrow) = (self.rate, self.narrow);
        TuneOptions { rate, narrow, ..self.training.options() }
    }

    /// The network to learn from, where it is another one.
    ///
    /// # Errors
    /// It cannot be imported.
    pub(super) fn teacher(&self, console: &Console) -> Outcome<Option<Model>> {
        self.teacher.as_ref().map(|path| OutputArg::default().import(path, console)).transpose()
    }

    /// What to say of a network that training has taken out of its budget.
    pub(super) fn over(&self, found: &Found) -> Option<String> {
        // Bits are what is promised to others; seconds depend on the machine that predicts them.
        let goal = &self.goal;
        if let Some(BitCount(most)) = goal.budget_bits.filter(|most| found.predicted_bits > most.0)
        {
            return Some(over(&units::bits(most), &units::bits(found.predicted_bits)));
        }
        let most = goal.budget_seconds.filter(|&most| found.predicted_seconds > most)?;
        Some(over(&units::seconds(most), &units::seconds(found.predicted_seconds)))
    }

    /// A training that failed, of this model or of these images.
    pub(super) fn failure(&self, error: SearchError) -> Failure {
        let summary = self.goal.summary().filter(|_| matches!(error, SearchError::Widths(_)));
        let images = error.is_of_images();
        let of_images = images.then_some(&self.training.train[0]);
        Failure::from(error).of_file(summary.as_ref().or(of_images).unwrap_or(&self.model))
    }

    /// The widths of another network, if these are asked for.
    ///
    /// # Errors
    /// Its file cannot be read, or has none.
    pub(super) fn widths(&self) -> Outcome<Option<Vec<LayerWidths>>> {
        let Some(path) = self.goal.summary() else { return Ok(None) };
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let read = text.and_then(|text| {
            serde_json::from_str(&text).map_err(|error| {
                format!("expected widths of layers, as pq search and pq tune write them: {error}")
            })
        });
        let Widths { layers } = read.map_err(|wrong| Failure::input(wrong).of_file(&path))?;
        Ok(Some(layers))
    }

    /// Where the state of the training is, and all that it depends on.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn place(&self) -> Outcome<Place> {
        let mut lines = vec![
            format!("MODEL {}", digest(&self.model)?),
            format!("--output {}", self.output.name().unwrap_or_default()),
            self.goal.line()?,
            format!("--first-last {:?}", self.first_last.unwrap_or_default()),
            format!("--winograd {:?}", self.winograd),
            format!("--rate {}", self.rate),
            format!("--narrow {}", self.narrow),
            format!("--teacher {}", digest(self.teacher.as_ref().unwrap_or(&self.model))?),
            format!("preprocessing {:?}", self.preprocess.preprocess()),
        ];
        lines.extend(self.training.lines()?);
        Ok(Place { path: self.out.join(TRAINING), arguments: lines.join("\n") })
    }
}

fn worth(text: &str) -> Result<f32, String> {
    let number = text.parse::<f32>().ok().filter(|n| *n >= 0.0 && n.is_finite());
    number.ok_or_else(|| "expected a number from 0 on, such as 0.02".into())
}

/// What to say of a network that is over its budget.
fn over(asked: &str, found: &str) -> String {
    format!(
        "training has made accumulators wider, and the network is over its budget: expected at \
         most {asked}, found {found}; give a smaller budget to be within this one"
    )
}
