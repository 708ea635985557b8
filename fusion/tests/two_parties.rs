//! Random small networks: what two parties compute is what `eval` says, in the order of passes,
//! lowering and execution.

use std::sync::Arc;

use fusion::planner::cheapest;
use fusion::testing::{
    random_input, random_joined_network, random_linearized_network, random_network, winograd_nodes,
};
use fusion::{Graph, Options, Weights, eval, fuse, ideal};
use protocols::execute::{Event, PartySession};
use protocols::ot::OtExtensions;
use protocols::plan::{Kind, Load, Op, Plan, Protocol, Protocols, Reveal};
use protocols::{Channel, Error, Limits, Phases, Role, Session};
use rand::SeedableRng;
use rand::seq::IteratorRandom;
use rand_chacha::ChaCha20Rng;
use support::{runtime, session};

mod support;

const NETWORKS: u64 = 40;
const IMAGES: usize = 2;

#[test]
fn two_parties_compute_what_eval_says() {
    for seed in 0..NETWORKS {
        let (graph, weights) = random_network(seed);
        let input = random_input(&graph, IMAGES, seed);
        let protocols: Vec<Protocol> = Protocol::all().collect();
        let protocol = protocols[seed as usize % protocols.len()];
        let winograd = winograd_nodes(&graph);
        // Every protocol both ways, kept and streamed.
        let streamed = seed as usize / protocols.len() % 2 == 1;
        let options = Options {
            weights: weights.digest(),
            protocol,
            winograd,
            streamed,
            ..Options::default()
        };
        let plan = fuse(&graph, &options).unwrap();
        let reveal = if seed % 3 == 0 { Reveal::Label } else { Reveal::Logits };
        let plan = plan.revealing(reveal).unwrap();
        runs((&graph, &weights), &plan, &input, seed);
    }
}

/// Concatenations and orders, of which nothing moves, and products; kept and streamed.
#[test]
fn two_parties_compute_joined_networks() {
    all_compute_what_eval_says(random_joined_network);
}

#[test]
fn two_parties_compute_partly_linear_networks() {
    all_compute_what_eval_says(random_linearized_network);
}

fn all_compute_what_eval_says(network: fn(u64) -> (Graph, Weights)) {
    for seed in 0..NETWORKS / 2 {
        let (graph, weights) = network(seed);
        let input = random_input(&graph, IMAGES, seed);
        let digest = weights.digest();
        let plan = match seed % 2 {
            0 => cheapest(&graph, &digest, OtExtensions::Any, Protocols::All),
            _ => {
                let streamed = seed % 4 == 1;
                let options = Options { weights: digest, streamed, ..Options::default() };
                fuse(&graph, &options)
            }
        };
        let plan = plan.expect("a network of the generator has a plan");
        let reveal = if seed % 3 == 0 { Reveal::Label } else { Reveal::Logits };
        let plan = plan.revealing(reveal).expect("a plan can reveal either");
        runs((&graph, &weights), &plan, &input, seed);
    }
}

/// Plans with hints: all ways that there are, and those that the planner takes.
#[test]
fn two_parties_compute_what_eval_says_by_hints() {
    let (mut hints, mut carries) = (0, 0);
    for seed in 0..NETWORKS {
        let (graph, weights) = random_network(seed);
        let input = random_input(&graph, IMAGES, seed);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let digest = weights.digest();
        let plan = match seed % 4 {
            0 => cheapest(&graph, &digest, OtExtensions::Any, Protocols::All).unwrap(),
            _ => {
                let streamed = seed % 4 == 1;
                let mut options = Options { weights: digest, streamed, ..Options::default() };
                let plan = fuse(&graph, &options).unwrap();
                for step in &plan.steps {
                    let ways = plan.prices().variants(&step.op).into_iter();
                    let ways: Vec<Op> = ways.filter(by_hint).collect();
                    if let Some(at) = (0..ways.len()).choose(&mut rng) {
                        options.like(&step.name, &ways[at]);
                    }
                }
                fuse(&graph, &options).unwrap()
            }
        };
        hints += plan.steps.iter().filter(|step| by_hint(&step.op)).count();
        carries += plan.wires.iter().filter(|wire| wire.carry.is_some()).count();
        plan.check().unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"));
        let reveal = if seed % 3 == 0 { Reveal::Label } else { Reveal::Logits };
        runs((&graph, &weights), &plan.revealing(reveal).unwrap(), &input, seed);
    }
    println!("{hints} layers by hints, {carries} of them with carries");
    assert!(hints > 2 * NETWORKS as usize && carries > NETWORKS as usize / 2);
}

fn by_hint(op: &Op) -> bool {
    op.layer().is_some_and(|layer| matches!(layer.protocol, Protocol::Hint(_)))
}

/// Two parties run a plan: what comes out is what the network means, at the price that was
/// predicted.
fn runs((graph, weights): (&Graph, &Weights), plan: &Plan, input: &[i64], seed: u64) {
    let (server, client) = session(&runtime(), plan, weights, input, Load::one(IMAGES));
    server.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"));
    let (logits, report) = client.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"));
    let expected = match plan.reveals() {
        Reveal::Logits => eval(graph, weights, input).expect("a network is evaluated"),
        Reveal::Label => ideal(plan, weights, input).expect("a plan is run in the clear"),
    };
    assert_eq!(logits, Some(expected), "seed {seed}\n{graph}\n{plan:#?}");
    assert_eq!(report.setup.cost, plan.session_cost(report.load), "seed {seed}");
    for line in &report.steps {
        let Phases { offline, online, .. } = line.predicted.cost;
        assert_eq!(
            (line.offline.cost, line.online.cost),
            (offline, online),
            "seed {seed}: {line:?}"
        );
    }
}

/// Several inferences, prepared a few at a time, the last of fewer images: the ledger of the whole
/// run is as predicted.
#[test]
fn what_is_run_in_several_batches_is_right_and_costs_what_was_predicted() {
    let runtime = runtime();
    let loads = [
        Load::split(5, 2),
        Load::split(7, 3).preparing(2),
        Load::split(4, 2).preparing(2),
        Load { last: 1, ..Load::new(2, 3, 2) },
    ];
    for (seed, load) in (0..).zip(loads.into_iter().cycle().take(6)) {
        let (graph, weights) = random_network(seed);
        let inputs: Vec<Vec<i64>> = (0..load.inferences)
            .map(|at| random_input(&graph, load.images_of(at), 100 * seed + at as u64))
            .collect();
        let streamed = seed % 2 == 1;
        let options = Options { weights: weights.digest(), streamed, ..Options::default() };
        let plan = fuse(&graph, &options).unwrap();
        let input = inputs.concat();
        let (server, client) = session(&runtime, &plan, &weights, &input, load);
        let (logits, asked) =
            client.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"));
        let expected: Vec<i64> =
            inputs.iter().flat_map(|input| eval(&graph, &weights, input).unwrap()).collect();
        assert_eq!(logits, Some(expected), "seed {seed} {load:?}");
        for report in [asked, server.unwrap().1] {
            for line in &report.steps {
                let Phases { offline, online, .. } = line.predicted.cost;
                let measured = (line.offline.cost, line.online.cost);
                assert_eq!(measured, (offline, online), "seed {seed} {load:?}: {line:?}");
            }
        }
    }
}

#[test]
fn prepared_inferences_are_used_once_each_and_then_it_is_an_error() {
    let runtime = runtime();
    for seed in 0..6 {
        let (graph, weights) = random_network(seed);
        let inputs: Vec<Vec<i64>> =
            (0..3).map(|at| random_input(&graph, IMAGES, 100 * seed + at)).collect();
        let protocol =
            if seed < 3 { Protocol::Vole { k: 4 } } else { Protocol::VoleOfActivations { k: 4 } };
        let streamed = seed % 3 == 2;
        let options =
            Options { weights: weights.digest(), protocol, streamed, ..Options::default() };
        let plan = fuse(&graph, &options).unwrap();
        let plan = Arc::new(plan);
        let load = Load::new(IMAGES, 3, 3);
        let (left, right) = {
            let _entered = runtime.enter();
            Channel::pair(Limits::default())
        };
        let server = Session::new(Role::Server, left, [1; 32], [2; 32]);
        let client = Session::new(Role::Client, right, [1; 32], [3; 32]);
        // Two at once, used up; then one more, on a session that has run before; then none is left.
        let serve = async {
            let quiet = &mut |_: Event<'_>| ();
            let own = Some(Arc::new(weights.clone()));
            let mut run = PartySession::open(Arc::clone(&plan), server, own, load, quiet).await?;
            run.prepare(2, quiet).await?;
            run.infer(&[], quiet).await?;
            run.infer(&[], quiet).await?;
            assert!(matches!(run.infer(&[], quiet).await, Err(Error::Unprepared { .. })));
            run.prepare(1, quiet).await?;
            run.infer(&[], quiet).await?;
            run.close().await
        };
        let ask = async {
            let quiet = &mut |_: Event<'_>| ();
            let mut run = PartySession::open(Arc::clone(&plan), client, None, load, quiet).await?;
            let mut logits = Vec::new();
            run.prepare(2, quiet).await?;
            // An input that does not fit uses nothing up.
            assert!(matches!(run.infer(&inputs[0][1..], quiet).await, Err(Error::Invalid { .. })));
            logits.push(run.infer(&inputs[0], quiet).await?);
            logits.push(run.infer(&inputs[1], quiet).await?);
            assert!(matches!(run.infer(&inputs[2], quiet).await, Err(Error::Unprepared { .. })));
            run.prepare(1, quiet).await?;
            logits.push(run.infer(&inputs[2], quiet).await?);
            assert!(matches!(run.infer(&inputs[2], quiet).await, Err(Error::Unprepared { .. })));
            Ok::<_, Error>((logits, run.close().await?))
        };
        let (served, asked) = runtime.block_on(async { tokio::join!(serve, ask) });
        let ((logits, asked), served) = (asked.unwrap(), served.unwrap());
        for (input, logits) in inputs.iter().zip(logits) {
            assert_eq!(logits, Some(eval(&graph, &weights, input).unwrap()), "seed {seed}");
        }
        assert_eq!(
            (asked.offline().cost, asked.online().cost),
            (served.offline().cost, served.online().cost)
        );
        // Online, a linear layer is at most one message of the client.
        for step in asked.steps.iter().filter(|step| step.predicted.kind == Kind::Linear) {
            let online = step.online.cost;
            assert_eq!((online.server_bytes, online.server_cots, online.client_cots), (0, 0, 0));
            assert!(online.rounds <= 3, "one for each inference: {online:?}");
        }
    }
}
