//! `pq train`: trains a network of floats, with another one as its teacher.

mod args;
mod summary;

pub(crate) use args::Args;

use quant::Model;
use quant::distill::Distiller;
use quant::tune::TuneError;

use crate::context::App;
use crate::exit::Outcome;
use crate::progress::Progress;
use crate::source::OutputArg;
use crate::training::{Training, accuracies};
use summary::{Network, Summary};

/// Images that are read before the training reads its own: a file that does not fit is told early.
const READ: usize = 1;

/// Runs `pq train`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    args.network.prepare(app, &args.training)?;
    let model = args.output.import(&args.model, &app.console)?;
    let teacher = OutputArg::default().import(&args.teacher, &app.console)?;
    let summary = train(app, args, &model, &teacher)?;
    app.console.result(&summary, Summary::text)?;
    app.console.note(format_args!("written to {}", args.network.out.display()));
    Ok(())
}

/// Trains the model and writes what it has become.
fn train(app: &App, args: &Args, model: &Model, teacher: &Model) -> Outcome<Summary> {
    let test = args.network.test(model)?;
    let lessons = args.training.lessons(model, args.network.preprocess.preprocess(), READ)?;
    let distiller = Distiller::new(model, teacher, lessons.source(), &args.options());
    let mut distiller = distiller.map_err(|error| args.failure(&error))?;
    // Not the model where weights are drawn anew: what is told is what the training began with.
    let start = distiller.model().clone();
    let (place, failure) = (args.place()?, |error: TuneError| args.failure(&error));
    let progress = Progress::new();
    args.training.learn(app, &place, distiller.learner(), &failure, &progress)?;
    let training = Training::of(distiller.learner());
    args.training.write_report(app, &training, &model.name)?;
    progress.waiting("accuracies");
    let models = [teacher, &start, distiller.model()];
    let accuracies = accuracies(models, test.as_ref())?;
    let bytes = args.network.write(app, distiller.model())?;
    let networks = std::array::from_fn(|at| Network::new(models[at], accuracies[at]));
    let at = (args.network.out.as_path(), bytes);
    Ok(Summary::new(at, &args.options(), networks, training))
}
