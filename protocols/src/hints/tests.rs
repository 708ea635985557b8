use std::collections::HashSet;

use super::*;
use crate::Bits;
use crate::linear::{Beside, Geometry};
use crate::ot::{OtExtension, TreeDepth};
use crate::plan::{
    Algorithm, FORMAT, InputSpec, Op, OutputSpec, Preprocess, Protocol, Reveal, Step, Wire,
};
use crate::steps::{Input, Linear, Output};
use crate::weights::LayerWeights;

const SEED: [u8; 32] = [7; 32];

/// Four pixels and three classes, by one layer that has a hint.
fn network() -> (Plan, Weights) {
    let wire = |channels, bits, low| {
        let ring = Bits::of(8);
        Wire { shape: [channels, 1, 1], bits, low, ring, carry: None }
    };
    let step = |name: &str, op| Step { name: name.into(), op };
    let linear = Linear {
        input: 0,
        output: 1,
        geometry: Geometry::dense(4, 3),
        weight_bits: 3,
        shifts: Vec::new(),
        ring: Bits::of(8),
        algorithm: Algorithm::Direct,
        protocol: Protocol::Cot,
    };
    let fc = LayerWeights { weights: (0..12).map(|i| i % 7 - 4).collect(), bias: vec![1, 0, -1] };
    let weights = Weights { salt: [3; 32].into(), layers: [("fc".to_owned(), fc)].into() };
    let mut plan = Plan {
        format: FORMAT,
        name: "hinted".into(),
        input: InputSpec { preprocess: Preprocess::Unit, scale: 0.25 },
        output: OutputSpec { scale: 0.5 },
        extension: OtExtension::Softspoken(TreeDepth::new(2).unwrap()),
        streamed: false,
        wires: vec![wire(4, 2, 0), wire(3, 8, -128)],
        steps: vec![
            step("input", Op::Input(Input { output: 0 })),
            step("fc", Op::Linear(linear)),
            step("output", Op::Output(Output { input: 1 })),
        ],
        weights: weights.digest(),
        hints: None,
    };
    plan.steps[1].op = hinted(&plan, 1);
    plan.check().unwrap();
    weights.check(&plan).unwrap();
    (plan, weights)
}

/// The layer with so many outputs a polynomial.
fn hinted(plan: &Plan, outputs: u16) -> Op {
    let ways = plan.variants(&plan.steps[1].op).into_iter();
    let mut ways = ways.filter(|op| {
        let protocol = op.layer().unwrap().protocol;
        protocol.hint().is_some_and(|hint| hint.outputs == outputs)
    });
    ways.next().expect("a hint fits so small a layer")
}

fn layer(plan: &mut Plan) -> &mut Linear {
    plan.steps[1].op.get_mut().unwrap()
}

fn hint(plan: &mut Plan) -> &mut crate::linear::Hint {
    let Protocol::Hint(hint) = &mut layer(plan).protocol else { panic!("the layer has a hint") };
    hint
}

/// The layer beside one that writes a wire, of so many outputs.
fn beside(plan: &mut Plan, host: usize, outputs: usize) {
    let geometry = Geometry::dense(4, outputs);
    hint(plan).beside = Some(Beside { host, geometry });
}

fn made(plan: &Plan, weights: &Weights) -> (Plan, ServerHints) {
    let (plan, hints) = ServerHints::make(plan, weights).unwrap();
    plan.check().unwrap();
    (plan, hints.unwrap())
}

#[test]
fn files_are_read_as_they_were_written_and_hints_are_made_again_from_their_seed() {
    let (plan, weights) = network();
    let (plan, hints) = made(&plan, &weights);
    let public = PublicHints::from_bytes(hints.public().bytes().to_vec(), &plan).unwrap();
    assert_eq!(Some(public.digest()), plan.hints);
    assert_eq!(plan.hints_len(), Some(public.bytes().len()));
    let secret = HintsSecret::from_bytes(&hints.secret().to_bytes()).unwrap();
    assert!(secret == *hints.secret());
    let read = Plan::from_json(&plan.to_json()).unwrap();
    assert_eq!(read, plan);
    let restored = ServerHints::restore(&read, &weights, secret).unwrap();
    assert_eq!(**restored.public(), public);
    let shown = format!("{:?} {:?}", restored, restored.secret());
    assert!(!shown.contains(&hex(hints.secret().seed())), "{shown}");
}

#[test]
fn one_file_serves_the_logits_and_the_label() {
    let (plan, weights) = network();
    let (plan, hints) = made(&plan, &weights);
    let label = plan.revealing(Reveal::Label).unwrap();
    assert_ne!(label.steps[1].op, plan.steps[1].op, "the ring is wider");
    assert_eq!(label.hints, plan.hints);
    hints.public().check(&label).unwrap();
    let restored = ServerHints::restore(&label, &weights, hints.secret().clone()).unwrap();
    assert_eq!(restored.public(), hints.public());
}

#[test]
fn whoever_makes_hints_again_gets_others_and_the_earlier_ones_serve_no_more() {
    let (plan, weights) = network();
    let (first, earlier) = made(&plan, &weights);
    let (second, later) = made(&first, &weights);
    assert_ne!(first.hints, second.hints);
    assert!(earlier.secret() != later.secret());
    let refused = |plan: &Plan, hints: &ServerHints| {
        let file = hints.public().check(plan).unwrap_err().to_string();
        assert!(file.contains("hints: digest") && file.contains("pq hints"), "{file}");
        let seed = ServerHints::restore(plan, &weights, hints.secret().clone());
        let seed = seed.unwrap_err().to_string();
        assert!(seed.contains("hints.secret: digest") && seed.contains("pq hints"), "{seed}");
    };
    refused(&first, &later);
    refused(&second, &earlier);
}

#[test]
fn a_file_that_was_changed_or_cut_or_is_of_another_network_is_refused_by_name() {
    let (plan, weights) = network();
    let (plan, hints) = made(&plan, &weights);
    let bytes = hints.public().bytes();
    let error =
        |bytes: &[u8]| PublicHints::from_bytes(bytes.to_vec(), &plan).unwrap_err().to_string();
    for len in [0, 7, HEADER - 1, HEADER, bytes.len() - 1] {
        assert!(error(&bytes[..len]).starts_with("hints: length"), "{len}");
    }
    assert!(error(&[bytes, &[0]].concat()).starts_with("hints: length"));
    for (at, what) in [
        (0, "start"),
        (8, "version"),
        (12, "what they are made of"),
        (HEADER, "digest"),
        (bytes.len() / 2, "digest"),
        (bytes.len() - 1, "digest"),
    ] {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        assert!(error(&changed).starts_with(&format!("hints: {what}")), "{at}");
    }
    let (_, mut other) = network();
    other.layers.get_mut("fc").unwrap().weights[0] = 3;
    let (_, others) = made(&Plan { weights: other.digest(), ..plan.clone() }, &other);
    assert!(error(others.public().bytes()).starts_with("hints: what they are made of"));
    let unnamed = Plan { hints: None, ..plan.clone() };
    assert!(hints.public().check(&unnamed).unwrap_err().to_string().starts_with("hints"));
}

#[test]
fn a_seed_with_another_plan_or_other_weights_is_refused() {
    let (plan, weights) = network();
    let (plan, hints) = made(&plan, &weights);
    let error = |plan: &Plan, weights: &Weights, secret: &[u8]| {
        let secret = HintsSecret::from_bytes(secret).unwrap();
        ServerHints::restore(plan, weights, secret).unwrap_err().to_string()
    };
    let secret = hints.secret().to_bytes();
    let mut changed = secret.to_vec();
    changed[20] ^= 1;
    assert!(error(&plan, &weights, &changed).contains("of this seed and these weights"));
    changed = secret.to_vec();
    changed[50] ^= 1;
    assert!(error(&plan, &weights, &changed).starts_with("hints.secret: digest"));
    let mut other = weights.clone();
    other.layers.get_mut("fc").unwrap().weights[0] = 3;
    assert!(error(&plan, &other, &secret).starts_with("weights: digest"));
    let adopted = Plan { weights: other.digest(), ..plan.clone() };
    assert!(error(&adopted, &other, &secret).contains("of this seed and these weights"));
    let mut wider = plan.clone();
    hint(&mut wider).noise += 1;
    assert!(error(&wider, &weights, &secret).contains("of this seed and these weights"));
    for len in [0, 75, 77] {
        let mut bytes = secret.to_vec();
        bytes.resize(len, 0);
        let wrong = HintsSecret::from_bytes(&bytes).unwrap_err().to_string();
        assert!(wrong.starts_with("hints.secret: expected 76 bytes"), "{wrong}");
    }
    let other = HintsSecret::from_bytes(&[1; 76]).unwrap_err().to_string();
    assert!(other.starts_with("hints.secret") && !other.contains("01"), "{other}");
}

/// Whatever enters a hint, under one seed its secrets are nobody else's.
#[test]
fn one_seed_with_anything_else_gives_unrelated_secrets() {
    let (plan, _) = network();
    let changed = |change: fn(&mut Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        plan
    };
    let mut plans = vec![
        plan.clone(),
        changed(|plan| plan.weights = "1".repeat(64)),
        changed(|plan| plan.steps[1].name = "other".into()),
        changed(|plan| hint(plan).noise += 1),
        changed(|plan| hint(plan).cut -= 1),
        changed(|plan| {
            layer(plan).ring = Bits::of(12);
            plan.wires.iter_mut().for_each(|wire| wire.ring = Bits::of(12));
        }),
        changed(|plan| layer(plan).weight_bits = 4),
        changed(|plan| layer(plan).shifts = vec![0, 1, 0]),
        changed(|plan| layer(plan).geometry = Geometry::dense(4, 4)),
        changed(|plan| layer(plan).geometry = Geometry { in_h: 2, ..Geometry::dense(4, 3) }),
        changed(|plan| layer(plan).output = 2),
        changed(|plan| beside(plan, 2, 3)),
        changed(|plan| beside(plan, 3, 3)),
        changed(|plan| beside(plan, 2, 4)),
    ];
    plans.extend([2, 3].map(|outputs| {
        let mut plan = plan.clone();
        plan.steps[1].op = hinted(&plan, outputs);
        plan
    }));
    let (mut recipes, mut seeds) = (HashSet::new(), HashSet::new());
    for plan in &plans {
        let outline = Outline::of(plan);
        let part = outline.parts().next().unwrap();
        assert!(recipes.insert(outline.recipe));
        assert!(seeds.insert(*outline.seed(&SEED, part)));
    }
    let other = Outline::of(&plan);
    let part = other.parts().next().unwrap();
    assert!(seeds.insert(*other.seed(&[8; 32], part)));
    // What does not enter a hint changes nothing: the file stays as it is.
    for same in [
        plan.revealing(Reveal::Label).unwrap(),
        changed(|plan| plan.name = "another".into()),
        changed(|plan| plan.streamed = true),
    ] {
        assert_eq!(Outline::of(&same).recipe, other.recipe);
    }
}

#[test]
fn a_digest_in_a_plan_is_one_and_of_something() {
    let (plan, weights) = network();
    let (plan, hints) = made(&plan, &weights);
    for digest in ["", "0", &"g".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
        let wrong = Plan { hints: Some(digest.into()), ..plan.clone() };
        assert!(wrong.check().unwrap_err().to_string().starts_with("plan: hints"), "{digest}");
    }
    let mut without = plan;
    layer(&mut without).protocol = Protocol::Cot;
    assert!(without.check().unwrap_err().to_string().starts_with("plan: hints"));
    without.hints = None;
    let (made, none) = ServerHints::make(&without, &weights).unwrap();
    assert!(none.is_none() && made == without);
    assert!(hints.public().check(&made).is_err());
}
