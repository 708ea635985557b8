use model::{Dataset, Mask, Op, Preprocess};

use super::*;
use crate::testing::{TRAINING, residual_network};

/// The network at some widths but for a wide start, and images to train it on.
fn quantized(model: &Model, [weights, activations]: [u8; 2]) -> ((Graph, Weights), Dataset) {
    let data = Dataset::noise(200, model.input, 5);
    let batch = data.batch(0..64, &Preprocess::Unit).unwrap();
    let ranges = crate::quantize::Ranges::default();
    let quantizer =
        crate::quantize::Quantizer::new(model, &Preprocess::Unit, &batch, ranges).unwrap();
    let places = quantizer.activations();
    let mut widths = crate::quantize::BitWidths {
        weight_bits: vec![weights; places.layers.len()],
        activation_bits: vec![activations; places.quantizers.len()],
    };
    (widths.weight_bits[0], widths.activation_bits[0]) = (8, 8);
    (quantizer.finish(&widths, &batch, None, &mut |_, _, _| {}).unwrap(), data)
}

fn source(data: &Dataset) -> Source<'_> {
    Source::new(vec![(data, 40..100), (data, 0..data.len())], &Preprocess::Unit)
}

const OPTIONS: TuneOptions = TuneOptions { held_back: 20, ..TRAINING };

/// Whether the trainer's logits are those of the specification, integer for integer.
fn check_forward(tuner: &mut Tuner<'_>, data: &Dataset) {
    let (graph, weights) = tuner.network().unwrap();
    let wire = *graph.wire(graph.input());
    let images = data.batch(100..140, &Preprocess::Unit).unwrap();
    let mut input = Vec::new();
    source::quantize(&wire, &images.data, &mut input);
    let found = tuner.logits(&input);
    for (image, found) in input.chunks(wire.elements()).zip(found.chunks(5)) {
        let integers: Vec<i64> = image.iter().map(|&v| v as i64).collect();
        let expected = fusion::eval(&graph, &weights, &integers).unwrap();
        let found: Vec<i64> = found.iter().map(|&logit| logit as i64).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn the_trainer_computes_the_integers_of_the_specification_behind_every_step() {
    trains_and_computes(&residual_network());
}

/// Weights in Winograd's domain.
#[test]
fn the_trainer_computes_the_integers_of_winograds_domain() {
    use crate::quantize::{Winograd, requantize};
    use fusion::Kernel;

    let model = residual_network();
    let (network, data) = quantized(&model, [4, 4]);
    let batch = data.batch(0..64, &Preprocess::Unit).unwrap();
    let always: Winograd = "always".parse().unwrap();
    let network = requantize(&model, network, &batch, always, &mut |_, _| ()).unwrap();
    let nodes = network.0.nodes().iter();
    let of_domain = nodes.filter(
        |node| matches!(&node.op, fusion::Op::Linear(linear) if linear.kernel == Kernel::Winograd),
    );
    assert!(of_domain.count() > 1);
    trains(&model, network, &data);
}

/// ReLUs of some elements, whose integers each have their own ends.
#[test]
fn the_trainer_computes_the_integers_of_partly_linear_networks() {
    let mut model = residual_network();
    let mut masked = 0;
    for node in &mut model.nodes {
        if matches!(node.op, Op::Relu { .. }) {
            let elements: usize = node.shape.iter().product();
            let held = (0..elements).map(|at| at * 7 % 5 < 2).collect();
            node.op = Op::PartRelu(Mask::new(held));
            masked += 1;
        }
    }
    assert!(masked > 2);
    trains_and_computes(&model);
}

fn trains_and_computes(model: &Model) {
    let (network, data) = quantized(model, [3, 3]);
    trains(model, network, &data);
}

fn trains(model: &Model, (graph, weights): (Graph, Weights), data: &Dataset) {
    let source = source(data);
    let mut tuner = Tuner::new(model, (&graph, &weights), model, source, OPTIONS).unwrap();
    let untouched = tuner.network().unwrap();
    assert_eq!(untouched.0, graph);
    assert_eq!(untouched.1.layers, weights.layers);
    check_forward(&mut tuner, data);
    while !tuner.learner().is_done() {
        tuner.learner().step().unwrap();
        check_forward(&mut tuner, data);
    }
    assert_ne!(tuner.network().unwrap().1.layers, weights.layers);
}

/// What a network becomes by a whole training, its integers those of the specification.
fn trained(
    model: &Model,
    network: (&Graph, &Weights),
    data: &Dataset,
    options: TuneOptions,
) -> Graph {
    let mut tuner = Tuner::new(model, network, model, source(data), options).unwrap();
    tuner.learner().learn(&mut |_| ()).unwrap();
    check_forward(&mut tuner, data);
    tuner.network().unwrap().0
}

#[test]
fn what_makes_accumulators_narrower_makes_them_so_and_is_exact() {
    let model = residual_network();
    let ((graph, weights), data) = quantized(&model, [3, 3]);
    // Bits of all layers' intervals.
    let reach = |narrow: f32| -> f64 {
        let options = TuneOptions { narrow, steps: 90, rate: 0.015, ..OPTIONS };
        let graph = trained(&model, (&graph, &weights), &data, options);
        let layers = graph.nodes().iter().filter(|node| matches!(node.op, fusion::Op::Linear(_)));
        layers.map(|node| ((node.wire.range.hi - node.wire.range.lo) as f64).log2()).sum()
    };
    let (free, narrow) = (reach(0.0), reach(100.0));
    assert!(narrow < free - 0.5, "{narrow} {free}");
}

/// What a budget counts on: training moves weights far, and all rings are what they were.
#[test]
fn accumulators_that_are_held_stay_in_the_rings_of_the_start_and_are_exact() {
    let model = residual_network();
    let ((graph, weights), data) = quantized(&model, [3, 3]);
    let rings = |graph: &Graph| -> Vec<u32> {
        let plan = fusion::fuse(graph, &fusion::Options::default()).unwrap();
        plan.wires.iter().map(|wire| wire.ring.get()).collect()
    };
    let [held, free] = [true, false].map(|hold| {
        let options = TuneOptions { hold, steps: 90, rate: 0.015, ..OPTIONS };
        rings(&trained(&model, (&graph, &weights), &data, options))
    });
    let start = rings(&graph);
    let wider = |than: &[u32]| than.iter().zip(&start).filter(|(ring, start)| ring > start).count();
    assert!(wider(&free) > 0, "{start:?}: {free:?}");
    assert_eq!(wider(&held), 0, "{start:?}: {held:?}");
}

#[test]
fn interrupted_and_resumed_on_other_cores_it_ends_with_the_same_bytes() {
    let model = residual_network();
    let ((graph, weights), data) = quantized(&model, [3, 3]);
    let source = source(&data);
    let options = TuneOptions { mix: 0.5, ..OPTIONS };
    let start = || Tuner::new(&model, (&graph, &weights), &model, source.clone(), options).unwrap();
    let run = |mut tuner: Tuner<'_>, until: u64, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            while tuner.learner().progress().step < until {
                tuner.learner().step().unwrap();
            }
        });
        tuner.learner().state()
    };
    let whole = run(start(), OPTIONS.steps, 1);
    let half = run(start(), 11, 3);
    let mut resumed = start();
    resumed.learner().restore(&half).unwrap();
    assert_eq!(run(resumed, OPTIONS.steps, 2), whole);
    let others = TuneOptions { seed: 4, ..OPTIONS };
    let mut other = Tuner::new(&model, (&graph, &weights), &model, source, others).unwrap();
    let error = other.learner().restore(&half).unwrap_err().to_string();
    assert!(error.contains("seed: expected 4, found 3"), "{error}");
    assert!(other.learner().restore(&half[1..]).unwrap_err().to_string().contains("bytes"));
}

/// The loss is the divergence from the teacher's logits: with the network itself, whose integers
/// these are, it is small at the start; with another one it is not, and falls.
#[test]
fn another_network_of_the_same_images_and_classes_can_teach() {
    let model = residual_network();
    let ((graph, weights), data) = quantized(&model, [4, 4]);
    let mut teacher = model.clone();
    for node in &mut teacher.nodes {
        if let Op::Conv(conv) = &mut node.op {
            conv.weight.iter_mut().step_by(3).for_each(|weight| *weight = -*weight);
        }
    }
    let start =
        |teacher| Tuner::new(&model, (&graph, &weights), teacher, source(&data), OPTIONS).unwrap();
    let first = |teacher| {
        let mut tuner = start(teacher);
        tuner.learner().step().unwrap();
        tuner.learner().progress().loss
    };
    let [own, other] = [&model, &teacher].map(first);
    assert!(other > 2.0 * own, "{own} {other}");
    let mut tuner = start(&teacher);
    tuner.learner().learn(&mut |_| ()).unwrap();
    let learned = tuner.learner().progress().loss;
    assert!(learned < 0.95 * other, "{other} {learned}");
    teacher.input = [4, 8, 8];
    let error = Tuner::new(&model, (&graph, &weights), &teacher, source(&data), OPTIONS);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("takes [4, 8, 8]") && error.contains("expected [3, 8, 8]"), "{error}");
}

/// Images are held back by their pixels, whatever the order, and the curve is of these.
#[test]
fn held_back_images_are_not_learned_from_and_told_about() {
    let model = residual_network();
    let ((graph, weights), data) = quantized(&model, [3, 3]);
    let whole = held_back(Source::new(vec![(&data, 0..200)], &Preprocess::Unit));
    let parts = vec![(&data, 120..200), (&data, 0..120)];
    assert_eq!(whole, held_back(Source::new(parts, &Preprocess::Unit)));
    let mut tuner = Tuner::new(&model, (&graph, &weights), &model, source(&data), OPTIONS).unwrap();
    tuner.learner().learn(&mut |_| ()).unwrap();
    let learner = tuner.learner();
    // The source has some images twice, and both are held back.
    let twice = OPTIONS.held_back..=2 * OPTIONS.held_back;
    assert!(twice.contains(&learner.held_back()), "{}", learner.held_back());
    let steps: Vec<u64> = learner.curve().iter().map(|point| point.step).collect();
    assert_eq!(steps, (0..=12).map(|look| 2 * look).collect::<Vec<_>>());
    for point in learner.curve() {
        assert!((0.0..=1.0).contains(&point.agreement.unwrap()) && point.loss.is_finite());
        assert_eq!(point.accuracy.is_some(), data.labels().is_some());
    }
}

/// The pixels of thirty images that are held back, which are none of the others'.
fn held_back(source: Source<'_>) -> Vec<Vec<u32>> {
    let count = source.len();
    let (learned, held) = source.hold_back(30).unwrap();
    assert_eq!((learned.len(), held.len()), (count - 30, 30));
    let [learned, held] = [learned, held].map(|part| pixels(&part));
    assert!(held.iter().all(|image| !learned.contains(image)));
    held
}

/// All images, in the order of their pixels.
fn pixels(source: &Source<'_>) -> Vec<Vec<u32>> {
    let images = (0..source.len()).map(|index| {
        let mut image = Vec::new();
        source.image(index, &train::Augmentation::default(), &mut image).unwrap();
        image.into_iter().map(f32::to_bits).collect()
    });
    let mut images: Vec<Vec<u32>> = images.collect();
    images.sort();
    images
}

#[test]
fn images_that_are_the_same_are_on_one_side() {
    let data = Dataset::noise(20, [1, 4, 4], 5);
    let twice = Source::new(vec![(&data, 0..20), (&data, 0..20)], &Preprocess::Unit);
    let (learned, held) = twice.hold_back(3).unwrap();
    assert_eq!((learned.len(), held.len()), (36, 4));
}
