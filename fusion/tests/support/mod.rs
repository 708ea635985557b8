//! A whole session of two parties, in this process.

use std::sync::Arc;

use protocols::execute::{Event, Logits, Report, Side, execute};
use protocols::plan::{Load, Plan};
use protocols::weights::Weights;
use protocols::{Channel, Error, Limits, Role, Session};
use tokio::runtime::{Builder, Runtime};

/// What one party ends with.
pub(crate) type Ended = Result<(Logits, Report), Error>;

pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the system has two threads")
}

/// Runs a session; what the server and the client end with.
pub(crate) fn session(
    runtime: &Runtime,
    plan: &Plan,
    weights: &Weights,
    input: &[i64],
    load: Load,
) -> (Ended, Ended) {
    let (plan, weights) = (Arc::new(plan.clone()), Arc::new(weights.clone()));
    runtime.block_on(async {
        let (left, right) = Channel::pair(Limits::default());
        let server = Session::new(Role::Server, left, [1; 32], [2; 32]);
        let client = Session::new(Role::Client, right, [1; 32], [3; 32]);
        let (mut quiet, mut silent) = (|_: Event<'_>| (), |_: Event<'_>| ());
        tokio::join!(
            execute(&plan, server, Side::Server(&weights), load, &mut quiet),
            execute(&plan, client, Side::Client(input), load, &mut silent)
        )
    })
}
