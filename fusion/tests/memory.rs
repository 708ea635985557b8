//! The memory that is predicted for networks, without running them.

#![allow(clippy::unwrap_used)]

use fusion::testing::{random_network, resnet20};
use fusion::{Graph, Options, Weights, fuse};
use protocols::Role;
use protocols::allowance::{allowed, most};
use protocols::plan::{Load, Plan};

fn plan((graph, weights): &(Graph, Weights), streamed: bool) -> Plan {
    fuse(graph, &Options { weights: weights.digest(), streamed, ..Options::default() }).unwrap()
}

#[test]
fn more_at_a_time_takes_more_and_more_after_each_other_only_the_clients_input() {
    let plan = plan(&random_network(3), false);
    let input = 8 * plan.input_wire().elements() as u64;
    for role in [Role::Server, Role::Client] {
        let memory = |load| plan.memory(role, load);
        let batches: Vec<u64> =
            [1, 2, 3, 80, 3000].map(|images| memory(Load::one(images))).to_vec();
        assert!(
            batches.is_sorted_by(|a, b| a <= b) && batches[0] < batches[4],
            "{role:?}: {batches:?}"
        );
        let prepared: Vec<u64> =
            [1, 2, 3, 80, 3000].map(|count| memory(Load::new(1, count, count))).to_vec();
        assert!(
            prepared.is_sorted_by(|a, b| a <= b) && prepared[0] < prepared[4],
            "{role:?}: {prepared:?}"
        );
        let (few, many) = (memory(Load::split(4, 2)), memory(Load::split(400, 2)));
        let more = if role == Role::Client { 396 * input } else { 0 };
        assert!((more..=more + more / 8).contains(&(many - few)), "{role:?}: {few} and {many}");
    }
}

#[test]
fn a_streamed_plan_takes_less() {
    let network = resnet20(1);
    let (kept, streamed) = (plan(&network, false), plan(&network, true));
    for role in [Role::Server, Role::Client] {
        // What is prepared for each inference is what a streamed plan has less of.
        let saved = [1, 16].map(|count| {
            let load = Load::new(1, count, count);
            let [kept, streamed] = [&kept, &streamed].map(|plan| plan.memory(role, load));
            assert!(streamed < kept, "{role:?}: {streamed} and {kept}");
            kept - streamed
        });
        assert!(saved[1] > 2 * saved[0], "{role:?}: {saved:?}");
    }
}

#[test]
fn no_load_that_a_peer_can_ask_for_overflows_the_prediction() {
    let network = random_network(3);
    for plan in [plan(&network, false), plan(&network, true)] {
        for load in [Load::one(1 << 20), Load::new(1, 1 << 20, 1), Load::new(1 << 10, 1, 1 << 10)] {
            load.check().unwrap();
            for role in [Role::Server, Role::Client] {
                let excess = allowed(|load| plan.memory(role, load), 64 << 20, load).err();
                let too_much = load.at_a_time() > 1 << 10 && !plan.streamed;
                assert!(excess.is_some() || !too_much, "{role:?} {load:?}");
            }
        }
        let fits = |images| plan.memory(Role::Server, Load::one(images)) <= 64 << 20;
        let most = most(1 << 20, fits);
        assert!(most >= 1 && fits(most) && !fits(most + 1), "{most}");
    }
}
