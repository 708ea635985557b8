//! `pq reshape`: replaces blocks of a network by single convolutions, or makes ReLUs linear or
//! polynomials, and trains it again.

mod args;
mod polynomial;
mod relus;
mod summary;

pub(crate) use args::Args;

use pq::Images;
use quant::reshape::{
    IMAGES, LinearizeOptions, Linearizer, PolynomialOptions, Polynomials, ReshapeError, Reshaper,
};
use quant::tune::{Learner, TuneError};
use quant::{Model, onnx};

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::out;
use crate::progress::Progress;
use crate::training::Training;
use summary::Summary;

/// Runs `pq reshape`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let name = args.out.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::usage("--out has to name a file"))?;
    out::file(app, &args.out, args.force)?;
    let replaces = args.force || args.training.resume;
    out::file(app, &args::state_of(&args.out), replaces)?;
    args.training.can_report(app, args.force)?;
    let model = args.output.import(&args.model, &app.console)?;
    let test = args.test(&model)?;
    let at = (test.as_ref(), name);
    if let Some(options) = args.linearize() {
        let summary = linearize(app, args, &model, &options, at)?;
        app.console.result(&summary, relus::Summary::text)?;
    } else if let Some(options) = args.polynomial()? {
        let summary = polynomial(app, args, &model, &options, at)?;
        app.console.result(&summary, polynomial::Summary::text)?;
    } else {
        let summary = reshape(app, args, &model, at)?;
        app.console.result(&summary, Summary::text)?;
    }
    app.console.note(format_args!("written to {}", args.out.display()));
    Ok(())
}

/// Reshapes the model and writes what it has become.
fn reshape(
    app: &App,
    args: &Args,
    model: &Model,
    (test, name): (Option<&Images>, &str),
) -> Outcome<Summary> {
    let lessons = args.training.lessons(model, args.preprocess.preprocess(), IMAGES)?;
    let progress = Progress::new();
    let chosen = (&lessons.preprocess, &lessons.first);
    let mut reshaper = Reshaper::new(model, chosen, lessons.source(), &args.options(), &mut |at| {
        progress.search(at);
    })
    .map_err(|error| args.failure(error))?;
    let training = learn(app, args, (reshaper.learner(), &model.name), &progress)?;
    let accuracies = accuracies([model, reshaper.model()], test)?;
    let bytes = write(app, args, reshaper.model(), name)?;
    let saving = args.options().saving;
    Ok(Summary::new((&args.out, bytes), saving, model, (&reshaper, training), accuracies))
}

/// Makes ReLUs of the model linear and writes what it has become.
fn linearize(
    app: &App,
    args: &Args,
    model: &Model,
    options: &LinearizeOptions,
    (test, name): (Option<&Images>, &str),
) -> Outcome<relus::Summary> {
    let lessons = args.training.lessons(model, args.preprocess.preprocess(), IMAGES)?;
    let chosen = (&lessons.preprocess, &lessons.first);
    let mut linearizer = Linearizer::new(model, chosen, lessons.source(), options)
        .map_err(|error| args.failure(error))?;
    let progress = Progress::new();
    let training = learn(app, args, (linearizer.learner(), &model.name), &progress)?;
    let changed = linearizer.model();
    let accuracies = accuracies([model, &changed], test)?;
    let bytes = write(app, args, &changed, name)?;
    let (at, models) = ((args.out.as_path(), bytes), (model, &changed));
    relus::Summary::new(at, options.by, models, (&linearizer, training), accuracies)
        .map_err(|error| args.failure(error))
}

/// Makes ReLUs of the model polynomials and writes what it has become.
fn polynomial(
    app: &App,
    args: &Args,
    model: &Model,
    options: &PolynomialOptions,
    (test, name): (Option<&Images>, &str),
) -> Outcome<polynomial::Summary> {
    let lessons = args.training.lessons(model, args.preprocess.preprocess(), IMAGES)?;
    let progress = Progress::new();
    let chosen = (&lessons.preprocess, &lessons.first);
    let mut polynomials = Polynomials::new(model, chosen, lessons.source(), options, &mut |at| {
        progress.search(at);
    })
    .map_err(|error| args.failure(error))?;
    let training = learn(app, args, (polynomials.learner(), &model.name), &progress)?;
    let accuracies = accuracies([model, polynomials.model()], test)?;
    let bytes = write(app, args, polynomials.model(), name)?;
    let at = (args.out.as_path(), bytes);
    Ok(polynomial::Summary::new(at, options, model, (&polynomials, training), accuracies))
}

/// Goes on to the last step, of a network of a name; what follows are accuracies.
fn learn(
    app: &App,
    args: &Args,
    (learner, name): (&mut dyn Learner, &str),
    progress: &Progress,
) -> Outcome<Training> {
    let failure = |error: TuneError| args.failure(ReshapeError::from(error));
    args.training.learn(app, &args.place()?, learner, &failure, progress)?;
    let training = Training::of(learner);
    args.training.write_report(app, &training, name)?;
    progress.waiting("accuracies");
    Ok(training)
}

/// The accuracies of two networks, where there are images to measure them by.
fn accuracies(models: [&Model; 2], test: Option<&Images>) -> Outcome<[Option<f64>; 2]> {
    let mut accuracies = [None, None];
    for (accuracy, model) in accuracies.iter_mut().zip(models) {
        let network = pq::Model::from(model.clone());
        *accuracy = test.map(|images| network.accuracy(images)).transpose()?;
    }
    Ok(accuracies)
}

/// Writes a network; its bytes.
fn write(app: &App, args: &Args, model: &Model, name: &str) -> Outcome<usize> {
    let bytes = onnx::export(model);
    let file = files::secret(name, &bytes);
    files::write_together(&app.cleanup, files::folder_of(&args.out), &[file])?;
    Ok(bytes.len())
}

impl Args {
    /// The images of --test.
    ///
    /// # Errors
    /// They cannot be read, or have no labels.
    fn test(&self, model: &Model) -> Outcome<Option<Images>> {
        let Some(path) = &self.test else { return Ok(None) };
        let images = Images::open(path, model.interface())?;
        let images = images.preprocessed(self.preprocess.preprocess());
        if images.labels().is_none() {
            let missing = "there are no labels in this file or beside it, to measure accuracies by";
            return Err(Failure::input(missing).of_file(path));
        }
        Ok(Some(self.limit.map_or(images.clone(), |limit| images.take(limit as usize))))
    }
}

impl From<ReshapeError> for Failure {
    fn from(error: ReshapeError) -> Self {
        Self::input(error)
    }
}
