//! What `pq tune` is given.

use std::path::PathBuf;

use quant::search::{FirstAndLast, SearchError, SearchOptions, Uniform};

use crate::exit::{Failure, Outcome};
use crate::images::PreprocessArgs;
use crate::out::TRAINING;
use crate::purpose::PurposeArgs;
use crate::source::OutputArg;
use crate::training::{Place, TrainingArgs, digest};

/// What `pq tune` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The network, an ONNX file: it is the teacher, and where training starts.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArg,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Widths of weights and activations of all layers, such as w3a3.
    #[arg(long, value_name = "wNaM")]
    pub(crate) fixed: Uniform,
    /// Widths of the first and last layer: same, or wNaM [default: w8a8].
    #[arg(long, value_name = "same|wNaM")]
    pub(crate) first_last: Option<FirstAndLast>,
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

impl Args {
    pub(super) fn options(&self) -> SearchOptions {
        SearchOptions {
            fixed: Some(self.fixed),
            ends: self.first_last.unwrap_or_default(),
            seed: self.training.seed,
            ..self.purpose.search()
        }
    }

    /// A training that failed, of this model or of these images.
    pub(super) fn failure(&self, error: SearchError) -> Failure {
        let images = error.is_of_images();
        Failure::from(error).of_file(if images { &self.training.train[0] } else { &self.model })
    }

    /// Where the state of the training is, and all that it depends on.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn place(&self) -> Outcome<Place> {
        let mut lines = vec![
            format!("MODEL {}", digest(&self.model)?),
            format!("--output {}", self.output.name().unwrap_or_default()),
            format!("--fixed w{}a{}", self.fixed.weight_bits, self.fixed.activation_bits),
            format!("--first-last {:?}", self.first_last.unwrap_or_default()),
            format!("preprocessing {:?}", self.preprocess.preprocess()),
        ];
        lines.extend(self.training.lines()?);
        Ok(Place { path: self.out.join(TRAINING), arguments: lines.join("\n") })
    }
}
