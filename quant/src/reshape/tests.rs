use model::float::evaluate;
use model::{Conv, Dataset, Geometry, Model, Node, Op, ValueId};

use super::block::{Block, blocks};
use super::fit::fit;
use super::surgery::{Change, Changed};
use super::*;
use crate::testing::{TRAINING, residual_network};

/// The residual network with a block whose first layer is `lift` above zero and whose second one
/// sees one pixel: without its ReLU it is one 3x3 convolution, at the border too.
fn lifted(lift: f32) -> Model {
    let mut model = residual_network();
    let Op::Conv(first) = &mut model.nodes[2].op else { unreachable!() };
    first.bias.iter_mut().for_each(|bias| *bias += lift);
    let Op::Conv(second) = &mut model.nodes[4].op else { unreachable!() };
    let geometry = Geometry::same_size([8, 8], [8, 8], 1);
    let weight = second.weight.iter().step_by(9).copied().collect();
    *second = Conv { geometry, weight, bias: vec![0.5; 8] };
    model.check().unwrap();
    model
}

/// The residual network with inverted residuals in the place of its block: wider, each channel
/// alone, narrower. The input of the last one is added. Where weights are small and positive, as
/// what is read is, ReLU6 never act, at the border neither.
fn inverted(acts: bool, blocks: usize) -> Model {
    let small = residual_network();
    let mut nodes = small.nodes[..2].to_vec();
    let same = |channels, kernel| Geometry::same_size(channels, [8, 8], kernel);
    let alone = Geometry { groups: 24, ..same([24, 24], 3) };
    let block = [same([8, 24], 1), alone, same([24, 8], 1)];
    for geometry in block.repeat(blocks) {
        let narrows = geometry.out_channels == 8;
        let weight = (0..geometry.weights()).map(|at| {
            let weight = ((at * 7919 + 13) % 1013) as f32 / 1013.0;
            if narrows || acts { 2.0 * weight - 1.0 } else { 0.1 * weight }
        });
        let bias = vec![if acts || narrows { 0.3 } else { 0.0 }; geometry.out_channels];
        let op = Op::Conv(Conv { geometry, weight: weight.collect(), bias });
        let relu6 = (!narrows).then_some(Op::Relu { max: Some(6.0) });
        for op in [Some(op), relu6].into_iter().flatten() {
            let (before, shape) = (ValueId(nodes.len()), geometry.out_shape());
            let name = format!("i{}", nodes.len());
            nodes.push(Node {
                name,
                op,
                inputs: vec![before],
                output: ValueId(before.0 + 1),
                shape,
            });
        }
    }
    // Five nodes a block in the place of three.
    let more = 5 * blocks - 3;
    let moved = |value: ValueId| match value.0 {
        2 => ValueId(more),
        _ => ValueId(value.0 + more),
    };
    for node in &small.nodes[5..] {
        let inputs = node.inputs.iter().map(|&value| moved(value)).collect();
        nodes.push(Node { inputs, output: moved(node.output), ..node.clone() });
    }
    let model = Model { nodes, output: moved(small.output), ..small };
    model.check().unwrap();
    model
}

fn noise(images: usize) -> Dataset {
    Dataset::noise(images, [3, 8, 8], 5)
}

/// How far the sum behind the only block is off where its best convolution stands for it, in parts
/// of its own size.
fn error(model: &Model) -> f64 {
    let images = noise(64).batch(0..64, &Preprocess::Unit).unwrap();
    let [block] = &blocks(model)[..] else { panic!("one block") };
    let geometry = block.geometry(model, 3).unwrap();
    let conv = fit(model, &[], block, &[geometry], &images).unwrap().remove(0);
    let changed = Changed::of(model, &[(block, Change::Merge(conv))]);
    changed.model.check().unwrap();
    let until = |model: &Model, output: ValueId| {
        let mut nodes = model.nodes.clone();
        nodes.truncate(output.0);
        evaluate(&Model { nodes, output, ..model.clone() }, &images).unwrap().data
    };
    let exit = block.exit(model);
    let wanted = until(model, exit);
    let found = until(&changed.model, changed.place(exit));
    let squares = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|value| f64::from(value).powi(2)).sum()
    };
    let off = squares(&mut wanted.iter().zip(&found).map(|(wanted, found)| wanted - found));
    (off / squares(&mut wanted.iter().copied())).sqrt()
}

#[test]
fn a_block_whose_relu_never_cuts_is_one_convolution() {
    let (linear, cut) = (error(&lifted(20.0)), error(&lifted(0.0)));
    println!("off by {linear:.1e} where nothing is cut, by {cut:.1e} where half is");
    assert!(linear < 2e-4 && cut > 50.0 * linear, "{linear} {cut}");
}

#[test]
fn an_inverted_residual_whose_relus_never_act_is_one_convolution() {
    let [block] = &blocks(&inverted(false, 1))[..] else { panic!("one block") };
    let nodes = (2..7).collect();
    assert_eq!(*block, Block { entry: ValueId(2), nodes, sum: Some((7, ValueId(2))) });
    let (linear, cut) = (error(&inverted(false, 1)), error(&inverted(true, 1)));
    println!("off by {linear:.1e} where nothing is cut, by {cut:.1e} where much is");
    assert!(linear < 2e-4 && cut > 50.0 * linear, "{linear} {cut}");
}

#[test]
fn a_block_may_be_read_by_the_next_one_and_added_behind_it() {
    let model = inverted(true, 2);
    // Nothing but the first one reads what is before it: that is of the chain, too.
    let first = Block { entry: ValueId(0), nodes: (0..7).collect(), sum: None };
    let second = Block { entry: ValueId(7), nodes: (7..12).collect(), sum: Some((12, ValueId(7))) };
    assert_eq!(blocks(&model), [first.clone(), second]);
    let images = noise(8).batch(0..8, &Preprocess::Unit).unwrap();
    let geometry = first.geometry(&model, 3).unwrap();
    let conv = fit(&model, &[], &first, &[geometry], &images).unwrap().remove(0);
    let changed = Changed::of(&model, &[(&first, Change::Merge(conv))]).model;
    changed.check().unwrap();
    assert_eq!(changed.nodes.len(), model.nodes.len() - 6);
    // Whoever read the block's result reads the convolution's, and only a sum's block is dropped.
    assert_eq!(changed.consumers(ValueId(1)), [1, 6]);
    assert!(!first.can_be_dropped());
}

#[test]
fn a_merged_inverted_residual_saves_both_of_its_requantizations() {
    let (model, data) = (inverted(true, 1), noise(200));
    let options = ReshapeOptions { kernels: vec![3], drop: false, ..options() };
    let reshaper = reshaper(&model, &data, &options).unwrap();
    let [before, after] = reshaper.prices();
    assert_eq!(after.nonlinear_steps, before.nonlinear_steps - 2);
    assert!(after.rounds < before.rounds && after.bits < before.bits, "{before:?} {after:?}");
    let layers = reshaper.model().layers().map(|(_, conv)| conv.geometry.groups);
    assert!(layers.eq([1; 4]), "the layer of each channel alone is gone");
}

#[test]
fn blocks_end_with_what_is_neither_cut_off_nor_a_classifier() {
    let model = residual_network();
    let [block] = &blocks(&model)[..] else { panic!("one block") };
    // The pooled branch behind it is a lone convolution.
    let expected = Block { entry: ValueId(2), nodes: vec![2, 3, 4], sum: Some((5, ValueId(2))) };
    assert_eq!(*block, expected);
    for (kernel, pad) in [(1, 0), (3, 1), (5, 2)] {
        let geometry = block.geometry(&model, kernel);
        assert_eq!(geometry, Some(Geometry::same_size([8, 8], [8, 8], kernel)), "{pad}");
    }
}

#[test]
fn a_convolution_for_a_strided_block_is_centered_as_the_block_is() {
    let mut model = residual_network();
    // The block's first layer with a stride of 2, and nothing added to its result.
    let Op::Conv(first) = &mut model.nodes[2].op else { unreachable!() };
    (first.geometry.stride_h, first.geometry.stride_w) = (2, 2);
    for node in [3, 4] {
        if let Op::Conv(conv) = &mut model.nodes[node].op {
            (conv.geometry.in_h, conv.geometry.in_w) = (4, 4);
        }
    }
    model.nodes[2..5].iter_mut().for_each(|node| node.shape = [8, 4, 4]);
    let block = Block { entry: ValueId(2), nodes: vec![2, 3, 4], sum: None };
    let geometry = block.geometry(&model, 3).unwrap();
    // Output 0 of the block sees pixels -3 to 3: those in the middle are -1 to 1.
    let expected = Geometry { stride_h: 2, stride_w: 2, ..Geometry::same_size([8, 8], [8, 8], 3) };
    assert_eq!(geometry, expected);
}

#[test]
fn a_dropped_block_takes_the_relu_behind_it_along() {
    let model = residual_network();
    let [block] = &blocks(&model)[..] else { panic!("one block") };
    let changed = Changed::of(&model, &[(block, Change::Drop)]).model;
    changed.check().unwrap();
    // Two convolutions with a ReLU, the sum, and the ReLU of what was positive before.
    assert_eq!(changed.nodes.len(), model.nodes.len() - 5);
    assert_eq!(changed.nodes[2].inputs, [ValueId(2)]);
    assert_eq!(changed.nodes[2].name, model.nodes[7].name);
}

fn options() -> ReshapeOptions {
    let training = TuneOptions { held_back: 20, ..TRAINING };
    ReshapeOptions {
        blocks: 1,
        kernels: vec![1, 3],
        drop: true,
        training,
        ..ReshapeOptions::default()
    }
}

/// A reshaper of the residual network.
fn reshaper<'a>(
    model: &Model,
    data: &'a Dataset,
    options: &ReshapeOptions,
) -> Result<Reshaper<'a>, ReshapeError> {
    let images = data.batch(0..96, &Preprocess::Unit).unwrap();
    let source = Source::new(vec![(data, 0..data.len())], &Preprocess::Unit);
    Reshaper::new(model, (&Preprocess::Unit, &images), source, options, &mut |_| ())
}

fn run(mut reshaper: Reshaper<'_>, until: u64, threads: usize) -> (Vec<u8>, Model) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        while reshaper.learner().progress().step < until {
            reshaper.learner().step().unwrap();
        }
    });
    (reshaper.learner().state(), reshaper.model().clone())
}

#[test]
fn interrupted_and_resumed_on_other_cores_it_ends_with_the_same_bytes() {
    let (model, data, options) = (residual_network(), noise(200), options());
    let start = || reshaper(&model, &data, &options).unwrap();
    let (whole, network) = run(start(), 24, 1);
    let (half, _) = run(start(), 11, 3);
    let mut resumed = start();
    resumed.learner().restore(&half).unwrap();
    assert_eq!(run(resumed, 24, 2), (whole.clone(), network.clone()));
    let other =
        ReshapeOptions { training: TuneOptions { seed: 4, ..options.training }, ..options.clone() };
    let mut other = reshaper(&model, &data, &other).unwrap();
    let error = other.learner().restore(&half).unwrap_err().to_string();
    assert!(error.contains("seed: expected 4, found 3"), "{error}");
    assert_ne!(run(other, 24, 2).0, whole);
    // What is written is what was trained.
    assert_eq!(model::import(&model::onnx::export(&network)).unwrap(), network);
}

#[test]
fn what_loses_least_for_its_saving_is_chosen_and_saves_a_requantization() {
    let (model, data) = (residual_network(), noise(200));
    let reshaper = reshaper(&model, &data, &options()).unwrap();
    let [block] = reshaper.blocks() else { panic!("one block") };
    let kernels: Vec<_> = block.alternatives.iter().map(|found| found.kernel).collect();
    assert_eq!(kernels, [Some(1), Some(3), None]);
    let [before, after] = reshaper.prices();
    let rate = |at: usize| block.alternatives[at].loss / block.alternatives[at].saved;
    let chosen = block.chosen.unwrap();
    assert!((0..3).all(|at| rate(chosen) <= rate(at)), "{block:?}");
    // A wider kernel explains more.
    assert!(block.alternatives[1].loss < block.alternatives[0].loss, "{block:?}");
    assert!(after.nonlinear_steps < before.nonlinear_steps && after.rounds < before.rounds);
    // One block alone is fitted to what the first network makes.
    assert!((reshaper.loss() - block.alternatives[chosen].loss).abs() < 1e-6);
}

#[test]
fn what_cannot_be_done_is_said() {
    let (model, data) = (residual_network(), noise(200));
    let two = ReshapeOptions { blocks: 2, ..options() };
    let error = reshaper(&model, &data, &two).err().unwrap().to_string();
    assert!(error.contains("expected at most 1, found 2"), "{error}");
    for (kernels, found) in [(vec![], "0"), (vec![3, 4], "4"), (vec![17], "17")] {
        let even = ReshapeOptions { kernels, ..options() };
        let error = reshaper(&model, &data, &even).err().unwrap().to_string();
        assert!(error.contains(&format!("kernel of {found}")), "{error}");
    }
}
