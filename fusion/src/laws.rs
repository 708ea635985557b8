//! The laws, on random networks: passes and lowering keep the integers, and every value stays
//! within its wire's interval.

use std::collections::BTreeSet;

use crate::pass::{legalizing, rewrite, simplifying, stages};
use crate::testing::{
    hull, random_input, random_joined_network, random_linearized_network, random_network,
    winograd_nodes,
};
use crate::{Error, Graph, Op, Options, Weights, eval, eval_wires, fuse, ideal};
use protocols::plan::{Plan, Reveal};

const NETWORKS: std::ops::Range<u64> = 0..400;

/// Concatenations and orders: of all passes together, and in the plan.
#[test]
fn joined_networks_keep_the_laws() {
    all_laws_hold(random_joined_network);
}

#[test]
fn partly_linear_networks_keep_the_laws() {
    all_laws_hold(random_linearized_network);
}

fn all_laws_hold(network: fn(u64) -> (Graph, Weights)) {
    for seed in NETWORKS {
        let (graph, weights) = network(seed);
        let input = random_input(&graph, 3, seed);
        let wires = eval_wires(&graph, &weights, &input).unwrap();
        for (node, values) in graph.nodes().iter().zip(&wires) {
            let found = hull(values);
            assert!(node.wire.range.contains(found), "seed {seed}, {}: {found}", node.name);
        }
        let expected = eval(&graph, &weights, &input).unwrap();
        for pass in simplifying().into_iter().chain(legalizing()) {
            let after = rewrite(&graph, &[pass]).unwrap();
            assert_eq!(eval(&after, &weights, &input).unwrap(), expected, "seed {seed}\n{after}");
        }
        let options = Options { weights: weights.digest(), ..Options::default() };
        let plan = fuse(&graph, &options).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}"));
        plan.check().unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}"));
        weights.check(&plan).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}"));
        assert_eq!(ideal(&plan, &weights, &input).unwrap(), expected, "seed {seed}\n{graph}");
        let again = Plan::from_json(&plan.to_json()).unwrap();
        assert_eq!(again, plan, "seed {seed}");
    }
}

#[test]
fn values_stay_within_their_wires_intervals() {
    for seed in NETWORKS {
        let (graph, weights) = random_network(seed);
        let wires = eval_wires(&graph, &weights, &random_input(&graph, 2, seed)).unwrap();
        for (node, values) in graph.nodes().iter().zip(&wires) {
            let found = hull(values);
            assert!(
                node.wire.range.contains(found),
                "seed {seed}, {}: {found}\n{graph}",
                node.name
            );
            assert_eq!(values.len(), 2 * node.wire.elements(), "seed {seed}, {}", node.name);
        }
    }
}

#[test]
fn every_pass_keeps_the_integers() {
    for seed in NETWORKS {
        let (graph, weights) = random_network(seed);
        let input = random_input(&graph, 2, seed);
        let expected = eval(&graph, &weights, &input).unwrap();
        for pass in simplifying().into_iter().chain(legalizing()) {
            let name = pass.name();
            let after = rewrite(&graph, &[pass]).unwrap();
            let found = eval(&after, &weights, &input).unwrap();
            assert_eq!(found, expected, "seed {seed}, {name}\n{graph}\n{after}");
        }
    }
}

#[test]
fn leaving_any_pass_out_keeps_the_integers_at_a_price() {
    let networks: Vec<_> = (0..120).map(|seed| (seed, random_network(seed))).collect();
    let bits = |plan: &Plan| plan.cost(1).offline.bits() + plan.cost(1).online.bits();
    let with: u64 = networks
        .iter()
        .map(|(_, (graph, _))| bits(&fuse(graph, &Options::default()).unwrap()))
        .sum();
    for pass in simplifying() {
        let without = [pass.name().to_owned()].into();
        let options = Options { without, ..Options::default() };
        let mut total = 0;
        for (seed, (graph, weights)) in &networks {
            let input = random_input(graph, 2, *seed);
            let plan = fuse(graph, &options)
                .unwrap_or_else(|e| panic!("{}, seed {seed}: {e}", pass.name()));
            plan.check().unwrap_or_else(|e| panic!("{}, seed {seed}: {e}\n{graph}", pass.name()));
            let expected = eval(graph, weights, &input).unwrap();
            assert_eq!(
                ideal(&plan, weights, &input).unwrap(),
                expected,
                "{}, seed {seed}",
                pass.name()
            );
            total += bits(&plan);
        }
        assert!(total >= with, "{}: {total} bits without, {with} with", pass.name());
    }
    let unknown = Options { without: ["nothing".to_owned()].into(), ..Options::default() };
    let refused = fuse(&networks[0].1.0, &unknown);
    assert!(matches!(refused, Err(Error::UnknownPass { pass, .. }) if pass == "nothing"));
}

#[test]
fn stages_end_where_lowering_begins() {
    for seed in 0..120 {
        let (graph, weights) = random_network(seed);
        let input = random_input(&graph, 2, seed);
        let expected = eval(&graph, &weights, &input).unwrap();
        let stages = stages(&graph, &BTreeSet::new()).unwrap();
        for stage in &stages {
            assert!(stage.places > 0, "seed {seed}: {}", stage.pass);
            assert_eq!(
                eval(&stage.graph, &weights, &input).unwrap(),
                expected,
                "seed {seed}: {}",
                stage.pass
            );
        }
        let last = stages.last().map_or(&graph, |stage| &stage.graph);
        let lowered = fuse(&graph, &Options::default()).unwrap();
        let steps = lowered.steps.iter().map(|step| step.name.as_str());
        let nodes = last.nodes().iter().filter(|node| !matches!(node.op, Op::Add { .. }));
        assert!(steps.eq(nodes.map(|node| node.name.as_str())), "seed {seed}\n{last}");
    }
}

#[test]
fn a_label_is_the_first_largest_logit() {
    for seed in NETWORKS {
        let (graph, weights) = random_network(seed);
        let input = random_input(&graph, 3, seed);
        let winograd = if seed % 2 == 0 { winograd_nodes(&graph) } else { BTreeSet::new() };
        let options = Options { weights: weights.digest(), winograd, ..Options::default() };
        let plan = fuse(&graph, &options).unwrap();
        let label =
            plan.revealing(Reveal::Label).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{plan:#?}"));
        assert_eq!((plan.reveals(), label.reveals()), (Reveal::Logits, Reveal::Label));
        assert_eq!(plan.revealing(Reveal::Logits).unwrap(), plan);
        assert_eq!(label.revealing(Reveal::Label).unwrap(), label);
        assert!(label.revealing(Reveal::Logits).is_err());
        weights.check(&label).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}{label:#?}"));
        let logits = eval(&graph, &weights, &input).unwrap();
        let largest = |image: usize| {
            let values: Vec<i64> = logits.iter().skip(image).step_by(3).copied().collect();
            let most = values.iter().max().copied();
            values.iter().position(|value| Some(*value) == most).unwrap() as i64
        };
        let expected: Vec<i64> = (0..3).map(largest).collect();
        assert_eq!(
            ideal(&label, &weights, &input).unwrap(),
            expected,
            "seed {seed}\n{graph}{label:#?}"
        );
    }
}

#[test]
fn plans_compute_in_their_rings_what_graphs_mean() {
    for seed in NETWORKS {
        let (graph, weights) = random_network(seed);
        let input = random_input(&graph, 2, seed);
        let winograd = if seed % 2 == 0 { winograd_nodes(&graph) } else { BTreeSet::new() };
        let options = Options { weights: weights.digest(), winograd, ..Options::default() };
        let plan = fuse(&graph, &options).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}"));
        plan.check().unwrap_or_else(|e| panic!("seed {seed}: {e}\n{plan:#?}"));
        weights.check(&plan).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}{plan:#?}"));
        let found = ideal(&plan, &weights, &input)
            .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{plan:#?}"));
        assert_eq!(
            found,
            eval(&graph, &weights, &input).unwrap(),
            "seed {seed}\n{graph}\n{plan:#?}"
        );
    }
}
