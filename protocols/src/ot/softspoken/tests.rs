use proptest::prelude::*;

use super::*;
use crate::ot::testing::{Transfers, check};
use crate::testing;

/// Sets up, extends as asked, and returns the OTs of both directions: (sent by the server,
/// received by the client), (sent by the client, received by the server).
fn extended(seed: u64, depth: TreeDepth, counts: &[(usize, usize)]) -> [Transfers; 2] {
    let party = async |session: &mut Session| {
        session.run(&Setup { depth }, ()).await?;
        for &(server, client) in counts {
            session.run(&Extend { depth, server, client }, ()).await?;
        }
        let (sent, received) = session.pools.left();
        Ok((session.take_sent(sent)?, session.take_received(received)?))
    };
    let ((s_sent, s_received), (c_sent, c_received)) = testing::two_parties(seed, 0, party, party);
    [(s_sent, c_received), (c_sent, s_received)]
}

fn depth() -> impl Strategy<Value = TreeDepth> {
    (1u8..=8).prop_map(|levels| TreeDepth::new(levels).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// [`Session::run`] holds what is moved against the cost.
    #[test]
    fn transfers_are_correlated_and_cost_what_was_declared(
        seed: u64, depth in depth(), server in 0..3 * BATCH, client in 0..3 * BATCH) {
        let [from_server, from_client] = extended(seed, depth, &[(server, client)]);
        check(&from_server, server)?;
        check(&from_client, client)?;
        prop_assert!(from_server.0.delta != from_client.0.delta);
    }

    #[test]
    fn streams_are_never_used_twice(
        seed: u64,
        depth in depth(),
        counts in prop::collection::vec((0..2 * BATCH, 0..2 * BATCH), 2..5),
    ) {
        let ots = extended(seed, depth, &counts);
        let totals = [counts.iter().map(|c| c.0).sum(), counts.iter().map(|c| c.1).sum()];
        let mut seen = std::collections::HashSet::new();
        for (ots, total) in ots.iter().zip(totals) {
            check(ots, total)?;
            prop_assert!(ots.0.keys.iter().all(|key| seen.insert(key.0)));
        }
    }
}

#[test]
fn long_streams_of_unlike_length_neither_stall_nor_count_rounds() {
    let counts = [(40 * CHUNK + 1, 3 * CHUNK), (0, 30 * CHUNK - 5)];
    let depth = TreeDepth::new(2).unwrap();
    let ots = extended(7, depth, &counts);
    check(&ots[0], 40 * CHUNK + 1).unwrap();
    check(&ots[1], 33 * CHUNK - 5).unwrap();
    for (server, client) in counts {
        assert_eq!(Extend { depth, server, client }.cost().rounds, 1);
    }
}

#[test]
fn a_transfer_costs_a_bit_for_every_tree_but_one_and_a_chunk_is_one_frame() {
    let header = crate::frame::framed_len(1) - 1;
    for (depth, bits) in TreeDepth::all().zip([127, 63, 42, 31, 25, 21, 18, 15]) {
        let cost = Extend { depth, server: CHUNK, client: 0 }.cost();
        assert_eq!(cost.client_bytes, bits * CHUNK as u64 / 8 + header);
        assert_eq!((cost.server_bytes, cost.rounds), (0, 1));
    }
}

#[test]
fn extending_without_a_set_up_is_an_error() {
    let runtime = testing::runtime();
    runtime.block_on(async {
        let (mut session, _peer) = testing::sessions(3);
        let result = session.run(&Extend { depth: TreeDepth::MAX, server: 1, client: 1 }, ()).await;
        assert!(matches!(result, Err(Error::Invalid { .. })));
    });
}
