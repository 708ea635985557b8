//! A network of a few elements with every kind of step.

use std::sync::{Arc, LazyLock};

use protocols::Bits;
use protocols::linear::Geometry;
use protocols::ops::Form;
use protocols::ot::{OtExtension, Parameters, TreeDepth};
use protocols::plan::{
    Algorithm, Axis, FORMAT, InputSpec, Op, OutputSpec, Plan, Preprocess, Protocol, Step, Term,
    View, Window, Wire,
};
use protocols::steps::{Argmax, Input, Linear, Lookup, MaxPool, Output, Requant, Slice, SumPool};
use protocols::weights::{LayerWeights, Weights};

/// Its plan.
pub fn plan() -> &'static Plan {
    &NETWORK.0
}

/// The same with Ferret, whose smallest set is enough.
pub fn ferret_plan() -> &'static Plan {
    static PLAN: LazyLock<Plan> = LazyLock::new(|| Plan {
        extension: OtExtension::Ferret(Parameters::SMALLEST),
        ..plan().clone()
    });
    &PLAN
}

/// Its weights.
pub fn weights() -> &'static Weights {
    &NETWORK.1
}

/// The same, as a session holds them.
pub fn shared_weights() -> &'static Arc<Weights> {
    static WEIGHTS: LazyLock<Arc<Weights>> = LazyLock::new(|| Arc::new(weights().clone()));
    &WEIGHTS
}

/// An image for it.
pub fn input() -> Vec<i64> {
    (0..16).map(|pixel| pixel * 5 % 4).collect()
}

static NETWORK: LazyLock<(Plan, Weights)> = LazyLock::new(|| {
    let weights = Weights {
        salt: [7; 32].into(),
        layers: [("conv".into(), conv()), ("fc".into(), fc())].into(),
    };
    let plan = Plan {
        format: FORMAT,
        name: "small".into(),
        input: InputSpec { preprocess: Preprocess::Unit, scale: 0.5 },
        output: OutputSpec { scale: 0.25 },
        extension: OtExtension::Softspoken(
            TreeDepth::new(2).expect("invariant: a depth within 1..=8"),
        ),
        streamed: false,
        wires: wires(),
        steps: steps(),
        weights: weights.digest(),
        hints: None,
    };
    let checked = plan.check().and_then(|()| weights.check(&plan));
    assert!(checked.is_ok(), "invariant: the small network is valid: {checked:?}");
    (plan, weights)
});

fn conv() -> LayerWeights {
    LayerWeights { weights: vec![1, -2, 0, 1, -1, 1, 1, -2], bias: vec![3, -3] }
}

fn fc() -> LayerWeights {
    LayerWeights { weights: vec![3, -4, 1, 2, -1, 0], bias: vec![0, 1, -1] }
}

fn wires() -> Vec<Wire> {
    let wire = |shape, bits, low, ring| {
        let ring = Bits::of(ring);
        Wire { shape, bits, low, ring, carry: None }
    };
    vec![
        wire([1, 4, 4], 2, 0, 7),
        wire([2, 2, 2], 7, -64, 7),
        wire([2, 2, 2], 2, 0, 10),
        wire([2, 1, 1], 2, 0, 8),
        wire([3, 1, 1], 2, 0, 8),
        wire([2, 1, 1], 4, 0, 10),
        wire([3, 1, 1], 10, -512, 10),
        wire([3, 1, 1], 4, -7, 5),
        wire([3, 1, 1], 6, -20, 7),
        wire([1, 1, 1], 2, 0, 2),
    ]
}

fn steps() -> Vec<Step> {
    let step = |name: &str, op| Step { name: name.into(), op };
    let square = Window { kernel: [2, 2], stride: [2, 2], pad: [0; 4] };
    let wider = View { axes: [Axis { after: 1, ..Axis::all(2) }, Axis::all(1), Axis::all(1)] };
    vec![
        step("input", Op::Input(Input { output: 0 })),
        step("conv", conv_step()),
        step("relu", masked(requant(&[(1, 0)], 2, 7, 2, 2))),
        step(
            "max",
            Op::MaxPool(MaxPool { input: 2, output: 3, window: square, digit: 1, reshare: false }),
        ),
        step("view", Op::View(Slice { input: 3, output: 4, view: wider })),
        step("sum", Op::SumPool(SumPool { input: 2, output: 5, window: square })),
        step("fc", fc_step()),
        step("add", requant(&[(6, 0), (4, 2)], 7, 10, 1, 3)),
        step("function", Op::Lookup(Lookup { input: 7, output: 8, table: table(), reshare: true })),
        step("label", Op::Argmax(Argmax { input: 8, output: 9, digit: 2 })),
        step("output", Op::Output(Output { input: 9 })),
    ]
}

/// A function of a value of four bits, from -7 on.
fn table() -> Vec<i64> {
    (0..9).chain(-7..0).map(|x: i64| x * x / 3 - x).collect()
}

/// Two weights to a tree.
fn conv_step() -> Op {
    let kernel = Geometry { in_h: 4, in_w: 4, kernel_h: 2, kernel_w: 2, ..Geometry::dense(1, 2) };
    let geometry = Geometry { stride_h: 2, stride_w: 2, ..kernel };
    let (shifts, ring, protocol) = (Vec::new(), Bits::of(7), Protocol::Vole { k: 4 });
    Op::Linear(Linear {
        input: 0,
        output: 1,
        geometry,
        weight_bits: 2,
        shifts,
        ring,
        algorithm: Algorithm::Direct,
        protocol,
    })
}

/// Bitwise, with channels that are shifted.
fn fc_step() -> Op {
    let (geometry, shifts) = (Geometry::dense(2, 3), vec![0, 1, 0]);
    let (ring, protocol) = (Bits::of(10), Protocol::Cot);
    Op::Linear(Linear {
        input: 5,
        output: 6,
        geometry,
        weight_bits: 3,
        shifts,
        ring,
        algorithm: Algorithm::Direct,
        protocol,
    })
}

fn requant(terms: &[(usize, u8)], output: usize, ring: u32, shift: u8, and_depth: u8) -> Op {
    let terms = terms.iter().map(|&(wire, shift)| Term { wire, shift }).collect();
    Op::Requant(Requant {
        terms,
        output,
        ring: Bits::of(ring),
        shift,
        and_depth,
        form: Form::Narrow,
        reshare: false,
        linearized: None,
    })
}

/// The same, in few rounds, with its result masked anew.
fn masked(mut op: Op) -> Op {
    if let Op::Requant(Requant { form, reshare, .. }) = &mut op {
        (*form, *reshare) = (Form::Wide, true);
    }
    op
}
