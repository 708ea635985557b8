use proptest::prelude::*;

use super::*;
use crate::ot::testing::{Transfers, check};
use crate::{Error, Operator, Session, testing};

/// Bootstraps, extends as asked, and returns the OTs of both directions: (sent by the server,
/// received by the client), (sent by the client, received by the server).
fn extended(seed: u64, parameters: Parameters, counts: &[(usize, usize)]) -> [Transfers; 2] {
    let party = async |session: &mut Session| {
        session.run(&Bootstrap { parameters }, ()).await?;
        for &(server, client) in counts {
            session.run(&FerretExtend { parameters, server, client }, ()).await?;
        }
        let (sent, received) = session.pools.left();
        Ok((session.take_sent(sent)?, session.take_received(received)?))
    };
    let ((s_sent, s_received), (c_sent, c_received)) = testing::two_parties(seed, 0, party, party);
    [(s_sent, c_received), (c_sent, s_received)]
}

/// Every OT is correlated, and none occurs twice. [`Session::run`] holds what is moved
/// against the cost.
fn obeys(
    seed: u64,
    parameters: Parameters,
    counts: &[(usize, usize)],
) -> Result<(), TestCaseError> {
    let ots = extended(seed, parameters, counts);
    let totals = [counts.iter().map(|c| c.0).sum(), counts.iter().map(|c| c.1).sum()];
    for (ots, total) in ots.iter().zip(totals) {
        check(ots, total)?;
        let keys: std::collections::HashSet<u128> = ots.0.keys.iter().map(|key| key.0).collect();
        prop_assert_eq!(keys.len(), total);
    }
    prop_assert!(ots[0].0.delta != ots[1].0.delta);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 1 } else { 12 }))]

    /// Several extensions in a row, the reserve carried over.
    #[test]
    fn transfers_are_correlated_and_cost_what_was_declared(
        seed: u64, counts in prop::collection::vec((0usize..120_000, 0usize..120_000), 1..4)) {
        obeys(seed, Parameters::SMALLEST, &counts)?;
    }
}

/// More than a whole batch of the smallest set in one direction, none in the other, then the other
/// way round.
#[test]
fn whole_batches_leave_a_reserve_for_the_next() {
    if cfg!(debug_assertions) {
        return;
    }
    obeys(3, Parameters::SMALLEST, &[(1_700_001, 0), (5, 900_000)]).unwrap();
}

#[test]
fn every_set_starts_from_the_smallest() {
    if cfg!(debug_assertions) {
        return;
    }
    for set in Parameters::all() {
        obeys(u64::from(u8::from(set)), set, &[(70_000, 1), (3, 200_000)]).unwrap();
    }
}

#[test]
fn all_batches_are_one_round_and_of_the_sender_alone() {
    for set in Parameters::all() {
        let extend = |server, client| FerretExtend { parameters: set, server, client }.cost();
        let cost = extend(50_000_000, 0);
        assert_eq!((cost.rounds, cost.client_bytes), (1, 0));
        assert_eq!(extend(50_000_000, 50_000_000), cost.beside(extend(0, 50_000_000)));
        assert_eq!(extend(0, 0), crate::Cost::ZERO);
    }
}

/// The table of docs/protocols.md: a start, and a supply of one and of five million OTs.
#[test]
fn the_documented_bytes_are_those_of_the_sets() {
    let bytes = |cost: crate::Cost| cost.server_bytes + cost.client_bytes;
    let found: Vec<[u64; 3]> = Parameters::all()
        .map(|parameters| {
            let supply = |server| FerretExtend { parameters, server, client: 0 }.cost();
            [Bootstrap { parameters }.cost(), supply(1_000_000), supply(5_000_000)].map(bytes)
        })
        .collect();
    assert_eq!(found, DOCUMENTED);
}

const DOCUMENTED: [[u64; 3]; 5] = [
    [282_904, 321_328, 1_606_256],
    [340_456, 179_304, 840_468],
    [417_236, 99_212, 454_596],
    [496_250, 65_836, 238_140],
    [581_196, 48_204, 142_092],
];

#[test]
fn extending_without_a_bootstrap_is_an_error() {
    let runtime = testing::runtime();
    runtime.block_on(async {
        let (mut session, _peer) = testing::sessions(3);
        let extend = FerretExtend { parameters: Parameters::SMALLEST, server: 1, client: 1 };
        assert!(matches!(session.run(&extend, ()).await, Err(Error::Invalid { .. })));
    });
}

#[test]
fn a_message_of_another_length_is_a_violation() {
    let runtime = testing::runtime();
    runtime.block_on(async {
        let (mut victim, mut peer) = testing::sessions(4);
        let bootstrap = Bootstrap { parameters: Parameters::SMALLEST };
        let ready = tokio::join!(victim.run(&bootstrap, ()), peer.run(&bootstrap, ()));
        assert!(ready.0.is_ok() && ready.1.is_ok());
        let extend = FerretExtend { parameters: Parameters::SMALLEST, server: 0, client: 1000 };
        peer.channel.send(&[0; 16]).unwrap();
        assert!(matches!(victim.run(&extend, ()).await, Err(Error::Violation { .. })));
    });
}
