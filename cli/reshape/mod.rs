//! `pq reshape`: replaces blocks of a network by single convolutions, or makes ReLUs linear or
//! polynomials, and trains it again.

mod args;
mod polynomial;
mod relus;
mod summary;

pub(crate) use args::Args;

use pq::Images;
use quant::Model;
use quant::reshape::{
    IMAGES, LinearizeOptions, Linearizer, PolynomialOptions, Polynomials, ReshapeError, Reshaper,
};
use quant::tune::{Learner, TuneError};

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::progress::Progress;
use crate::training::{Training, accuracies};
use summary::Summary;

/// Runs `pq reshape`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    args.network.prepare(app, &args.training)?;
    let model = args.output.import(&args.model, &app.console)?;
    let test = args.network.test(&model)?;
    let test = test.as_ref();
    if let Some(options) = args.linearize() {
        let summary = linearize(app, args, &model, &options, test)?;
        app.console.result(&summary, relus::Summary::text)?;
    } else if let Some(options) = args.polynomial()? {
        let summary = polynomial(app, args, &model, &options, test)?;
        app.console.result(&summary, polynomial::Summary::text)?;
    } else {
        let summary = reshape(app, args, &model, test)?;
        app.console.result(&summary, Summary::text)?;
    }
    app.console.note(format_args!("written to {}", args.network.out.display()));
    Ok(())
}

/// Reshapes the model and writes what it has become.
fn reshape(app: &App, args: &Args, model: &Model, test: Option<&Images>) -> Outcome<Summary> {
    let lessons = args.training.lessons(model, args.network.preprocess.preprocess(), IMAGES)?;
    let progress = Progress::new();
    let chosen = (&lessons.preprocess, &lessons.first);
    let mut reshaper = Reshaper::new(model, chosen, lessons.source(), &args.options(), &mut |at| {
        progress.search(at);
    })
    .map_err(|error| args.failure(error))?;
    let training = learn(app, args, (reshaper.learner(), &model.name), &progress)?;
    let accuracies = accuracies([model, reshaper.model()], test)?;
    let bytes = args.network.write(app, reshaper.model())?;
    let saving = args.options().saving;
    let at = (args.network.out.as_path(), bytes);
    Ok(Summary::new(at, saving, model, (&reshaper, training), accuracies))
}

/// Makes ReLUs of the model linear and writes what it has become.
fn linearize(
    app: &App,
    args: &Args,
    model: &Model,
    options: &LinearizeOptions,
    test: Option<&Images>,
) -> Outcome<relus::Summary> {
    let lessons = args.training.lessons(model, args.network.preprocess.preprocess(), IMAGES)?;
    let chosen = (&lessons.preprocess, &lessons.first);
    let mut linearizer = Linearizer::new(model, chosen, lessons.source(), options)
        .map_err(|error| args.failure(error))?;
    let progress = Progress::new();
    let training = learn(app, args, (linearizer.learner(), &model.name), &progress)?;
    let changed = linearizer.model();
    let accuracies = accuracies([model, &changed], test)?;
    let bytes = args.network.write(app, &changed)?;
    let (at, models) = ((args.network.out.as_path(), bytes), (model, &changed));
    relus::Summary::new(at, options.by, models, (&linearizer, training), accuracies)
        .map_err(|error| args.failure(error))
}

/// Makes ReLUs of the model polynomials and writes what it has become.
fn polynomial(
    app: &App,
    args: &Args,
    model: &Model,
    options: &PolynomialOptions,
    test: Option<&Images>,
) -> Outcome<polynomial::Summary> {
    let lessons = args.training.lessons(model, args.network.preprocess.preprocess(), IMAGES)?;
    let progress = Progress::new();
    let chosen = (&lessons.preprocess, &lessons.first);
    let mut polynomials = Polynomials::new(model, chosen, lessons.source(), options, &mut |at| {
        progress.search(at);
    })
    .map_err(|error| args.failure(error))?;
    let training = learn(app, args, (polynomials.learner(), &model.name), &progress)?;
    let accuracies = accuracies([model, polynomials.model()], test)?;
    let bytes = args.network.write(app, polynomials.model())?;
    let at = (args.network.out.as_path(), bytes);
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

impl From<ReshapeError> for Failure {
    fn from(error: ReshapeError) -> Self {
        Self::input(error)
    }
}
