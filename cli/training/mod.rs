//! What commands that train have in common: their images, their arguments, the way from the first
//! step to the last, and networks of floats that they write.

mod curve;
mod drawing;
mod network;
mod state;

pub(crate) use curve::Training;
pub(crate) use network::{NetworkArgs, accuracies, written};
pub(crate) use state::Place;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quant::tune::{Learner, Source, TuneError, TuneOptions, steps_of};
use quant::{Dataset, Model, Preprocess, Tensor};

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::out;
use crate::progress::Progress;
use crate::units;

/// The time between two states on the disk.
const KEPT: Duration = Duration::from_secs(60);
/// The most steps: days of work.
const MAX_STEPS: u64 = 10_000_000;
/// Steps that --minutes measures before it settles their number.
const TIMED: u64 = 20;

/// What a training is given.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct TrainingArgs {
    /// Images to learn from: CIFAR records, IDX, .npy or .npz, also gzipped. Their labels are
    /// learned from too, where a file has any.
    #[arg(long, value_name = "FILE,..", value_delimiter = ',', required = true)]
    pub(crate) train: Vec<PathBuf>,
    /// Batches of 64 images to learn from; 0 leaves the start as it is.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u64).range(..=MAX_STEPS),
    )]
    steps: u64,
    /// As many steps as take about so many minutes, by a measurement of the first 20.
    #[arg(long, value_name = "M", conflicts_with = "steps", value_parser = units::positive)]
    minutes: Option<f64>,
    /// The most rows and columns that an image is moved.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8))]
    crop: u8,
    /// Mirror no image: for digits and letters.
    #[arg(long)]
    no_flip: bool,
    /// The most of another image that is mixed into each one, from 0 to 1.
    #[arg(long, value_name = "PART", default_value_t = 0.0, value_parser = units::part)]
    mix: f64,
    /// Images to hold back, at most a tenth of all: nothing is learned from them, and what the
    /// network says of them on the way is reported.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    validate: u32,
    /// A page with the curves of the training to write: HTML.
    #[arg(long, value_name = "HTML")]
    report: Option<PathBuf>,
    /// Seed of everything random in the training.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Go on where an interrupted training with the same arguments ended: it is kept beside what
    /// --out names, every minute.
    #[arg(long)]
    pub(crate) resume: bool,
}

/// Images to learn from, and the first of them.
pub(crate) struct Lessons {
    pub(crate) preprocess: Preprocess,
    /// Preprocessed.
    pub(crate) first: Tensor,
    data: Vec<Dataset>,
}

impl Lessons {
    /// All images of all files.
    pub(crate) fn source(&self) -> Source<'_> {
        let files = self.data.iter().map(|data| (data, 0..data.len())).collect();
        Source::new(files, &self.preprocess)
    }
}

impl TrainingArgs {
    /// Opens the files, for the inputs of a model; the first `count` images are read.
    pub(crate) fn lessons(
        &self,
        model: &Model,
        preprocess: Preprocess,
        count: usize,
    ) -> Outcome<Lessons> {
        let mut data = Vec::with_capacity(self.train.len());
        for path in &self.train {
            data.push(Dataset::open(path, None, model.interface())?);
        }
        let first = data[0].batch(0..data[0].len().min(count), &preprocess)?;
        Ok(Lessons { preprocess, first, data })
    }

    pub(crate) fn options(&self) -> TuneOptions {
        TuneOptions {
            steps: self.steps,
            crop: self.crop.into(),
            flip: !self.no_flip,
            mix: self.mix as f32,
            held_back: self.validate as usize,
            seed: self.seed,
            ..TuneOptions::default()
        }
    }

    /// All of it that the result depends on, a line an argument: files by the digest of their
    /// bytes.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn lines(&self) -> Outcome<Vec<String>> {
        let steps = match self.minutes {
            Some(minutes) => format!("--minutes {minutes}"),
            None => format!("--steps {}", self.steps),
        };
        let mut lines = vec![
            steps,
            format!("--crop {}", self.crop),
            format!("--no-flip {}", self.no_flip),
            format!("--mix {}", self.mix),
            format!("--validate {}", self.validate),
            format!("--seed {}", self.seed),
        ];
        for path in &self.train {
            lines.push(format!("--train {}", digest(path)?));
        }
        Ok(lines)
    }

    /// Makes sure that the page can be written, before any work starts.
    ///
    /// # Errors
    /// It cannot be written or is there already, or --report names none.
    pub(crate) fn can_report(&self, app: &App, force: bool) -> Outcome<()> {
        let Some(path) = &self.report else { return Ok(()) };
        name_of("--report", path)?;
        out::file(app, path, force || self.resume)
    }

    /// Writes the page of a training that is done, where one is wanted.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write_report(
        &self,
        app: &App,
        training: &Training,
        network: &str,
    ) -> Outcome<()> {
        let Some(path) = &self.report else { return Ok(()) };
        let page = training.page(network);
        let file = files::secret(name_of("--report", path)?, page.as_bytes());
        files::write_together(&app.cleanup, files::folder_of(path), &[file])?;
        app.console.note(format_args!("the training's curves: {}", path.display()));
        Ok(())
    }

    /// Goes on to the last step, from the beginning or from where another process was interrupted.
    pub(crate) fn learn(
        &self,
        app: &App,
        place: &Place,
        learner: &mut dyn Learner,
        failure: &dyn Fn(TuneError) -> Failure,
        progress: &Progress,
    ) -> Outcome<()> {
        let kept = if self.resume { place.read()? } else { None };
        let steps = kept.as_deref().and_then(steps_of);
        match (self.minutes, steps) {
            (Some(_), Some(steps)) => learner.plan(steps),
            (Some(minutes), None) => {
                let steps = timed(learner, minutes, progress).map_err(failure)?;
                progress.note(format_args!("{steps} steps in {minutes} minutes"));
                learner.plan(steps);
            }
            (None, _) => {}
        }
        if let Some(kept) = kept {
            learner.restore(&kept).map_err(failure)?;
        }
        let mut kept = Instant::now();
        while !learner.is_done() {
            learner.step().map_err(failure)?;
            let at = learner.progress();
            // A message of its own would be a new phase: the loss is told with what is kept.
            progress.set("training", at.step as usize, at.of as usize);
            if learner.is_done() || kept.elapsed() >= KEPT {
                place.write(app, &learner.state())?;
                progress.note(format_args!("step {}: loss {:.4}", at.step, at.loss));
                kept = Instant::now();
            }
        }
        Ok(())
    }
}

/// The steps that so many minutes have room for. It leaves the training where it was.
fn timed(learner: &mut dyn Learner, minutes: f64, progress: &Progress) -> Result<u64, TuneError> {
    let start = learner.state();
    let begun = Instant::now();
    for step in 0..TIMED {
        progress.set("timing", step as usize, TIMED as usize);
        learner.step()?;
    }
    let seconds = begun.elapsed().as_secs_f64() / TIMED as f64;
    // The steps that were timed are taken again, so that a minute more or less changes their number
    // alone.
    learner.restore(&start)?;
    Ok(((60.0 * minutes / seconds) as u64).clamp(1, MAX_STEPS))
}

/// The name of a file that an option asks for.
fn name_of<'p>(option: &str, path: &'p Path) -> Outcome<&'p str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| Failure::usage(format_args!("{option} has to name a file")))
}

/// The digest of a file's bytes.
pub(crate) fn digest(path: &Path) -> Outcome<String> {
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::input(format_args!("cannot read {}: {error}", path.display())))?;
    Ok(quant::search::digest(&bytes))
}
