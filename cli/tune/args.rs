//! What `pq tune` is given.

use std::path::{Path, PathBuf};

use quant::search::{FirstAndLast, SearchError, SearchOptions, Uniform};
use quant::tune::{Source, TuneOptions};
use quant::{Dataset, Model, Preprocess, Tensor};

use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::images::PreprocessArgs;
use crate::purpose::PurposeArgs;
use crate::source::OutputArg;

/// The most steps: days of work.
const MAX_STEPS: u64 = 10_000_000;

/// What `pq tune` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The network, an ONNX file: it is the teacher, and where training starts.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArg,
    /// Images to learn from: CIFAR records, IDX, .npy or .npz, also gzipped. Their labels are
    /// learned from too, where a file has any.
    #[arg(long, value_name = "FILE,..", value_delimiter = ',', required = true)]
    pub(crate) train: Vec<PathBuf>,
    /// Widths of weights and activations of all layers, such as w3a3.
    #[arg(long, value_name = "wNaM")]
    pub(crate) fixed: Uniform,
    /// Widths of the first and last layer: same, or wNaM [default: w8a8].
    #[arg(long, value_name = "same|wNaM")]
    pub(crate) first_last: Option<FirstAndLast>,
    /// Batches of 64 images to learn from; 0 writes what pq search finds.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u64).range(..=MAX_STEPS),
    )]
    pub(crate) steps: u64,
    /// The most rows and columns that an image is moved.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8))]
    pub(crate) crop: u8,
    /// Mirror no image: for digits and letters.
    #[arg(long)]
    pub(crate) no_flip: bool,
    #[command(flatten)]
    pub(crate) purpose: PurposeArgs,
    /// Seed of everything random in the training.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Go on where an interrupted training with the same arguments ended: it is kept in the folder
    /// of --out every minute.
    #[arg(long)]
    pub(crate) resume: bool,
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

/// What is trained: the network and the images.
pub(super) struct Input {
    pub(super) model: Model,
    pub(super) preprocess: Preprocess,
    /// The first images, which calibrate.
    pub(super) batch: Tensor,
    data: Vec<Dataset>,
}

impl Input {
    /// All images of all files.
    pub(super) fn source(&self) -> Source<'_> {
        let files = self.data.iter().map(|data| (data, 0..data.len())).collect();
        Source::new(files, &self.preprocess)
    }
}

impl Args {
    pub(super) fn input(&self, console: &Console) -> Outcome<Input> {
        let model = self.output.import(&self.model, console)?;
        let mut data = Vec::with_capacity(self.train.len());
        for path in &self.train {
            data.push(Dataset::open(path, None, model.interface())?);
        }
        let preprocess = self.preprocess.preprocess();
        let batch = data[0].batch(0..data[0].len().min(pq::CALIBRATION), &preprocess)?;
        Ok(Input { model, preprocess, batch, data })
    }

    pub(super) fn options(&self) -> SearchOptions {
        let purpose = self.purpose.purpose();
        SearchOptions {
            fixed: Some(self.fixed),
            ends: self.first_last.unwrap_or_default(),
            profile: purpose.profile,
            inferences: purpose.inferences,
            extensions: purpose.extensions,
            protocols: purpose.protocols,
            batch: purpose.batch,
            seed: self.seed,
            ..SearchOptions::default()
        }
    }

    pub(super) fn training(&self) -> TuneOptions {
        TuneOptions {
            steps: self.steps,
            crop: self.crop.into(),
            flip: !self.no_flip,
            seed: self.seed,
            ..TuneOptions::default()
        }
    }

    /// A training that failed, of this model or of these images.
    pub(super) fn failure(&self, error: SearchError) -> Failure {
        let images = error.is_of_images();
        Failure::from(error).of_file(if images { &self.train[0] } else { &self.model })
    }
}

impl Args {
    /// All that the result depends on, one line an argument: files by the digest of their bytes.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn fingerprint(&self) -> Outcome<String> {
        let mut lines = vec![
            format!("MODEL {}", digest(&self.model)?),
            format!("--output {}", self.output.name().unwrap_or_default()),
            format!("--fixed w{}a{}", self.fixed.weight_bits, self.fixed.activation_bits),
            format!("--first-last {:?}", self.first_last.unwrap_or_default()),
            format!("--steps {}", self.steps),
            format!("--crop {}", self.crop),
            format!("--no-flip {}", self.no_flip),
            format!("--seed {}", self.seed),
            format!("preprocessing {:?}", self.preprocess.preprocess()),
        ];
        for path in &self.train {
            lines.push(format!("--train {}", digest(path)?));
        }
        Ok(lines.join("\n"))
    }
}

/// The digest of a file's bytes.
fn digest(path: &Path) -> Outcome<String> {
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::input(format_args!("cannot read {}: {error}", path.display())))?;
    Ok(quant::search::digest(&bytes))
}
