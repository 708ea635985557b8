//! Sessions of networks whose layers have hints: made anew, sent from their file, or known.

use std::sync::Arc;

use fusion::testing::{random_input, random_network};
use fusion::{Options, fuse, ideal};
use protocols::execute::{Holdings, PartySession, Report};
use protocols::hints::{PublicHints, ServerHints};
use protocols::plan::{Hints, Load, Op, Plan, Reveal};
use protocols::weights::Weights;
use protocols::{Channel, Error, Limits, Phases, Role, Session};
use support::runtime;

#[allow(dead_code)] // not all of it is for these tests
mod support;

/// The plan with a hint for every layer that can have one, and layers beside each other wherever
/// the label's plan can have them so too.
fn hinted(mut plan: Plan) -> Plan {
    for index in 0..plan.steps.len() {
        let ways = plan.variants(&plan.steps[index].op).into_iter();
        let mut ways = ways.filter(|op| op.layer().is_some_and(|layer| layer.has_hint()));
        if let Some(op) = ways.next() {
            plan.steps[index].op = op;
        }
    }
    plan.check().expect("variants of a plan's steps are plans");
    let layers: Vec<usize> = plan.layers().map(|(at, ..)| at).collect();
    let pairs = layers.iter().flat_map(|&host| layers.iter().map(move |&own| (host, own)));
    for (host, own) in pairs {
        let found = plan.beside(host, &[own], 1);
        plan = found.filter(|found| found.revealing(Reveal::Label).is_ok()).unwrap_or(plan);
    }
    plan
}

/// Layers that read another one's encryptions.
fn beside(plan: &Plan) -> usize {
    let hints = plan.layers().filter_map(|(_, _, layer)| layer.protocol.hint().copied());
    hints.filter(|hint| hint.beside.is_some()).count()
}

fn network(seed: u64) -> (Plan, Weights, Vec<i64>, Load) {
    let (graph, weights) = random_network(seed);
    let streamed = seed % 3 == 2;
    let options = Options { weights: weights.digest(), streamed, ..Options::default() };
    let plan = hinted(fuse(&graph, &options).expect("a random network has a plan"));
    assert!(plan.has_hint_layers(), "seed {seed}");
    let load = Load { last: 1, ..Load::new(2, 1, 2) };
    let input = [random_input(&graph, 2, seed), random_input(&graph, 1, seed + 1)].concat();
    (plan, weights, input, load)
}

type Ended = Result<(Vec<i64>, Report), Error>;

/// One party, to its end.
async fn party(
    plan: &Plan,
    session: Session,
    holdings: Holdings,
    (load, input): (Load, &[i64]),
) -> Ended {
    let quiet = &mut |_: protocols::execute::Event<'_>| ();
    let plan = Arc::new(plan.clone());
    let elements = plan.input_wire().elements();
    let mut run = PartySession::open(plan, session, holdings, load, quiet).await?;
    let (mut found, mut at) = (Vec::new(), 0);
    for inference in 0..load.inferences {
        let len = elements * load.images_of(inference);
        let own = if input.is_empty() { input } else { &input[at..at + len] };
        found.extend(run.next(own, quiet).await?.into_iter().flatten());
        at += len;
    }
    Ok((found, run.close().await?))
}

/// Both parties; each may have a plan of its own.
fn both(
    [server, client]: [&Plan; 2],
    weights: &Arc<Weights>,
    (hints, known): (Option<Arc<ServerHints>>, Option<Arc<PublicHints>>),
    (load, input): (Load, &[i64]),
) -> (Ended, Ended) {
    let load = load.with(Hints::of(known.is_some()));
    runtime().block_on(async {
        let (left, right) = Channel::pair(Limits::default());
        let left = Session::new(Role::Server, left, [1; 32], [2; 32]);
        let right = Session::new(Role::Client, right, [1; 32], [3; 32]);
        let serving = Holdings::of_server(Arc::clone(weights), hints);
        tokio::join!(
            party(server, left, serving, (load, &[])),
            party(client, right, Holdings::of_client(known), (load, input))
        )
    })
}

fn expected(plan: &Plan, weights: &Weights, input: &[i64]) -> Vec<i64> {
    let (first, last) = input.split_at(2 * plan.input_wire().elements());
    let run = |input| ideal(plan, weights, input).expect("inputs fit");
    [first, last].into_iter().flat_map(run).collect()
}

#[test]
fn hints_made_sent_or_known_give_what_the_plaintext_network_says_at_the_price_predicted() {
    let mut found = 0;
    for seed in 0..9 {
        let (plain, weights, input, load) = network(seed);
        found += beside(&plain);
        let (plan, hints) = ServerHints::make(&plain, &weights).unwrap();
        let (hints, weights) = (Arc::new(hints.unwrap()), Arc::new(weights));
        let public = Arc::clone(hints.public());
        // One file serves both.
        let reveal = if seed % 2 == 0 { Reveal::Logits } else { Reveal::Label };
        let [plain, plan] = [plain, plan].map(|plan| plan.revealing(reveal).unwrap());
        let mut setups = Vec::new();
        for (plan, hints, known) in [
            (&plain, None, None),
            (&plan, Some(Arc::clone(&hints)), None),
            (&plan, Some(hints), Some(public)),
        ] {
            let way = Hints::of(known.is_some());
            let (server, client) = both([plan; 2], &weights, (hints, known), (load, &input));
            let (Ok(server), Ok(client)) = (&server, &client) else {
                panic!(
                    "seed {seed} {way:?}: {:?}, {:?}",
                    server.as_ref().err(),
                    client.as_ref().err()
                );
            };
            assert_eq!(client.0, expected(plan, &weights, &input), "seed {seed} {way:?}");
            for (_, report) in [server, client] {
                assert_eq!(report.setup.cost, plan.setup_cost(way), "seed {seed} {way:?}");
                for line in &report.steps {
                    let Phases { offline, online, .. } = line.predicted.cost;
                    let measured = (line.offline.cost, line.online.cost);
                    assert_eq!(measured, (offline, online), "seed {seed} {way:?}: {line:?}");
                }
            }
            setups.push(plan.setup_cost(way).server_bytes);
        }
        assert!(setups[1] >= setups[0] && setups[2] < setups[1], "seed {seed}: {setups:?}");
        let layers = plan.load_costs(load.with(Hints::Known)).into_iter();
        let filed = layers.filter(|step| step.protocol.starts_with("hint"));
        assert!(filed.map(|step| step.cost.setup.bytes()).all(|bytes| bytes == 0));
    }
    assert!(found > 0, "some layers are beside others");
}

#[test]
fn hints_that_are_not_the_plans_end_the_client_by_name() {
    let (plain, weights, input, load) = network(1);
    let (plan, hints) = ServerHints::make(&plain, &weights).unwrap();
    let hints = Arc::new(hints.unwrap());
    let weights = Arc::new(weights);
    let other = Plan { hints: Some("0".repeat(64)), ..plan.clone() };
    let run =
        |plans, known| both(plans, &weights, (Some(Arc::clone(&hints)), known), (load, &input));
    let (server, client) = run([&plan, &other], None);
    assert!(matches!(server, Err(Error::Dismissed { .. })), "{server:?}");
    let error = client.unwrap_err();
    assert!(matches!(error, Error::Violation { .. }), "{error}");
    assert!(error.to_string().contains("hints of the digest 0000"), "{error}");
    // What a party has is held against the plan before anything moves.
    let (_, client) = run([&plan, &other], Some(Arc::clone(hints.public())));
    assert!(client.unwrap_err().to_string().starts_with("hints: digest"));
    let (server, _) = run([&other, &plan], None);
    assert!(server.unwrap_err().to_string().starts_with("hints: digest"));
    let (server, client) = both([&plan; 2], &weights, (None, None), (load, &input));
    assert!(server.unwrap_err().to_string().contains("run `pq hints`"));
    assert!(client.is_err());
}

#[test]
fn weights_that_are_not_the_plans_have_no_hints() {
    let ((plan, weights, ..), (_, other, ..)) = (network(3), network(4));
    let (plan, hints) = ServerHints::make(&plan, &weights).unwrap();
    let secret = hints.unwrap().secret().clone();
    for error in [
        ServerHints::make(&plan, &other).unwrap_err(),
        ServerHints::restore(&plan, &other, secret).unwrap_err(),
    ] {
        assert!(error.to_string().contains("weights"), "{error}");
    }
    assert!(plan.steps.iter().any(|step| matches!(step.op, Op::Linear(_))));
}
