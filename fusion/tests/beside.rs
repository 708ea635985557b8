//! Layers of one wire that read one encryption: residual blocks with projections, fire modules and
//! random networks.

#![allow(clippy::unwrap_used)]

use fusion::planner::{PlannerOptions, cheapest, fastest, inference_bits};
use fusion::testing::{random_input, random_joined_network, random_network};
use fusion::{
    Builder, Error, Graph, Kernel, LayerWeights, Linear, Options, Weights, WireId, eval, fuse,
    ideal,
};
use protocols::linear::{Geometry, Hint};
use protocols::ot::OtExtensions;
use protocols::plan::{Load, Plan, Preprocess, Protocol, Protocols, Reveal};
use protocols::profile::Profile;
use protocols::steps;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use support::{runtime, session};

mod support;

const IMAGES: usize = 2;

/// A residual block whose skip is a projection, a bottleneck likewise, and a fire module.
struct Blocks {
    builder: Builder,
    weights: Weights,
    rng: ChaCha12Rng,
}

impl Blocks {
    fn network(seed: u64) -> Result<(Graph, Weights), Error> {
        let builder = Graph::builder("blocks", Preprocess::Unit);
        let (weights, rng) = (Weights::default(), ChaCha12Rng::seed_from_u64(seed));
        let mut own = Self { builder, weights, rng };
        let input = own.builder.input("input", [8, 17, 16], 4, false, 1.0)?;
        let residual = own.residual(input)?;
        let bottleneck = own.bottleneck(residual)?;
        let fire = own.fire(bottleneck)?;
        let [channels, rows, columns] = own.builder.wire(fire).shape;
        let whole = Geometry { in_h: rows, in_w: columns, ..Geometry::dense(channels, 5) };
        let whole = Geometry { kernel_h: rows, kernel_w: columns, ..whole };
        let logits = own.linear("fc", fire, whole)?;
        own.builder.output("output", logits)?;
        Ok((own.builder.finish()?, own.weights))
    }

    fn residual(&mut self, input: WireId) -> Result<WireId, Error> {
        let first = self.convolution("residual.a", input, (24, 3, 2))?;
        let first = self.rounded("residual.a", first)?;
        let second = self.convolution("residual.b", first, (24, 3, 1))?;
        let skip = self.convolution("residual.skip", input, (24, 1, 2))?;
        self.sum("residual", &[second, skip])
    }

    fn bottleneck(&mut self, input: WireId) -> Result<WireId, Error> {
        let first = self.convolution("bottleneck.a", input, (16, 1, 1))?;
        let first = self.rounded("bottleneck.a", first)?;
        let second = self.convolution("bottleneck.b", first, (16, 3, 2))?;
        let second = self.rounded("bottleneck.b", second)?;
        let third = self.convolution("bottleneck.c", second, (48, 1, 1))?;
        let skip = self.convolution("bottleneck.skip", input, (48, 1, 2))?;
        self.sum("bottleneck", &[third, skip])
    }

    /// The 1x1 comes first, so the 3x3 that it is beside has to be moved before it.
    fn fire(&mut self, input: WireId) -> Result<WireId, Error> {
        let narrow = self.convolution("fire.one", input, (16, 1, 1))?;
        let narrow = self.rounded("fire.one", narrow)?;
        let wide = self.convolution("fire.three", input, (16, 3, 1))?;
        let wide = self.rounded("fire.three", wide)?;
        self.builder.concat("fire", &[narrow, wide])
    }

    fn sum(&mut self, name: &str, terms: &[WireId]) -> Result<WireId, Error> {
        let terms: Vec<(WireId, u8)> = terms.iter().map(|&wire| (wire, 0)).collect();
        let sum = self.builder.add(format!("{name}.sum"), &terms)?;
        self.rounded(name, sum)
    }

    fn rounded(&mut self, name: &str, input: WireId) -> Result<WireId, Error> {
        self.builder.requant(format!("{name}.rounded"), input, 6, 4, false)
    }

    fn convolution(
        &mut self,
        name: &str,
        input: WireId,
        (channels, kernel, stride): (usize, usize, usize),
    ) -> Result<WireId, Error> {
        let [inputs, rows, columns] = self.builder.wire(input).shape;
        let same = Geometry::same_size([inputs, channels], [rows, columns], kernel);
        self.linear(name, input, Geometry { stride_h: stride, stride_w: stride, ..same })
    }

    fn linear(&mut self, name: &str, input: WireId, geometry: Geometry) -> Result<WireId, Error> {
        let weights = (0..geometry.weights()).map(|_| self.rng.random_range(-7..=7)).collect();
        let bias = (0..geometry.out_channels).map(|_| self.rng.random_range(-40..=40)).collect();
        let (layer, range) = (LayerWeights { weights, bias }, self.builder.wire(input).range);
        let (kernel, shifts, weight_bits) = (Kernel::Spatial, Vec::new(), 4);
        let linear = Linear { input, geometry, kernel, weight_bits, shifts, range, scale: 1.0 };
        let linear = linear.bounded(name, &layer, range)?;
        self.weights.layers.insert(name.to_owned(), layer);
        self.builder.linear(name, linear)
    }
}

/// Of every layer that is beside another one: both steps' names.
fn pairs(plan: &Plan) -> Vec<(String, String)> {
    let step = |at: usize| plan.steps[at].op.get::<steps::Linear>();
    let name_of = |wire: usize| {
        let host = (0..plan.steps.len()).find(|at| step(*at).is_some_and(|s| s.output == wire));
        plan.steps[host.expect("a plan has the host")].name.clone()
    };
    let mut pairs = Vec::new();
    for (at, _, layer) in plan.layers() {
        if let Some(beside) = layer.protocol.hint().and_then(|hint| hint.beside) {
            pairs.push((name_of(beside.host), plan.steps[at].name.clone()));
        }
    }
    pairs
}

/// Two parties compute what the network means, at the price that was predicted.
fn runs((graph, weights): (&Graph, &Weights), plan: &Plan, seed: u64) {
    plan.check().unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"));
    weights.check(&Plan { weights: weights.digest(), ..plan.clone() }).unwrap();
    let input = random_input(graph, IMAGES, seed);
    let (server, client) = session(&runtime(), plan, weights, &input, Load::one(IMAGES));
    server.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"));
    let (found, report) = client.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"));
    let expected = match plan.reveals() {
        Reveal::Logits => eval(graph, weights, &input).unwrap(),
        Reveal::Label => ideal(plan, weights, &input).unwrap(),
    };
    assert_eq!(found, Some(expected), "seed {seed}\n{graph}");
    assert_eq!(report.setup.cost, plan.session_cost(report.load), "seed {seed}");
    for line in &report.steps {
        let predicted = (line.predicted.cost.offline, line.predicted.cost.online);
        assert_eq!((line.offline.cost, line.online.cost), predicted, "seed {seed}: {line:?}");
    }
}

/// The same plan with an encryption for every layer.
fn apart(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for step in &mut plan.steps {
        if let Some(layer) = step.op.get_mut::<steps::Linear>()
            && let Protocol::Hint(hint) = &mut layer.protocol
        {
            hint.beside = None;
        }
    }
    plan.check().unwrap();
    plan
}

#[test]
fn projections_and_fire_modules_read_one_encryption() {
    let (graph, weights) = Blocks::network(5).unwrap();
    let plan = cheapest(&graph, &weights.digest(), OtExtensions::Softspoken(None), Protocols::All)
        .unwrap();
    let expected = [
        ("residual.a", "residual.skip"),
        ("bottleneck.a", "bottleneck.skip"),
        ("fire.three", "fire.one"),
    ];
    assert_eq!(pairs(&plan), expected.map(|(host, own)| (host.to_owned(), own.to_owned())));
    let apart = apart(&plan);
    let saved = inference_bits(&apart) - inference_bits(&plan);
    println!("{} bits, {saved} of them saved", inference_bits(&plan));
    assert!(saved > 0);
    for (streamed, reveal) in
        [(false, Reveal::Logits), (true, Reveal::Logits), (false, Reveal::Label)]
    {
        let plan = Plan { streamed, ..plan.clone() }.revealing(reveal).unwrap();
        runs((&graph, &weights), &plan, 5);
    }
    assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
    // A plan without a layer beside another one says nothing of it.
    assert!(!String::from_utf8(apart.to_json()).unwrap().contains("beside"));
}

#[test]
fn the_planner_takes_what_is_better_by_what_it_is_asked_for() {
    let (graph, weights) = Blocks::network(7).unwrap();
    for (lean, budget_bits) in [(true, None), (false, None), (true, Some(1 << 24))] {
        let purpose = PlannerOptions {
            profile: Profile::WAN,
            inferences: 1000,
            batch: 1,
            budget_bits,
            extensions: OtExtensions::Softspoken(None),
            protocols: Protocols::All,
            lean,
        };
        let plan = fastest(&graph, &weights.digest(), &purpose).unwrap().unwrap();
        assert!(!pairs(&plan).is_empty(), "{lean} {budget_bits:?}");
        runs((&graph, &weights), &plan, 7);
        let ot = PlannerOptions { protocols: Protocols::Ot, ..purpose };
        let plan = fastest(&graph, &weights.digest(), &ot).unwrap().unwrap();
        assert_eq!(pairs(&plan), []);
    }
}

/// Some hint for every layer that can have one, and any of them beside each other that fit.
fn any_pairs(mut plan: Plan, rng: &mut ChaCha12Rng) -> Plan {
    for at in 0..plan.steps.len() {
        let ways = plan.variants(&plan.steps[at].op).into_iter();
        let ways: Vec<_> =
            ways.filter(|op| op.layer().is_some_and(|layer| layer.has_hint())).collect();
        if !ways.is_empty() {
            plan.steps[at].op = ways[rng.random_range(0..ways.len())].clone();
        }
    }
    for _ in 0..8 {
        let layers: Vec<usize> = plan.layers().map(|(at, ..)| at).collect();
        let mut pairs = layers.iter().flat_map(|&host| layers.iter().map(move |&own| (host, own)));
        let outputs = rng.random_range(1..=2);
        let found = pairs.find_map(|(host, own)| plan.beside(host, &[own], outputs));
        plan = found.unwrap_or(plan);
    }
    plan
}

#[test]
fn random_networks_compute_what_eval_says_with_any_layers_beside_each_other() {
    let mut found = 0;
    for seed in 0..48 {
        let network = if seed % 2 == 0 { random_network } else { random_joined_network };
        let (graph, weights) = network(seed);
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let streamed = seed % 4 > 1;
        let options = Options { weights: weights.digest(), streamed, ..Options::default() };
        let plan = fuse(&graph, &options).unwrap();
        let plan = any_pairs(plan, &mut rng);
        if pairs(&plan).is_empty() {
            continue;
        }
        found += pairs(&plan).len();
        runs((&graph, &weights), &plan, seed);
    }
    println!("{found} layers beside others");
    assert!(found > 24, "{found}");
}

/// The plan of the blocks after a change of the hint of the residual block's projection.
fn changed(change: impl FnOnce(&mut Hint, &mut Plan)) -> String {
    let (graph, weights) = Blocks::network(5).unwrap();
    let plan = cheapest(&graph, &weights.digest(), OtExtensions::Softspoken(None), Protocols::All)
        .unwrap();
    let at = plan.steps.iter().position(|step| step.name == "residual.skip").unwrap();
    let mut hint = *plan.steps[at].op.layer().unwrap().protocol.hint().unwrap();
    let mut changed = plan.clone();
    change(&mut hint, &mut changed);
    // What the change moved stands where it stood by its name.
    let at = changed.steps.iter().position(|step| step.name == "residual.skip").unwrap();
    changed.steps[at].op.get_mut::<steps::Linear>().unwrap().protocol = Protocol::Hint(hint);
    changed.check().map_or_else(|error| error.to_string(), |()| "nothing wrong".into())
}

#[test]
fn a_layer_beside_another_one_finds_there_what_it_says_or_the_plan_is_refused_by_name() {
    assert_eq!(changed(|_, _| ()), "nothing wrong");
    let field = |error: String, field: &str| {
        let named = format!("plan: step residual.skip: {field}");
        assert!(error.contains(&named), "{named}: {error}");
    };
    let beside = |hint: &mut Hint, change: fn(&mut protocols::linear::Beside)| {
        change(hint.beside.as_mut().unwrap());
    };
    field(changed(|hint, _| beside(hint, |beside| beside.host = 0)), "protocol.hint.beside.host");
    field(changed(|hint, _| beside(hint, |beside| beside.host = 99)), "protocol.hint.beside.host");
    // Another layer's wire, which does not read the same.
    let other = |hint: &mut Hint, plan: &mut Plan| {
        let layers = plan.steps.iter().find(|step| step.name == "residual.b").unwrap();
        hint.beside.as_mut().unwrap().host = layers.op.output().unwrap();
    };
    field(changed(other), "protocol.hint.beside.host");
    field(
        changed(|hint, _| beside(hint, |beside| beside.geometry.out_channels += 1)),
        "protocol.hint.beside.geometry",
    );
    let none = |hint: &mut Hint, _: &mut Plan| beside(hint, |beside| beside.geometry.stride_h = 0);
    field(changed(none), "layer");
    field(changed(|hint, _| hint.noise += 1), "protocol.hint.noise");
    field(changed(|hint, _| hint.outputs += 1), "protocol.hint.outputs");
    field(changed(|hint, _| hint.draws = true), "input");
    // Behind the layer that is beside it, its host comes too late.
    let late = |_: &mut Hint, plan: &mut Plan| {
        let at = |name: &str| plan.steps.iter().position(|step| step.name == name).unwrap();
        let (host, own) = (at("residual.a"), at("residual.skip"));
        let step = plan.steps.remove(own);
        plan.steps.insert(host, step);
        let layer = plan.steps[host + 1].op.get_mut::<steps::Linear>().unwrap();
        let hint = *layer.protocol.hint().unwrap();
        layer.protocol = Protocol::Hint(Hint { draws: false, ..hint });
    };
    field(changed(late), "protocol.hint.beside.host");
    // A host in a ring that is smaller than what reads its encryptions.
    let narrow = |_: &mut Hint, plan: &mut Plan| {
        let layer = plan.steps.iter_mut().find(|step| step.name == "residual.a").unwrap();
        let layer = layer.op.get_mut::<steps::Linear>().unwrap();
        let (output, less) = (layer.output, protocols::Bits::new(layer.ring.get() - 1).unwrap());
        layer.ring = less;
        let wire = &mut plan.wires[output];
        wire.ring = protocols::Bits::new(wire.ring.get() - 1).unwrap();
        wire.bits = wire.bits.min(less.get() as u8);
        wire.low = wire.low.max(protocols::plan::Wire::least(wire.bits, true));
    };
    let error = changed(narrow);
    assert!(error.contains("ring"), "{error}");
}
