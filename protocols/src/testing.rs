//! The one harness: two sessions in one process, and the law of an operator. The dealer lives here
//! and nowhere else.

use std::fmt::Debug;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::{Block, Channel, Error, Limits, Operator, Role, Session, Shared};

/// A runtime for two parties.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Two connected sessions with empty pools, within the runtime that the caller has entered.
pub(crate) fn sessions(seed: u64) -> (Session, Session) {
    let (left, right) = Channel::pair(Limits::default());
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let id = rng.random();
    (
        Session::new(Role::Server, left, id, rng.random()),
        Session::new(Role::Client, right, id, rng.random()),
    )
}

/// Two sessions whose pools a dealer has filled with `cots` OTs in each direction.
pub(crate) fn sessions_with_dealer(seed: u64, cots: usize) -> (Session, Session) {
    let (mut server, mut client) = {
        let runtime = runtime();
        let _entered = runtime.enter();
        sessions(seed)
    };
    deal(&mut server, &mut client, seed, [cots; 2]);
    (server, client)
}

/// OTs of both directions, the server's first.
fn deal(
    server: &mut Session,
    client: &mut Session,
    seed: u64,
    [from_server, from_client]: [usize; 2],
) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0xDEA1);
    deal_one_way(server, client, &mut rng, from_server);
    deal_one_way(client, server, &mut rng, from_client);
}

fn deal_one_way(sender: &mut Session, receiver: &mut Session, rng: &mut impl Rng, cots: usize) {
    let delta = Block(rng.random::<u128>() | 1);
    let keys: Vec<Block> = (0..cots).map(|_| Block(rng.random::<u128>() & !1)).collect();
    let received: Vec<Block> = keys.iter().map(|k| *k ^ delta.masked(rng.random())).collect();
    sender.pools.set_delta(delta);
    sender.pools.add_sent(keys.into());
    receiver.pools.add_received(received.into());
}

/// Runs a closure for both parties at the same time, with pools of `cots` OTs in each
/// direction.
pub(crate) fn two_parties<A, B, S, C>(seed: u64, cots: usize, server: S, client: C) -> (A, B)
where
    S: AsyncFnOnce(&mut Session) -> Result<A, Error>,
    C: AsyncFnOnce(&mut Session) -> Result<B, Error>,
{
    runtime().block_on(async {
        let (mut left, mut right) = sessions(seed);
        deal(&mut left, &mut right, seed, [cots; 2]);
        let (a, b) = tokio::join!(server(&mut left), client(&mut right));
        (a.unwrap(), b.unwrap())
    })
}

/// The law: `reveal(run(share(x))) == ideal(x)`; what was measured equals what was predicted, at
/// both parties ([`Session::run`] sees to it); and what is drawn is what was declared.
pub(crate) fn law<O: Operator>(operator: &O, input: &<O::Input as Shared>::Clear, seed: u64)
where
    <O::Output as Shared>::Clear: PartialEq + Debug,
{
    let (cost, demands) = (operator.cost(), operator.demands());
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let (for_server, for_client) = O::Input::share(input, &mut rng);
    let (left, right) = runtime().block_on(async {
        let (mut server, mut client) = sessions(seed);
        for session in [&mut server, &mut client] {
            session.order(cost, &demands);
        }
        let cots = [cost.server_cots, cost.client_cots].map(|count| count as usize);
        deal(&mut server, &mut client, seed, cots);
        let parts =
            tokio::join!(server.run(operator, for_server), client.run(operator, for_client));
        for session in [&mut server, &mut client] {
            let end = session.settle_pads();
            assert!(end.is_ok() && session.late() == 0, "{} draws what it declares", O::NAME);
        }
        (parts.0.unwrap(), parts.1.unwrap())
    });
    assert_eq!(
        O::Output::reveal(&left, &right),
        operator.ideal(input),
        "{} with seed {seed}",
        O::NAME
    );
}

/// The least value of a width: zero, that of two's complement, the least that there can be, or any
/// between.
pub(crate) fn low(bits: u32, choice: u64) -> i64 {
    let most = i64::MAX >> (63 - bits);
    match choice % 4 {
        0 => 0,
        1 => -1 << (bits - 1),
        2 => -most,
        _ => -((choice >> 2) as i64 & most),
    }
}

/// Ring elements of which the extremes are frequent.
pub(crate) fn extremes(ring: crate::Bits, len: usize, rng: &mut impl Rng) -> Vec<u64> {
    let special = [0, 1, ring.mask(), ring.mask() >> 1, (ring.mask() >> 1) + 1];
    (0..len)
        .map(|_| {
            if rng.random() {
                special[rng.random_range(0..special.len())]
            } else {
                ring.reduce(rng.random())
            }
        })
        .collect()
}
