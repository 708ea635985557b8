//! `pq tune`: trains the integers of a network, and writes it as `pq search` does.

mod args;
mod state;

pub(crate) use args::Args;

use std::time::{Duration, Instant};

use protocols::plan::Plan;
use quant::search::{self, Images, Prepared};
use quant::tune::Tuner;

use crate::context::App;
use crate::exit::Outcome;
use crate::net::{self, Net};
use crate::out::{self, Writer};
use crate::progress::Progress;
use crate::search::Summary;

/// The time between two states on the disk.
const KEPT: Duration = Duration::from_secs(60);

/// Runs `pq tune`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let (summary, plan) = tune(app, args)?;
    app.console.result(&summary, |summary| summary.text(&plan))?;
    app.console.note(format_args!("written to {}", args.out.display()));
    Ok(())
}

fn tune(app: &App, args: &Args) -> Outcome<(Summary, Plan)> {
    let _kept = out::folder(app, &args.out, Writer::Tune, args.force)?;
    let input = args.input(&app.console)?;
    let (options, training) = (args.options(), args.training());
    let images = Images { batch: &input.batch, labels: None, held_back: None };
    let progress = Progress::new();
    let told = &mut |at: search::Progress| progress.search(at);
    let model = search::equalized(&input.model, &input.batch);
    let model = model.map_err(|error| args.failure(error.into()))?;
    let prepared = Prepared::new(&model, &input.preprocess, &images, &options, None, told);
    let prepared = prepared.map_err(|error| args.failure(error))?;
    let tuner = prepared.tuner(&options, input.source(), &training, told);
    let mut tuner = tuner.map_err(|error| args.failure(error))?;
    learn(app, args, &mut tuner, &progress)?;
    let mut found = prepared.tuned(&options, &tuner, told).map_err(|error| args.failure(error))?;
    let hints = found.make_hints()?;
    let summary = Summary::new(&found);
    drop(progress);
    summary.warn(&app.console);
    let (plan, weights, hints) = (&found.plan, &found.weights, hints.as_ref());
    net::write(app, &args.out, Net { plan, weights, hints }, &summary)?;
    Ok((summary, found.plan))
}

/// Goes on to the last step, from the beginning or from where another process was interrupted.
fn learn(app: &App, args: &Args, tuner: &mut Tuner<'_>, progress: &Progress) -> Outcome<()> {
    let fingerprint = args.fingerprint()?;
    if args.resume {
        state::read(args, &fingerprint, tuner)?;
    }
    let mut kept = Instant::now();
    while !tuner.is_done() {
        tuner.step().map_err(|error| args.failure(error.into()))?;
        let at = tuner.progress();
        // A message of its own would be a new phase: the loss is told with what is kept.
        progress.set("training", at.step as usize, at.of as usize);
        if tuner.is_done() || kept.elapsed() >= KEPT {
            state::write(app, args, &fingerprint, tuner)?;
            progress.note(format_args!("step {}: loss {:.4}", at.step, at.loss));
            kept = Instant::now();
        }
    }
    Ok(())
}
