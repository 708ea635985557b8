//! `pq tune`: trains the integers of a network, and writes it as `pq search` does.

mod args;

pub(crate) use args::Args;

use protocols::plan::Plan;
use quant::search::{self, Images, Prepared};
use quant::tune::TuneError;

use crate::context::App;
use crate::exit::Outcome;
use crate::net::{self, Net};
use crate::out::{self, Writer};
use crate::progress::Progress;
use crate::search::Summary;
use crate::training::Training;

/// Runs `pq tune`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let (summary, plan) = tune(app, args)?;
    app.console.result(&summary, |summary| summary.text(&plan))?;
    app.console.note(format_args!("written to {}", args.out.display()));
    Ok(())
}

fn tune(app: &App, args: &Args) -> Outcome<(Summary, Plan)> {
    let _kept = out::folder(app, &args.out, Writer::Tune, args.force)?;
    args.training.can_report(app, args.force)?;
    let input = args.output.import(&args.model, &app.console)?;
    let teacher = args.teacher(&app.console)?;
    let lessons = args.training.lessons(&input, args.preprocess.preprocess(), pq::CALIBRATION)?;
    let (options, training) = (args.options(), args.tuning());
    let widths = args.widths()?;
    let images = Images { batch: &lessons.first, labels: None, held_back: None };
    let progress = Progress::new();
    let told = &mut |at: search::Progress| progress.search(at);
    let model = search::equalized(&input, &lessons.first);
    let model = model.map_err(|error| args.failure(error.into()))?;
    let goal = (&options, widths.as_deref());
    let prepared = Prepared::for_training(&model, &lessons.preprocess, &images, goal, told);
    let prepared = prepared.map_err(|error| args.failure(error))?;
    let tuner = prepared.tuner(teacher.as_ref(), goal, lessons.source(), &training, told);
    let mut tuner = tuner.map_err(|error| args.failure(error))?;
    let (place, failure) = (args.place()?, |error: TuneError| args.failure(error.into()));
    args.training.learn(app, &place, tuner.learner(), &failure, &progress)?;
    let training = Training::of(tuner.learner());
    let mut found = prepared.tuned(&options, &tuner, told).map_err(|error| args.failure(error))?;
    let hints = found.make_hints()?;
    let mut summary = Summary::new(&found);
    summary.training = Some(training.clone());
    drop(progress);
    summary.warn(&app.console);
    if let Some(over) = args.over(&found) {
        app.console.warn(over);
    }
    let (plan, weights, hints) = (&found.plan, &found.weights, hints.as_ref());
    net::write(app, &args.out, Net { plan, weights, hints }, &summary)?;
    args.training.write_report(app, &training, &input.name)?;
    Ok((summary, found.plan))
}
