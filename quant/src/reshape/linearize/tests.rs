use model::Dataset;
use model::float::evaluate;
use protocols::steps::{Linearized, Requant};

use super::*;
use crate::search::uniform_plan;
use crate::testing::{TRAINING, residual_network};

fn options(keep: f64, by: Granularity) -> LinearizeOptions {
    let training = TuneOptions { steps: 40, ..TRAINING };
    LinearizeOptions { keep, by, training, ..LinearizeOptions::default() }
}

fn noise() -> Dataset {
    Dataset::noise(200, [3, 8, 8], 5)
}

fn linearizer<'a>(
    model: &Model,
    data: &'a Dataset,
    options: &LinearizeOptions,
) -> Result<Linearizer<'a>, ReshapeError> {
    let images = data.batch(0..32, &Preprocess::Unit).unwrap();
    let source = Source::new(vec![(data, 0..data.len())], &Preprocess::Unit);
    Linearizer::new(model, (&Preprocess::Unit, &images), source, options)
}

fn run(mut linearizer: Linearizer<'_>, until: u64, threads: usize) -> (Vec<u8>, Model) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        while linearizer.learner().progress().step < until {
            linearizer.learner().step().unwrap();
        }
    });
    (linearizer.learner().state(), linearizer.model())
}

#[test]
fn interrupted_and_resumed_on_other_cores_it_ends_with_the_same_bytes() {
    let (model, data) = (residual_network(), noise());
    let options = options(0.5, Granularity::Pixel);
    let start = || linearizer(&model, &data, &options).unwrap();
    let (whole, network) = run(start(), 40, 1);
    // In the search for ReLUs, on the way to what it found, and behind it.
    for until in [11, 18, 30] {
        let (part, _) = run(start(), until, 3);
        let mut resumed = start();
        resumed.learner().restore(&part).unwrap();
        assert_eq!(run(resumed, 40, 2), (whole.clone(), network.clone()), "{until}");
    }
    assert_eq!(model::import(&model::onnx::export(&network)).unwrap(), network);
}

#[test]
fn as_many_relus_are_kept_as_there_may_be_at_every_granularity() {
    let (model, data) = (residual_network(), noise());
    let all = model.relus();
    for (by, keep) in [
        (Granularity::Pixel, 0.3),
        (Granularity::Channel, 0.5),
        (Granularity::Layer, 0.7),
        (Granularity::Pixel, 0.0),
        (Granularity::Pixel, 1.0),
    ] {
        let mut linearizer = linearizer(&model, &data, &options(keep, by)).unwrap();
        while !linearizer.learner().is_done() {
            linearizer.learner().step().unwrap();
        }
        let found = linearizer.model();
        found.check().unwrap();
        let most = (keep * all as f64).floor() as u64;
        // What is left of the room is less than the largest group.
        let room = match by {
            Granularity::Pixel => 0,
            Granularity::Channel => 63,
            Granularity::Layer => 511,
        };
        let relus = found.relus();
        assert!(relus <= most && most <= relus + room, "{by} {keep}: {relus} of {most}");
        let reports = linearizer.relus();
        assert_eq!(reports.iter().map(|report| report.kept as u64).sum::<u64>(), relus);
        for report in &reports {
            let whole = report.kept == 0 || report.kept == report.relus;
            assert!(whole || by != Granularity::Layer, "{report:?}");
        }
    }
}

#[test]
fn a_trained_network_is_what_was_trained_and_runs_with_linear_elements_below_zero() {
    let (model, data) = (residual_network(), noise());
    let mut linearizer = linearizer(&model, &data, &options(0.4, Granularity::Pixel)).unwrap();
    while !linearizer.learner().is_done() {
        linearizer.learner().step().unwrap();
    }
    let found = linearizer.model();
    let images = data.batch(100..116, &Preprocess::Unit).unwrap();
    let trained = linearizer.training.outputs(&images.data);
    let evaluated = evaluate(&found, &images).unwrap().data;
    let largest = evaluated.iter().fold(0.0f32, |most, value| value.abs().max(most));
    let far = trained.iter().zip(&evaluated).find(|(a, b)| (*a - *b).abs() > 1e-4 * largest);
    assert_eq!(far, None);
    let options = LinearizeOptions::default().prices;
    let plan = uniform_plan(&found, &Preprocess::Unit, &images, &options).unwrap();
    let masks: Vec<&Linearized> = plan
        .steps
        .iter()
        .filter_map(|step| step.op.get::<Requant>()?.linearized.as_ref())
        .collect();
    let kept: usize = masks.iter().map(|linearized| linearized.kept.count()).sum();
    assert!(!masks.is_empty() && kept as u64 <= found.relus(), "{masks:?}");
    assert!(masks.iter().any(|linearized| linearized.below > 0), "{masks:?}");
    // ReLUs are in the requantizations, of which there are as many.
    let [before, after] = linearizer.prices().unwrap();
    assert_eq!(before.nonlinear_steps, after.nonlinear_steps);
}

#[test]
fn what_cannot_be_done_is_said() {
    let (mut model, data) = (residual_network(), noise());
    let error = linearizer(&model, &data, &options(1.5, Granularity::Pixel)).err().unwrap();
    assert!(error.to_string().contains("from 0 to 1, found 1.5"), "{error}");
    for node in &mut model.nodes {
        if let Op::Relu { max } = &mut node.op {
            *max = Some(6.0);
        }
    }
    let error = linearizer(&model, &data, &options(0.5, Granularity::Pixel)).err().unwrap();
    assert!(error.to_string().contains("found none"), "{error}");
}
