//! Crafted plans: networks whose plans and weights somebody has changed by hand. What passes the
//! checks computes, at both parties and in the clear alike, what it would compute in integers that
//! never wrap; all else is refused by name.

#![allow(clippy::unwrap_used)]

use fusion::testing::{random_network, winograd_nodes};
use fusion::{LayerWeights, Options, Weights, fuse, ideal};
use protocols::linear::{Geometry, multiply};
use protocols::plan::{
    Algorithm, FORMAT, InputSpec, Load, Op, OutputSpec, Plan, Preprocess, Protocol, Reveal, Step,
    Window, Wire,
};
use protocols::steps::{
    Argmax, Concat, Input, Linear, Lookup, MaxPool, Output, Product, Reorder, Requant, Slice,
    SumPool,
};
use protocols::{Bits, Error};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use support::{runtime, session};

mod support;

/// All least, all largest, and a mix of both.
const IMAGES: usize = 3;

/// What a plan means, in integers: every wire of a batch, `[channels][images][rows][columns]`; the
/// last is revealed.
struct Exact<'a> {
    plan: &'a Plan,
    weights: &'a Weights,
    wires: Vec<Vec<i64>>,
}

impl<'a> Exact<'a> {
    fn run(plan: &'a Plan, weights: &'a Weights, input: &[i64]) -> Vec<i64> {
        let mut run = Self { plan, weights, wires: vec![Vec::new(); plan.wires.len()] };
        for step in &plan.steps {
            let values = run.step(step, input);
            match step.op.output() {
                Some(output) => run.wires[output] = values,
                None => return values,
            }
        }
        Vec::new()
    }

    fn step(&self, step: &Step, input: &[i64]) -> Vec<i64> {
        let wire = |id: usize| &self.plan.wires[id];
        match &step.op {
            Op::Input(_) => input.to_vec(),
            Op::Linear(Linear { input, .. }) => self.linear(step, *input),
            Op::Requant(Requant { terms, output, shift, .. }) => {
                let sum = |at: usize| -> i128 {
                    terms
                        .iter()
                        .map(|term| i128::from(self.wires[term.wire][at]) << term.shift)
                        .sum()
                };
                let half = (1i128 << shift) >> 1;
                let (low, high) = wire(*output).range();
                let one =
                    |at: usize| ((sum(at) + half) >> shift).clamp(low.into(), high.into()) as i64;
                (0..self.wires[terms[0].wire].len()).map(one).collect()
            }
            Op::SumPool(SumPool { input, window, .. }) => self.pool(*input, window, |a, b| a + b),
            Op::MaxPool(MaxPool { input, window, .. }) => self.pool(*input, window, i64::max),
            Op::Lookup(Lookup { input, table, .. }) => {
                let index = Bits::of(wire(*input).bits.into());
                self.wires[*input]
                    .iter()
                    .map(|value| table[index.encode(*value) as usize])
                    .collect()
            }
            Op::View(Slice { input, view, .. }) => {
                view.of(wire(*input).shape, IMAGES, &self.wires[*input])
            }
            Op::Reorder(Reorder { input, order, .. }) => {
                order.of(wire(*input).shape, IMAGES, &self.wires[*input])
            }
            Op::Concat(Concat { inputs, .. }) => {
                inputs.iter().flat_map(|&input| &self.wires[input]).copied().collect()
            }
            Op::Product(Product { input, gate, .. }) => {
                let (values, gates) = (&self.wires[*input], &self.wires[*gate]);
                let each = values.len() / gates.len();
                values.iter().zip(0..).map(|(value, at)| value * gates[at / each]).collect()
            }
            Op::Argmax(Argmax { input, .. }) => {
                (0..IMAGES).map(|image| self.label(*input, image)).collect()
            }
            Op::Output(Output { input }) => self.wires[*input].clone(),
            #[allow(unreachable_patterns, clippy::wildcard_enum_match_arm)]
            other => panic!("no exact form of {other:?}"),
        }
    }

    fn linear(&self, step: &Step, input: usize) -> Vec<i64> {
        let mut layer = step.op.layer().unwrap();
        layer.ring = Bits::of(64);
        let own = &self.weights.layers[&step.name];
        let x: Vec<u64> = self.wires[input].iter().map(|&value| value as u64).collect();
        let sums = multiply(&layer, &own.weights, IMAGES, &x);
        let columns = IMAGES * layer.geometry.positions();
        sums.iter().enumerate().map(|(at, sum)| *sum as i64 + own.bias[at / columns]).collect()
    }

    fn pool(&self, input: usize, window: &Window, join: fn(i64, i64) -> i64) -> Vec<i64> {
        let (shape, values) = (self.plan.wires[input].shape, &self.wires[input]);
        let planes = shape[0] * IMAGES;
        let sums = join(1, 1) == 2;
        let at = |position: usize| -> Vec<i64> {
            if sums {
                let gather = window.gather(shape, planes, position);
                return gather
                    .into_iter()
                    .map(|at| at.map_or(0, |at| values[at as usize]))
                    .collect();
            }
            window
                .gather_inside(shape, planes, position)
                .iter()
                .map(|&at| values[at as usize])
                .collect()
        };
        let all = (0..window.len()).map(at);
        all.reduce(|a, b| a.iter().zip(&b).map(|(&a, &b)| join(a, b)).collect()).unwrap()
    }

    fn label(&self, input: usize, image: usize) -> i64 {
        let values: Vec<i64> =
            self.wires[input].iter().skip(image).step_by(IMAGES).copied().collect();
        let most = values.iter().max();
        values.iter().position(|value| Some(value) == most).unwrap() as i64
    }
}

/// What two parties compute.
fn shares(plan: &Plan, weights: &Weights, input: &[i64]) -> Result<Vec<i64>, Error> {
    let (server, client) = session(&runtime(), plan, weights, input, Load::one(IMAGES));
    server?;
    Ok(client?.0.unwrap())
}

/// The extremes of what a client may give.
fn extremes(wire: &Wire, rng: &mut ChaCha12Rng) -> Vec<i64> {
    let (low, high) = wire.range();
    let plane = wire.shape[1] * wire.shape[2];
    let value = |image: usize, mixed: bool| match image {
        0 => low,
        1 => high,
        _ if mixed => low,
        _ => high,
    };
    (0..wire.shape[0] * IMAGES * plane).map(|at| value(at / plane % IMAGES, rng.random())).collect()
}

/// Somebody with a text editor.
struct Crafter<'a> {
    rng: &'a mut ChaCha12Rng,
    plan: &'a mut Plan,
    weights: &'a mut Weights,
}

impl Crafter<'_> {
    fn change(&mut self) {
        match self.rng.random_range(0..8) {
            0 => self.wire(|wire, by| wire.bits = wire.bits.saturating_add_signed(by).clamp(1, 62)),
            1 => self.wire(|wire, by| wire.low = wire.low.saturating_add(by.into()).min(0)),
            2 => self.wire(|wire, _| wire.low = Wire::least(wire.bits, !wire.signed())),
            3 => self.wire(|wire, by| wire.ring = nearby(wire.ring, by)),
            4 => self.sum(),
            _ => self.layer(),
        }
    }

    /// Changes a wire, and those that have to be alike.
    fn wire(&mut self, change: fn(&mut Wire, i8)) {
        let (at, by) =
            (self.rng.random_range(0..self.plan.wires.len()), self.rng.random_range(-6..=8));
        change(&mut self.plan.wires[at], by);
        let mut alike = vec![at];
        while let Some(at) = alike.pop() {
            let changed = self.plan.wires[at];
            for step in &mut self.plan.steps {
                // All others have rings of their own.
                #[allow(clippy::wildcard_enum_match_arm)]
                let other = match &mut step.op {
                    Op::View(Slice { input, output, .. })
                    | Op::MaxPool(MaxPool { input, output, .. }) => {
                        if *input == at {
                            *output
                        } else if *output == at {
                            *input
                        } else {
                            continue;
                        }
                    }
                    Op::Linear(Linear { output, ring, .. }) if *output == at => {
                        *ring = changed.ring;
                        continue;
                    }
                    Op::SumPool(SumPool { input, output, .. }) if *input == at => {
                        self.plan.wires[*output].ring = changed.ring;
                        continue;
                    }
                    _ => continue,
                };
                let wire = &mut self.plan.wires[other];
                let wanted = Wire { shape: wire.shape, ..changed };
                if *wire != wanted {
                    *wire = wanted;
                    alike.push(other);
                }
            }
        }
    }

    /// Changes a requantization.
    fn sum(&mut self) {
        let by = self.rng.random_range(-3..=3);
        let which = self.rng.random_range(0..3);
        for step in &mut self.plan.steps {
            if let Op::Requant(Requant { ring, shift, and_depth, .. }) = &mut step.op {
                match which {
                    0 => *ring = nearby(*ring, by),
                    1 => *shift = shift.saturating_add_signed(by),
                    _ => *and_depth = and_depth.saturating_add_signed(by),
                }
            }
        }
    }

    /// Changes a layer's bias, or all of its weights to extremes.
    fn layer(&mut self) {
        let at = self.rng.random_range(0..self.plan.layers().count());
        let (_, name, layer) = self.plan.layers().nth(at).unwrap();
        let own = self.weights.layers.get_mut(name).unwrap();
        let most = 1i64 << (layer.weight_bits - 1);
        if self.rng.random() {
            let least = self.rng.random::<bool>();
            own.weights.iter_mut().for_each(|w| *w = if least { -most } else { most - 1 } as i8);
        } else {
            let channel = self.rng.random_range(0..own.bias.len());
            let size = 1i64 << self.rng.random_range(0..16);
            own.bias[channel] += if self.rng.random() { size } else { -size };
        }
    }
}

fn nearby(ring: Bits, by: i8) -> Bits {
    Bits::of(ring.get().saturating_add_signed(by.into()).clamp(1, 64))
}

/// The check of the plan, then that of the weights against it.
fn check(plan: &Plan, weights: &Weights) -> Result<(), Error> {
    plan.check()?;
    weights.check(plan)
}

#[test]
fn whatever_passes_the_checks_computes_what_it_says_at_the_extremes() {
    let seeds = if cfg!(debug_assertions) { 0..40 } else { 0..1500 };
    let (mut passed, mut refused) = (0, 0);
    for seed in seeds {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let (graph, mut weights) = random_network(seed);
        let winograd = winograd_nodes(&graph);
        let mut plan = fuse(&graph, &Options { winograd, ..Options::default() }).unwrap();
        if seed % 4 == 0 {
            plan = plan.revealing(Reveal::Label).unwrap();
        }
        for _ in 0..rng.random_range(1..=3) {
            Crafter { rng: &mut rng, plan: &mut plan, weights: &mut weights }.change();
        }
        plan.weights = weights.digest();
        if let Err(error) = check(&plan, &weights) {
            refused += 1;
            let named =
                ["step ", "wire ", "weights"].iter().any(|name| error.to_string().contains(name));
            assert!(named, "seed {seed}: {error}");
            continue;
        }
        passed += 1;
        let input = extremes(plan.input_wire(), &mut rng);
        let exact = Exact::run(&plan, &weights, &input);
        assert_eq!(ideal(&plan, &weights, &input).unwrap(), exact, "seed {seed}\n{plan:#?}");
        let found = shares(&plan, &weights, &input)
            .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{plan:#?}"));
        assert_eq!(found, exact, "seed {seed}\n{plan:#?}");
    }
    println!("{passed} passed the checks, {refused} were refused");
    assert!(
        passed > refused / 10 && refused > passed / 10,
        "{passed} passed, {refused} were refused"
    );
}

/// `image -> fc -> pool -> logits`, with one weight of 100: at 255 the layer gives 25,500, whatever
/// its wire declares.
fn maximum_of(bits: u8, signed: bool) -> (Plan, Weights) {
    let layer = LayerWeights { weights: vec![100], bias: vec![0] };
    let weights = Weights { layers: [("fc".to_owned(), layer)].into(), ..Weights::default() };
    let ring = Bits::of(20);
    let low = Wire::least(bits, signed);
    let values = Wire { shape: [1, 1, 2], bits, low, ring, carry: None };
    let geometry = Geometry { in_w: 2, ..Geometry::dense(1, 1) };
    let window = Window { kernel: [1, 2], stride: [1, 1], pad: [0; 4] };
    let fc = Op::Linear(Linear {
        input: 0,
        output: 1,
        geometry,
        weight_bits: 8,
        shifts: Vec::new(),
        ring,
        algorithm: Algorithm::Direct,
        protocol: Protocol::Cot,
    });
    let steps = [
        ("image", Op::Input(Input { output: 0 })),
        ("fc", fc),
        ("pool", Op::MaxPool(MaxPool { input: 1, output: 2, window, digit: 1, reshare: false })),
        ("logits", Op::Output(Output { input: 2 })),
    ];
    let plan = Plan {
        format: FORMAT,
        name: "crafted".into(),
        input: InputSpec { preprocess: Preprocess::Raw, scale: 1.0 },
        output: OutputSpec { scale: 1.0 },
        extension: Options::default().extension,
        streamed: false,
        wires: vec![Wire { bits: 8, low: 0, ..values }, values, Wire { shape: [1; 3], ..values }],
        steps: steps.map(|(name, op)| Step { name: name.into(), op }).into(),
        weights: weights.digest(),
        hints: None,
    };
    (plan, weights)
}

#[test]
fn a_maximum_of_values_that_do_not_fit_their_wire_is_refused_by_name() {
    // The widths that hold 25,500 answer it.
    for (bits, signed) in [(15, false), (16, true), (18, true)] {
        let (plan, weights) = maximum_of(bits, signed);
        check(&plan, &weights).unwrap();
        let input = [0, 0, 0, 255, 255, 254];
        assert_eq!(shares(&plan, &weights, &input).unwrap(), [0, 25_500, 25_500]);
        assert_eq!(ideal(&plan, &weights, &input).unwrap(), [0, 25_500, 25_500]);
    }
    for (bits, signed) in [(8, false), (14, false), (15, true), (2, true)] {
        let (plan, weights) = maximum_of(bits, signed);
        plan.check().unwrap();
        let error = weights.check(&plan).unwrap_err().to_string();
        for part in ["step fc", "0 to 25500", &format!("{bits} bits")] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    }
}
