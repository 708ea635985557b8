use model::{Dataset, Preprocess};

use super::*;
use crate::testing::residual_network;

fn options(start: Start) -> DistillOptions {
    let training = TuneOptions {
        steps: 24,
        batch: 16,
        crop: 1,
        held_back: 20,
        seed: 3,
        ..TuneOptions::default()
    };
    DistillOptions { start, training, rate: 2e-3 }
}

fn noise() -> Dataset {
    Dataset::noise(200, [3, 8, 8], 5)
}

fn distiller<'a>(
    model: &Model,
    teacher: &Model,
    data: &'a Dataset,
    options: &DistillOptions,
) -> Distiller<'a> {
    let source = Source::new(vec![(data, 0..data.len())], &Preprocess::Unit);
    Distiller::new(model, teacher, source, options).unwrap()
}

fn run(mut distiller: Distiller<'_>, until: u64, threads: usize) -> (Vec<u8>, Model) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        while distiller.learner().progress().step < until {
            distiller.learner().step().unwrap();
        }
    });
    (distiller.learner().state(), distiller.model().clone())
}

#[test]
fn interrupted_and_resumed_on_other_cores_it_ends_with_the_same_bytes() {
    let (model, data, options) = (residual_network(), noise(), options(Start::Random));
    let start = || distiller(&model, &model, &data, &options);
    let (whole, network) = run(start(), 24, 1);
    let (half, _) = run(start(), 11, 2);
    let mut resumed = start();
    resumed.learner().restore(&half).unwrap();
    assert_eq!(run(resumed, 24, 2), (whole.clone(), network.clone()));
    let training = TuneOptions { seed: 4, ..options.training };
    let other = distiller(&model, &model, &data, &DistillOptions { training, ..options });
    assert_ne!(run(other, 24, 1).0, whole);
    assert_eq!(model::import(&model::onnx::export(&network)).unwrap(), network);
}

#[test]
fn it_starts_from_what_is_there_or_from_nothing() {
    let (model, data) = (residual_network(), noise());
    let as_is = distiller(&model, &model, &data, &options(Start::AsIs));
    assert_eq!(*as_is.model(), model);
    let random = distiller(&model, &model, &data, &options(Start::Random));
    for ((node, known), (_, drawn)) in model.layers().zip(random.model().layers()) {
        assert_eq!(known.geometry, drawn.geometry);
        assert_ne!(known.weight, drawn.weight, "{node}");
        assert!(drawn.bias.iter().all(|&bias| bias == 0.0));
    }
}

#[test]
fn a_network_that_knows_nothing_learns_from_its_teacher() {
    let (model, data) = (residual_network(), noise());
    let training = TuneOptions { steps: 200, ..options(Start::Random).training };
    let options = DistillOptions { training, ..options(Start::Random) };
    let mut distiller = distiller(&model, &model, &data, &options);
    let mut losses = Vec::new();
    distiller.learner().learn(&mut |at| losses.push(at.loss)).unwrap();
    assert!(losses[199] < 0.5 * losses[0], "{} {}", losses[0], losses[199]);
}

#[test]
fn a_teacher_of_something_else_is_refused() {
    let (model, data) = (residual_network(), noise());
    let mut teacher = model.clone();
    teacher.input = [4, 8, 8];
    let source = Source::new(vec![(&data, 0..data.len())], &Preprocess::Unit);
    let error = Distiller::new(&model, &teacher, source, &options(Start::AsIs));
    let error = error.err().unwrap().to_string();
    assert!(error.contains("takes [4, 8, 8]") && error.contains("expected [3, 8, 8]"), "{error}");
    let source = Source::new(Vec::new(), &Preprocess::Unit);
    let error = Distiller::new(&model, &model, source, &options(Start::AsIs)).err().unwrap();
    assert!(error.to_string().contains("no training image"), "{error}");
}
