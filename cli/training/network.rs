//! What commands have in common that write a trained network of floats.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use pq::Images;
use protocols::printable::Printable;
use quant::{Model, onnx};

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::images::PreprocessArgs;
use crate::out;
use crate::training::{TrainingArgs, name_of};
use crate::units;

/// Where the network is written, and what it is measured by.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct NetworkArgs {
    /// Labeled images to measure accuracies on, before and after; nothing is learned from them.
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// How many of them, from the first.
    #[arg(
        long,
        value_name = "N",
        requires = "test",
        value_parser = clap::value_parser!(u32).range(1..),
    )]
    limit: Option<u32>,
    /// The ONNX file to write; the state of the training is beside it, with .state behind its
    /// name. Both hold weights.
    #[arg(long, value_name = "ONNX")]
    pub(crate) out: PathBuf,
    /// Replace the files if they are there already.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(crate) preprocess: PreprocessArgs,
}

impl NetworkArgs {
    /// Makes sure that the files of a training can be written.
    ///
    /// # Errors
    /// They are there already, or --out names none.
    pub(crate) fn prepare(&self, app: &App, training: &TrainingArgs) -> Outcome<()> {
        self.name()?;
        out::file(app, &self.out, self.force)?;
        // Whoever resumes a training replaces its state alone.
        out::file(app, &self.state(), self.force || training.resume)?;
        training.can_report(app, self.force)
    }

    /// The state of the training, beside what it makes.
    pub(crate) fn state(&self) -> PathBuf {
        let mut name = OsString::from(&self.out);
        name.push(".state");
        name.into()
    }

    /// The images of --test.
    ///
    /// # Errors
    /// They cannot be read, or have no labels.
    pub(crate) fn test(&self, model: &Model) -> Outcome<Option<Images>> {
        let Some(path) = &self.test else { return Ok(None) };
        let images = Images::open(path, model.interface())?;
        let images = images.preprocessed(self.preprocess.preprocess());
        if images.labels().is_none() {
            let missing = "there are no labels in this file or beside it, to measure accuracies by";
            return Err(Failure::input(missing).of_file(path));
        }
        Ok(Some(self.limit.map_or(images.clone(), |limit| images.take(limit as usize))))
    }

    /// Writes the network; its bytes.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, app: &App, model: &Model) -> Outcome<usize> {
        let bytes = onnx::export(model);
        let file = files::secret(self.name()?, &bytes);
        files::write_together(&app.cleanup, files::folder_of(&self.out), &[file])?;
        Ok(bytes.len())
    }

    fn name(&self) -> Outcome<&str> {
        name_of("--out", &self.out)
    }
}

/// The accuracies of networks, where there are images to measure them by.
pub(crate) fn accuracies<const N: usize>(
    models: [&Model; N],
    test: Option<&Images>,
) -> Outcome<[Option<f64>; N]> {
    let mut accuracies = [None; N];
    for (accuracy, model) in accuracies.iter_mut().zip(models) {
        let network = pq::Model::from(model.clone());
        *accuracy = test.map(|images| network.accuracy(images)).transpose()?;
    }
    Ok(accuracies)
}

/// The line that tells where the network is.
pub(crate) fn written(file: &Path, bytes: usize) -> String {
    format!("{}: {}", Printable(file.display()), units::bytes(bytes as u64))
}
