use protocols::linear::Geometry;
use protocols::plan::{Axis, Op as Step, Preprocess, Protocol, View, Window};
use protocols::steps;

use super::rooms::{reaching, rings_of};
use super::*;
use crate::testing::{random_input, random_network, resnet20};
use crate::{Interval, Kernel, Linear, Lookup, ideal};

/// A 1x1 convolution of two channels whose accumulators are within `range`.
fn linear(input: usize, shape: [usize; 3], range: (i64, i64)) -> Linear {
    let geometry = Geometry { in_h: shape[1], in_w: shape[2], ..Geometry::dense(shape[0], 2) };
    let range = Interval { lo: range.0, hi: range.1 };
    Linear {
        input,
        geometry,
        kernel: Kernel::Spatial,
        weight_bits: 4,
        shifts: Vec::new(),
        range,
        scale: 1.0,
    }
}

fn ring_of(plan: &Plan, name: &str) -> u32 {
    let step = plan.steps.iter().find(|step| step.name == name).unwrap();
    plan.wires[step.op.output().unwrap()].ring.get()
}

fn reshared(plan: &Plan) -> Vec<&str> {
    let reshares = plan.steps.iter().filter(|s| {
        matches!(
            s.op,
            Step::Requant(steps::Requant { reshare: true, .. })
                | Step::MaxPool(steps::MaxPool { reshare: true, .. })
        )
    });
    reshares.map(|step| step.name.as_str()).collect()
}

/// Input, two layers around which it skips, logits.
fn residual() -> Graph {
    let mut b = Graph::builder("residual", Preprocess::Unit);
    let shape = [2, 4, 4];
    let x = b.input("x", shape, 4, false, 8.0).unwrap();
    let a = b.linear("a", linear(x, shape, (-1000, 1000))).unwrap();
    let y = b.requant("y", a, 5, 4, false).unwrap();
    let c = b.linear("c", linear(y, shape, (-2040, 1900))).unwrap();
    let sum = b.add("sum", &[(c, 0), (x, 3)]).unwrap();
    let z = b.requant("z", sum, 5, 4, true).unwrap();
    let d = b.linear("d", linear(z, shape, (-70_000, 100))).unwrap();
    b.output("out", d).unwrap();
    b.finish().unwrap()
}

#[test]
fn rings_are_the_widest_that_a_consumer_needs() {
    let plan = fuse(&residual(), &Options::default()).unwrap();
    // y: 1000 + 16 < 2^10.
    assert_eq!(ring_of(&plan, "a"), 11);
    // z: 1900 + 15 * 8 + 16 + 2^8 >= 2^11: the offset of the signed result takes another bit.
    assert_eq!(ring_of(&plan, "c"), 13);
    assert_eq!(ring_of(&plan, "y"), 13);
    // The skip enters three bits up; the layer `a` needs 11.
    assert_eq!(ring_of(&plan, "x"), 11);
    // The logits: -70000 needs 18 bits.
    assert_eq!((ring_of(&plan, "z"), ring_of(&plan, "d")), (18, 18));
}

#[test]
fn wires_that_a_linear_layer_reads_are_masked_where_they_are_made() {
    let plan = fuse(&residual(), &Options::default()).unwrap();
    assert_eq!(reshared(&plan), ["y", "z"]);
    assert!(plan.known().iter().all(|known| *known));
}

#[test]
fn wires_are_masked_once_for_all_that_reads_them_or_a_slice() {
    let shape = [2, 4, 4];
    let every_second = Axis { stride: 2, ..Axis::all(2) };
    let view = View { axes: [Axis::all(2), every_second, every_second] };
    let build = |view_first: bool| {
        let mut b = Graph::builder("views", Preprocess::Unit);
        let x = b.input("x", shape, 4, false, 1.0).unwrap();
        let acc = b.linear("first", linear(x, shape, (-50, 50))).unwrap();
        let y = b.requant("y", acc, 2, 4, false).unwrap();
        let early = view_first.then(|| b.view("view", y, view).unwrap());
        let whole = b.linear("whole", linear(y, shape, (-50, 50))).unwrap();
        let sliced = early.unwrap_or_else(|| b.view("view", y, view).unwrap());
        let part = b.linear("part", linear(sliced, [2, 2, 2], (-50, 50))).unwrap();
        let whole = b.view("half", whole, view).unwrap();
        let sum = b.add("sum", &[(whole, 0), (part, 0)]).unwrap();
        b.output("out", sum).unwrap();
        fuse(&b.finish().unwrap(), &Options::default()).unwrap()
    };
    assert_eq!(reshared(&build(false)), ["y"]);
    assert_eq!(reshared(&build(true)), ["y"]);
}

#[test]
fn max_pooling_takes_a_wire_that_others_need_wider() {
    let mut b = Graph::builder("pool", Preprocess::Unit);
    let x = b.input("x", [2, 4, 4], 4, false, 1.0).unwrap();
    let max = b.max_pool("max", x, Window { kernel: [1, 1], stride: [1, 1], pad: [0; 4] }).unwrap();
    let a = b.linear("a", linear(x, [2, 4, 4], (-900, 900))).unwrap();
    let c = b.linear("c", linear(max, [2, 4, 4], (-90, 90))).unwrap();
    let sum = b.add("sum", &[(a, 0), (c, 0)]).unwrap();
    let y = b.requant("y", sum, 3, 4, false).unwrap();
    b.output("out", y).unwrap();
    let plan = fuse(&b.finish().unwrap(), &Options::default()).unwrap();
    assert_eq!((ring_of(&plan, "x"), ring_of(&plan, "max")), (11, 11));
}

#[test]
fn a_lookup_takes_a_table_of_all_elements_of_its_ring() {
    let mut b = Graph::builder("lookup", Preprocess::Unit);
    let x = b.input("x", [2, 1, 1], 4, false, 1.0).unwrap();
    let a = b.linear("a", linear(x, [2, 1, 1], (-900, 900))).unwrap();
    let narrow = b.requant("narrow", a, 7, 3, true).unwrap();
    // From -5 on, though the wire starts at -4.
    let table: Vec<i64> = (-5..4).map(|x: i64| 2 * x + 1).collect();
    let lookup = Lookup { input: narrow, first: -5, table, bits: 5, low: -16, scale: 0.5 };
    let y = b.lookup("y", lookup.clone()).unwrap();
    let c = b.linear("c", linear(y, [2, 1, 1], (-90, 90))).unwrap();
    b.output("out", c).unwrap();
    let plan = fuse(&b.finish().unwrap(), &Options::default()).unwrap();
    plan.check().unwrap();
    let step = plan.steps.iter().find(|step| step.name == "y").unwrap();
    let Step::Lookup(steps::Lookup { table, reshare, .. }) = &step.op else { panic!("{step:?}") };
    assert_eq!((&table[..], *reshare), (&[1, 3, 5, 7, -7, -5, -3, -1][..], true));
    assert_eq!((ring_of(&plan, "narrow"), ring_of(&plan, "y")), (4, 8));
    // Tables that miss a value, that hold too wide a result, or that read too wide a wire.
    let mut b = Graph::builder("lookup", Preprocess::Unit);
    let x = b.input("x", [2, 1, 1], 3, true, 1.0).unwrap();
    let wide = b.input("wide", [2, 1, 1], 9, false, 1.0).unwrap();
    for wrong in [
        Lookup { input: x, first: -3, ..lookup.clone() },
        Lookup { input: x, bits: 3, ..lookup.clone() },
        Lookup { input: x, low: -6, ..lookup.clone() },
        Lookup { input: x, low: 1, ..lookup.clone() },
        Lookup { input: wide, first: 0, table: vec![0; 512], ..lookup.clone() },
        Lookup { input: x, table: Vec::new(), ..lookup },
    ] {
        assert!(matches!(b.lookup("y", wrong), Err(Error::Parameter { .. })));
    }
}

#[test]
fn a_term_and_a_channel_that_are_shifted_need_fewer_bits() {
    let mut b = Graph::builder("shifts", Preprocess::Unit);
    let x = b.input("x", [2, 1, 1], 4, false, 1.0).unwrap();
    let a = b.linear("a", linear(x, [2, 1, 1], (-500, 500))).unwrap();
    let c = Linear { scale: 4.0, shifts: vec![1, 0], ..linear(x, [2, 1, 1], (-120, 120)) };
    let c = b.linear("c", c).unwrap();
    let sum = b.add("sum", &[(a, 0), (c, 2)]).unwrap();
    let y = b.requant("y", sum, 3, 4, false).unwrap();
    b.output("out", y).unwrap();
    let plan = fuse(&b.finish().unwrap(), &Options::default()).unwrap();
    assert_eq!((ring_of(&plan, "a"), ring_of(&plan, "c")), (11, 9));
}

#[test]
fn options_choose_by_step_and_misspellings_are_errors() {
    let graph = residual();
    let options = Options {
        protocols: [("c".to_owned(), Protocol::Cot)].into(),
        and_depths: [("z".to_owned(), 2)].into(),
        ..Options::default()
    };
    let plan = fuse(&graph, &options).unwrap();
    let chosen = |name: &str| {
        let op = &plan.steps.iter().find(|s| s.name == name).unwrap().op;
        let layer = op.get().map(|steps::Linear { protocol, .. }| format!("{protocol:?}"));
        let depth =
            || op.get().map(|steps::Requant { and_depth, .. }| format!("depth {and_depth}"));
        layer.or_else(depth).unwrap_or_default()
    };
    assert_eq!(["a", "c", "y", "z"].map(chosen), ["Vole { k: 4 }", "Cot", "depth 6", "depth 2"]);
    for step in ["sum", "nothing", "z"] {
        let options =
            Options { protocols: [(step.to_owned(), Protocol::Cot)].into(), ..Options::default() };
        assert_eq!(fuse(&graph, &options), Err(Error::UnknownStep { step: step.to_owned() }));
    }
}

#[test]
fn resnet_lowers_to_layers_and_requantizations_only() {
    let (graph, weights) = resnet20(3);
    let options = Options { weights: weights.digest(), ..Options::default() };
    let plan = fuse(&graph, &options).unwrap();
    plan.check().unwrap();
    weights.check(&plan).unwrap();
    let count = |is: fn(&Step) -> bool| plan.steps.iter().filter(|step| is(&step.op)).count();
    assert_eq!(count(|op| matches!(op, Step::Linear(_))), 20);
    assert_eq!(count(|op| matches!(op, Step::Requant(_))), 19);
    assert_eq!(count(|op| matches!(op, Step::View(_))), 2);
    assert_eq!(plan.steps.len(), 20 + 19 + 2 + 3);
    // Every wire once, but for the input: 18 convolutions and the pooled wire.
    assert_eq!(reshared(&plan).len(), 19);
}

#[test]
fn rooms_are_what_rings_leave_and_no_more() {
    let graph = residual();
    let rooms = rooms(&graph).unwrap();
    let ends = |name: &str| (rooms[name].lo, rooms[name].hi);
    // 11 bits with 16 of rounding; 13 with the skip of up to 120 and an offset of 2^8 above.
    assert_eq!(ends("a"), (-1024 - 16, 1023 - 16));
    assert_eq!(ends("c"), (-4096 - 16, 4095 - 16 - 256 - 120));
    assert_eq!(ends("d"), (-(1 << 17), (1 << 17) - 1));
    let rings = rings_of(&graph).unwrap();
    assert_eq!(rings_of(&reaching(&graph, &rooms).unwrap()).unwrap(), rings);
    for name in ["a", "c", "d"] {
        let Interval { lo, hi } = rooms[name];
        for range in [Interval { lo, hi: hi + 1 }, Interval { lo: lo - 1, hi }] {
            let wider = reaching(&graph, &[(name.to_owned(), range)].into()).unwrap();
            assert_ne!(rings_of(&wider).unwrap(), rings, "{name} {range}");
        }
    }
}

#[test]
fn layers_that_all_take_their_room_leave_all_rings_as_they_are() {
    let mut grown = 0;
    for seed in 0..300 {
        let (graph, _) = random_network(seed);
        let rooms = rooms(&graph).unwrap();
        for node in graph.nodes() {
            let crate::Op::Linear(linear) = &node.op else { continue };
            assert!(rooms[&node.name].contains(linear.range), "seed {seed}, {}", node.name);
        }
        let wider = reaching(&graph, &rooms).unwrap();
        assert_eq!(rings_of(&wider).unwrap(), rings_of(&graph).unwrap(), "seed {seed}");
        let linear = |node: &&crate::Node| rooms.contains_key(&node.name);
        let own = graph.nodes().iter().filter(linear);
        grown += own.filter(|node| node.wire.range != rooms[&node.name]).count();
    }
    assert!(grown > 300, "{grown}");
}

#[test]
fn too_small_a_ring_shows_in_the_ideal_run() {
    let (mut graph, mut weights, mut seed) = (residual(), Default::default(), 0);
    // A network whose accumulators are the logits, so that dropped bits are seen at once.
    while !matches!(graph.node(graph.nodes().len() - 2).op, crate::Op::Linear(_)) || seed == 0 {
        seed += 1;
        (graph, weights) = random_network(seed);
    }
    let input = random_input(&graph, 8, seed);
    let mut plan = fuse(&graph, &Options::default()).unwrap();
    let expected = ideal(&plan, &weights, &input).unwrap();
    let [.., last, _] = &mut plan.steps[..] else {
        panic!("seed {seed}: no step before the output")
    };
    let Step::Linear(steps::Linear { output, ring, .. }) = &mut last.op else {
        panic!("seed {seed}: no logits")
    };
    *ring = Bits::of(4);
    plan.wires[*output].ring = Bits::of(4);
    assert_ne!(ideal(&plan, &weights, &input).unwrap(), expected, "seed {seed}");
}
