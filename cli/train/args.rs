//! What `pq train` is given.

use std::path::PathBuf;

use quant::distill::{DistillOptions, Start};
use quant::tune::TuneError;

use crate::exit::{Failure, Outcome};
use crate::source::OutputArg;
use crate::training::{NetworkArgs, Place, TrainingArgs, digest};
use crate::units;

/// What `pq train` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The network, an ONNX file.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArg,
    /// The network to learn from, an ONNX file of the same images and classes.
    #[arg(long, value_name = "MODEL")]
    pub(crate) teacher: PathBuf,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// What weights are at first: as-is, those of the network, or random, drawn anew from the seed.
    #[arg(long, value_name = "as-is|random", default_value = "as-is")]
    start: Start,
    /// How far a weight moves in a step, about, where the rate is highest.
    #[arg(long, value_name = "RATE", default_value_t = 1e-3, value_parser = units::rate)]
    rate: f32,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

impl Args {
    pub(super) fn options(&self) -> DistillOptions {
        let training = self.training.options();
        DistillOptions { start: self.start, training, rate: self.rate }
    }

    /// A training that failed, by the file that it is to be looked for in.
    pub(super) fn failure(&self, error: &TuneError) -> Failure {
        let file = match error {
            TuneError::Teacher { .. } => &self.teacher,
            TuneError::Data(_) | TuneError::NoImages => &self.training.train[0],
            TuneError::Graph(_)
            | TuneError::TooLarge { .. }
            | TuneError::Diverged { .. }
            | TuneError::State { .. } => &self.model,
        };
        Failure::input(error).of_file(file)
    }

    /// Where the state of the training is, and all that it depends on.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn place(&self) -> Outcome<Place> {
        let mut lines = vec![
            format!("MODEL {}", digest(&self.model)?),
            format!("--output {}", self.output.name().unwrap_or_default()),
            format!("--teacher {}", digest(&self.teacher)?),
            format!("--start {}", self.start),
            format!("--rate {}", self.rate),
            format!("preprocessing {:?}", self.network.preprocess.preprocess()),
        ];
        lines.extend(self.training.lines()?);
        Ok(Place { path: self.network.state(), arguments: lines.join("\n") })
    }
}
