//! Random small networks: what two parties compute is what `eval` says, in the order of passes, lowering and execution.

use fusion::testing::{random_input, random_network};
use fusion::{Options, eval, fuse};
use protocols::execute::{Event, Side, execute};
use protocols::{Channel, Limits, Role, Session};

const NETWORKS: u64 = 40;
const IMAGES: usize = 2;

#[test]
fn two_parties_compute_what_eval_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for seed in 0..NETWORKS {
        let (graph, weights) = random_network(seed);
        let input = random_input(&graph, IMAGES, seed);
        let options = Options { weights: weights.digest(), ..Options::default() };
        let plan = fuse(&graph, &options).unwrap();
        let (server, client) = runtime.block_on(async {
            let (left, right) = Channel::pair(Limits::default());
            let mut server = Session::new(Role::Server, left, [1; 32], [2; 32]);
            let mut client = Session::new(Role::Client, right, [1; 32], [3; 32]);
            let (mut quiet, mut silent) = (|_: Event<'_>| (), |_: Event<'_>| ());
            tokio::join!(
                execute(&plan, &mut server, Side::Server(&weights), IMAGES, &mut quiet),
                execute(&plan, &mut client, Side::Client(&input), IMAGES, &mut silent)
            )
        });
        server.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"));
        let (logits, _) = client.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"));
        let expected = eval(&graph, &weights, &input).unwrap();
        assert_eq!(logits, Some(expected), "seed {seed}\n{graph}\n{plan:#?}");
    }
}
