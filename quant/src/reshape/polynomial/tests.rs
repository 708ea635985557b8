use model::float::evaluate;
use model::{Conv, Dataset, Function, Geometry, Mask, Op, ValueId, Window};
use protocols::steps::Lookup;

use super::parabola::{Moments, Parabola, Vertex};
use super::surgery::{Form, between, spelled_out};
use super::*;
use crate::reshape::Saving;
use crate::search::uniform_plan;
use crate::testing::{TRAINING, residual_network};

fn noise(images: usize) -> Dataset {
    Dataset::noise(images, [3, 8, 8], 5)
}

fn batch(images: usize) -> Tensor {
    noise(images).batch(0..images, &Preprocess::Unit).unwrap()
}

/// How far the answers of two networks are apart at most, in parts of the largest.
fn apart(model: &Model, other: &Model, images: &Tensor) -> f32 {
    let [one, two] = [model, other].map(|model| evaluate(model, images).unwrap().data);
    let largest = one.iter().fold(0.0f32, |most, value| value.abs().max(most));
    let off = one.iter().zip(&two).map(|(one, two)| (one - two).abs());
    off.fold(0.0, f32::max) / largest
}

/// Different parabolas for the channels, as both forms have them.
fn parabolas(channels: usize) -> (Vec<Vertex>, Vec<Parabola>) {
    let vertices = (0..channels).map(|channel| {
        let at = channel as f64;
        let (square, vertex, least) = (0.1 + 0.05 * at, 0.3 * at - 1.0, 0.2 - 0.07 * at);
        Vertex { square, vertex, least, reach: 2.0 + 0.3 * at }
    });
    let vertices: Vec<Vertex> = vertices.collect();
    let spelled = vertices.iter().map(|&Vertex { square, vertex, least, .. }| Parabola {
        square,
        linear: -2.0 * square * vertex,
        constant: least + square * vertex * vertex,
    });
    let spelled = spelled.collect();
    (vertices, spelled)
}

#[test]
fn a_square_between_layers_is_the_polynomial_that_is_spelled_out() {
    // The last ReLU is pooled without a border, so that both are the same everywhere.
    let (model, images) = (residual_network(), batch(8));
    let relu = 9;
    let form = Form::of(&model, relu);
    assert_eq!(form, Form::Between { writer: 8, readers: Some(vec![11]) });
    let (vertices, spelled) = parabolas(20);
    let found = between(&model, relu, (8, Some(&[11])), &vertices);
    let without = between(&model, relu, (8, None), &vertices);
    let wanted = spelled_out(&model, relu, &spelled);
    for network in [&found, &without, &wanted] {
        network.check().unwrap();
        let written = model::import(&model::onnx::export(network)).unwrap();
        assert_eq!(written, *network);
    }
    assert_eq!(found.nodes.len(), model.nodes.len());
    assert_eq!(without.nodes.len(), model.nodes.len() + 1);
    assert_eq!(wanted.nodes.len(), model.nodes.len() + 3);
    let off = [&found, &without].map(|network| apart(&wanted, network, &images));
    assert!(off.iter().all(|&off| off < 1e-4), "{off:?}");
    assert!(apart(&wanted, &model, &images) > 0.01);
    // A maximum of squares is a maximum of parabolas that open upwards.
    let mut largest = model.clone();
    let Op::AvgPool(window) = largest.nodes[10].op else { unreachable!() };
    largest.nodes[10].op = Op::MaxPool(window);
    assert_eq!(Form::of(&largest, relu), form);
    let wanted = spelled_out(&largest, relu, &spelled);
    assert!(apart(&wanted, &between(&largest, relu, (8, Some(&[11])), &vertices), &images) < 1e-4);
}

#[test]
fn grouped_readers_and_several_behind_a_pooling_get_their_own_channels() {
    let mut model = residual_network();
    // The pooled ReLU is read by a grouped layer as well.
    let grouped =
        Geometry { in_channels: 20, out_channels: 10, groups: 5, ..Geometry::dense(20, 10) };
    let weight = (0..grouped.weights()).map(|at| at as f32 / 10.0 - 1.0).collect();
    let conv = Conv { geometry: grouped, weight, bias: vec![0.1; 10] };
    let push = |model: &mut Model, name: &str, op: Op, inputs: &[usize], shape| {
        let output = ValueId(model.nodes.len() + 1);
        let inputs = inputs.iter().map(|&value| ValueId(value)).collect();
        model.nodes.push(model::Node { name: name.into(), op, inputs, output, shape });
        output.0
    };
    let more = push(&mut model, "grouped", Op::Conv(conv), &[11], [10, 1, 1]);
    let all = push(&mut model, "all", Op::Concat, &[12, more], [15, 1, 1]);
    model.output = ValueId(all);
    model.check().unwrap();
    let form = Form::of(&model, 9);
    assert_eq!(form, Form::Between { writer: 8, readers: Some(vec![11, 12]) });
    let (vertices, spelled) = parabolas(20);
    let found = between(&model, 9, (8, Some(&[11, 12])), &vertices);
    found.check().unwrap();
    assert!(apart(&spelled_out(&model, 9, &spelled), &found, &batch(8)) < 1e-4);
}

#[test]
fn the_form_follows_what_is_around_a_relu() {
    let mut model = residual_network();
    let forms = [1, 3, 6].map(|relu| Form::of(&model, relu));
    // The first is added behind the block, too; the third is behind that sum.
    let expected = [
        Form::Between { writer: 0, readers: None },
        Form::Between { writer: 2, readers: Some(vec![4]) },
        Form::Sum,
    ];
    assert_eq!(forms, expected);
    assert_eq!(forms.map(|form| form.layers()), [1, 0, 2]);
    // Where a layer's result is read elsewhere, its channels are not the polynomials' own.
    model.nodes[5].inputs[1] = ValueId(3);
    model.check().unwrap();
    assert_eq!(Form::of(&model, 3), Form::Sum);
}

fn options(relus: ReluSelection, start: PolynomialStart) -> PolynomialOptions {
    PolynomialOptions { relus, start, training: TRAINING, ..PolynomialOptions::default() }
}

fn polynomials<'a>(
    model: &Model,
    data: &'a Dataset,
    options: &PolynomialOptions,
) -> Result<Polynomials<'a>, ReshapeError> {
    let images = data.batch(0..96, &Preprocess::Unit).unwrap();
    let source = Source::new(vec![(data, 0..data.len())], &Preprocess::Unit);
    Polynomials::new(model, (&Preprocess::Unit, &images), source, options, &mut |_| ())
}

fn run(mut polynomials: Polynomials<'_>, until: u64, threads: usize) -> (Vec<u8>, Model) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        while polynomials.learner().progress().step < until {
            polynomials.learner().step().unwrap();
        }
    });
    (polynomials.learner().state(), polynomials.model().clone())
}

#[test]
fn interrupted_and_resumed_on_other_cores_it_ends_with_the_same_bytes() {
    let (model, data) = (residual_network(), noise(200));
    let options = options(ReluSelection::Count(3), PolynomialStart::LeastSquares);
    let start = || polynomials(&model, &data, &options).unwrap();
    let (whole, network) = run(start(), 24, 1);
    let (half, _) = run(start(), 11, 3);
    let mut resumed = start();
    resumed.learner().restore(&half).unwrap();
    assert_eq!(run(resumed, 24, 2), (whole, network.clone()));
    assert_eq!(model::import(&model::onnx::export(&network)).unwrap(), network);
}

#[test]
fn those_that_lose_least_become_squares_and_least_squares_lose_less_than_the_identity() {
    let (model, data) = (residual_network(), noise(200));
    let [near, far] = [PolynomialStart::LeastSquares, PolynomialStart::NearIdentity]
        .map(|start| polynomials(&model, &data, &options(ReluSelection::Count(2), start)).unwrap());
    assert_eq!(near.relus().len(), 4);
    let loss = |chosen: bool| {
        near.relus().iter().filter(move |report| report.chosen == chosen).map(|report| report.loss)
    };
    assert_eq!(loss(true).count(), 2);
    assert!(loss(true).fold(0.0, f64::max) <= loss(false).fold(f64::INFINITY, f64::min));
    for (near, far) in near.relus().iter().zip(far.relus()) {
        assert!(near.loss < far.loss, "{near:?} {far:?}");
        // A ReLU is in the requantization that is there anyway.
        assert!(near.saved < 0.0, "{near:?}");
        assert!(near.layers == 2 || near.saved > far.saved, "{near:?} {far:?}");
        assert_eq!(far.layers, 2);
    }
    let squares = |model: &Model| {
        let functions = model.nodes.iter().map(|node| &node.op);
        functions.filter(|op| matches!(op, Op::Function(Function::Square))).count()
    };
    assert_eq!((squares(near.model()), squares(far.model())), (2, 2));
    assert_eq!(near.model().relus(), model.relus() - elements(&near));
}

fn elements(polynomials: &Polynomials<'_>) -> u64 {
    let chosen = polynomials.relus().iter().filter(|report| report.chosen);
    chosen.map(|report| report.elements as u64).sum()
}

#[test]
fn polynomials_follow_each_other_and_their_squares_are_tables_of_the_plan() {
    let (model, data) = (residual_network(), noise(200));
    let all: Vec<String> = [1, 3, 6, 9].map(|node| model.nodes[node].name.clone()).into();
    let options = options(ReluSelection::Named(all.clone()), PolynomialStart::LeastSquares);
    let mut polynomials = polynomials(&model, &data, &options).unwrap();
    assert!(polynomials.relus().iter().all(|report| report.chosen), "{:?}", polynomials.relus());
    assert_eq!(polynomials.model().relus(), 0);
    while !polynomials.learner().is_done() {
        polynomials.learner().step().unwrap();
    }
    // What is trained is what is written, and the price is that of a plan with a table each.
    let found = polynomials.model().clone();
    let images = data.batch(100..116, &Preprocess::Unit).unwrap();
    let trained = polynomials.training.outputs(&images.data);
    let evaluated = evaluate(&found, &images).unwrap().data;
    let largest = evaluated.iter().fold(0.0f32, |most, value| value.abs().max(most));
    let far = trained.iter().zip(&evaluated).find(|(a, b)| (*a - *b).abs() > 1e-4 * largest);
    assert_eq!(far, None);
    let prices = PolynomialOptions::default().prices;
    let plan = uniform_plan(&found, &Preprocess::Unit, &images, &prices).unwrap();
    let tables = plan.steps.iter().filter(|step| step.op.get::<Lookup>().is_some()).count();
    assert_eq!(tables, all.len());
    let [before, after] = polynomials.prices();
    assert!(after.nonlinear_steps > before.nonlinear_steps);
}

#[test]
fn those_that_save_are_taken_as_long_as_all_lose_little_together() {
    let (model, data) = (residual_network(), noise(200));
    let table = ActivationPrices {
        relu: [0.0, 3.0],
        square: [0.0, 1.0],
        max_pool: [0.0; 2],
        avg_pool: [0.0; 2],
    };
    let start = |most: f64| {
        let options = PolynomialOptions {
            saving: PolynomialPrices::Table(table),
            ..options(ReluSelection::Saving(most), PolynomialStart::LeastSquares)
        };
        polynomials(&model, &data, &options)
    };
    let all = start(f64::INFINITY).unwrap();
    let relu = |report: &&PolynomialReport| report.becomes == Replacement::Polynomial;
    assert!(all.relus().iter().filter(relu).all(|report| report.chosen));
    // All together lose more than may be lost, so some stay: first those of the dearest rates, and
    // others are passed by where they would be too much.
    let most = 0.99 * all.loss();
    let some = start(most).unwrap();
    assert!(some.loss() <= most, "{}", some.loss());
    for left in some.relus().iter().filter(relu).filter(|report| !report.chosen) {
        let with: Vec<String> = some
            .relus()
            .iter()
            .filter(|report| report.chosen || report.name == left.name)
            .map(|report| report.name.clone())
            .collect();
        let options = options(ReluSelection::Named(with), PolynomialStart::LeastSquares);
        assert!(polynomials(&model, &data, &options).unwrap().loss() > most, "{left:?}");
    }
    assert!(some.relus().iter().any(|report| report.chosen));
    let error = start(1e-12).err().unwrap().to_string();
    assert!(error.contains("no polynomial loses as little as 0.000000000001 nats"), "{error}");
    let refused = |saving: PolynomialPrices| {
        let relus = options(ReluSelection::Saving(1.0), PolynomialStart::LeastSquares);
        let options = PolynomialOptions { saving, ..relus };
        polynomials(&model, &data, &options).err().unwrap().to_string()
    };
    let error = refused(PolynomialPrices::default());
    assert!(error.contains("by the prices of pq: the nearest, of n"), "{error}");
    let even = ActivationPrices { square: table.relu, ..table };
    assert!(refused(PolynomialPrices::Table(even)).contains("0 more; the table says so"));
}

#[test]
fn a_relu_that_is_cut_off_is_fitted_with_its_end() {
    let values: Vec<f32> = (-100..300).map(|at| at as f32 / 20.0).collect();
    let of = |most: f64| Moments::of(values.iter().copied(), |x| x.clamp(0.0, most)).parabola();
    let (cut, open) = (of(6.0), of(f64::INFINITY));
    assert!(cut.square < 0.0 && open.square > 0.0, "{cut:?} {open:?}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let (mut model, data) = (residual_network(), noise(200));
    let refused = |model: &Model, relus: ReluSelection| {
        let options = options(relus, PolynomialStart::LeastSquares);
        polynomials(model, &data, &options).err().unwrap().to_string()
    };
    let error = refused(&model, ReluSelection::Count(5));
    assert!(error.contains("expected at most 4, found 5"), "{error}");
    let error = refused(&model, ReluSelection::Named(vec!["n1".into(), "n2".into()]));
    let known = "no ReLU or pooling is named n2: expected some of n1, n3, n6, n7, n9, n10";
    assert!(error.contains(known), "{error}");
    // One of some elements is none of them.
    model.nodes[3].op = Op::PartRelu(Mask::new((0..512).map(|at| at % 2 == 0).collect()));
    let error = refused(&model, ReluSelection::Named(vec!["n3".into()]));
    assert!(error.contains("expected some of n1, n6, n7, n9, n10"), "{error}");
}

/// The network with its last pooling, of 2x2, an average or a maximum.
fn pooled(op: fn(Window) -> Op) -> Model {
    let mut model = residual_network();
    let Op::AvgPool(window) = model.nodes[10].op else { unreachable!() };
    model.nodes[10].op = op(window);
    model.check().unwrap();
    model
}

#[test]
fn poolings_become_the_other_kind_where_that_saves_and_their_readers_are_fitted() {
    let data = noise(200);
    let asked = |model: &Model, saving: PolynomialPrices| {
        let relus = ReluSelection::Named(vec!["n10".into()]);
        let options = PolynomialOptions { saving, ..options(relus, PolynomialStart::LeastSquares) };
        polynomials(model, &data, &options).unwrap()
    };
    let [average, maximum] = [pooled(Op::AvgPool), pooled(Op::MaxPool)];
    for (from, becomes) in [(&average, Replacement::Maximum), (&maximum, Replacement::Average)] {
        let found = asked(from, PolynomialPrices::default());
        let report = &found.relus()[0];
        assert_eq!((report.becomes, report.chosen, report.layers), (becomes, true, 0));
        let read = if becomes == Replacement::Maximum { &average } else { &maximum };
        let (Op::AvgPool(window) | Op::MaxPool(window)) = read.nodes[10].op else { unreachable!() };
        assert_eq!(report.elements, read.nodes[10].elements() * window.len());
        // The same kind unfitted says something else: values are larger behind a maximum.
        let mut unfitted = from.clone();
        unfitted.nodes[10].op = found.model().nodes[10].op.clone();
        assert_ne!(unfitted.nodes[10].op, from.nodes[10].op);
        let images = batch(64);
        let [fitted, unfitted] =
            [found.model(), &unfitted].map(|changed| apart(from, changed, &images));
        assert!(fitted < unfitted, "{fitted} {unfitted}");
        // A maximum takes rounds, by which the one is as much slower as the other is faster.
        let [before, after] = found.prices();
        assert_eq!(after.rounds > before.rounds, becomes == Replacement::Maximum);
        let seconds = asked(from, PolynomialPrices::Plans(Saving::Seconds)).relus()[0].saved;
        assert_eq!(seconds < 0.0, becomes == Replacement::Maximum, "{seconds}");
        let system = PolynomialPrices::System(fusion::relus::ReluSystem::Cheetah);
        let comparisons = (report.elements - read.nodes[10].elements()) as f64 * 18.0 * 37.0;
        assert_eq!(asked(from, system).relus()[0].saved.abs(), comparisons);
    }
}

#[test]
fn a_pooling_that_saves_by_a_table_is_found_and_a_number_of_relus_is_none_of_poolings() {
    let (model, data) = (pooled(Op::MaxPool), noise(200));
    let table = ActivationPrices {
        relu: [0.0, 1.0],
        square: [0.0, 2.0],
        max_pool: [0.0, 1.0],
        avg_pool: [0.5, 0.0],
    };
    let asked = |relus: ReluSelection| {
        let saving = PolynomialPrices::Table(table);
        let options = PolynomialOptions { saving, ..options(relus, PolynomialStart::LeastSquares) };
        polynomials(&model, &data, &options).unwrap()
    };
    let found = asked(ReluSelection::Saving(f64::INFINITY));
    let chosen: Vec<&PolynomialReport> =
        found.relus().iter().filter(|report| report.chosen).collect();
    let names: Vec<&str> = chosen.iter().map(|report| report.name.as_str()).collect();
    assert_eq!(names, ["n7", "n10"]);
    for report in chosen {
        assert_eq!(report.becomes, Replacement::Average);
        assert_eq!(report.saved, report.elements as f64 - 0.5);
    }
    assert_eq!(found.model().relus(), model.relus());
    let count = asked(ReluSelection::Count(4));
    assert!(count.relus().iter().all(|report| report.becomes == Replacement::Polynomial));
    assert_eq!(count.relus().len(), 4);
}
