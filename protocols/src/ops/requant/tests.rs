//! The fused operator: exact, exhaustively for small rings, and at the price of its specification.

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use super::*;
use crate::{Shared, testing};

/// All parameters that are usable in a ring of `l` bits.
fn usable(l: u32, extra: u32) -> impl Iterator<Item = Requant> {
    let ring = Bits::of(l);
    (0..l - 1)
        .flat_map(move |shift| (1..l + 1).map(move |bits| (shift, bits)))
        .flat_map(move |(shift, bits)| {
            [0, -1 << (bits - 1), 1 - (1 << bits)].into_iter().map(move |low| Requant {
                len: 0,
                ring,
                shift,
                bits,
                low,
                out: Bits::of(bits + 1 + extra),
                and_depth: 1,
                form: Form::Narrow,
            })
        })
        .filter(|op| op.check().is_ok())
}

#[test]
fn requant_is_exact_for_all_values_and_shares_of_small_rings() {
    for l in 2..=6u32 {
        let all = 1u64 << l;
        for (index, op) in usable(l, l % 3).enumerate() {
            let form = if index / 5 % 2 == 0 { Form::Narrow } else { Form::Wide };
            let op = Requant {
                len: (all * all) as usize,
                and_depth: 2 * (index as u32 % 5),
                form,
                ..op
            };
            let server: Vec<u64> = (0..all * all).map(|i| i % all).collect();
            let client: Vec<u64> = (0..all * all).map(|i| i / all).collect();
            let sum = server.iter().zip(&client).map(|(p, q)| op.ring.reduce(p + q)).collect();
            let cost = op.cost();
            let cots = cost.server_cots.max(cost.client_cots) as usize;
            let (left, right) = testing::two_parties(
                u64::from(l),
                cots,
                async |session| session.run(&op, Share::new(op.ring, server)).await,
                async |session| session.run(&op, Share::new(op.ring, client)).await,
            );
            assert_eq!(
                Share::reveal(&left, &right),
                op.ideal(&Clear { ring: op.ring, values: sum }),
                "{op:?}"
            );
        }
    }
}

#[test]
fn the_ideal_is_rounding_and_clamping_where_nothing_wraps() {
    for op in (2..=9).flat_map(|l| usable(l, 0)) {
        let (k, a) = (op.shift, op.bits);
        let half = if k > 0 { 1i64 << (k - 1) } else { 0 };
        let (lo, hi) = (op.low, op.low + (1i64 << a) - 1);
        let shift = op.constant() as i64;
        let bound = 1i64 << (op.ring.get() - 1);
        for acc in (-bound - shift)..(bound - shift) {
            let y = ((acc + half) >> k).clamp(lo, hi);
            let input = Clear::encode(op.ring, &[acc]);
            assert_eq!(op.ideal(&input), Clear::encode(op.out, &[y]), "{op:?} at {acc}");
        }
    }
}

fn any_requant() -> impl Strategy<Value = Requant> {
    let and_depth = prop_oneof![0u32..=10, 0..=Requant::MAX_AND_DEPTH];
    (2u32..=64, any::<[u32; 4]>(), and_depth, 0usize..130, any::<u64>()).prop_map(
        |(l, [shift, bits, out, form], and_depth, len, low)| {
            let form = if form % 2 == 0 { Form::Narrow } else { Form::Wide };
            let shift = (shift % (l - 1)).min(62);
            // Results below zero need room above the bits that are kept.
            let low = if l >= shift + 2 { low } else { 0 };
            let most = if low % 4 > 0 { l - shift - 1 } else { 63 };
            let bits = 1 + bits % most.min(63);
            let low = testing::low(bits, low);
            let out = Bits::of(bits + 1 + out % (64 - bits));
            Requant { len, ring: Bits::of(l), shift, bits, low, out, and_depth, form }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn requant_obeys_the_law(op in any_requant(), seed: u64) {
        prop_assert_eq!(op.check(), Ok(()));
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let values = testing::extremes(op.ring, op.len, &mut rng);
        testing::law(&op, &Clear { ring: op.ring, values }, seed);
    }
}

fn typical(len: usize, form: Form, and_depth: u32) -> Requant {
    let (ring, out) = (Bits::of(14), Bits::of(14));
    Requant { len, ring, shift: 7, bits: 4, low: 0, out, and_depth, form }
}

/// Bits an element without the headers of frames.
fn price(op: Requant) -> (u64, Cost) {
    // both lengths take as many frames
    let (one, two) = (Requant { len: 64, ..op }.cost(), Requant { len: 128, ..op }.cost());
    assert_eq!(
        (one.rounds, 2 * one.server_cots, 2 * one.client_cots),
        (two.rounds, two.server_cots, two.client_cots)
    );
    ((two.bits() - one.bits()) / 64, one)
}

/// By its messages from the input on, with that of the mask, where the client's share was known
/// before: at l = 14, k = 7, a = 4, m = 14, and for other rings.
#[test]
fn requant_costs_what_its_specification_says() {
    type Prices<'a> = &'a [(u32, u64)];
    let specification: [([u32; 4], Prices<'_>); 4] = [
        ([14, 7, 4, 14], &[(6, 151), (8, 117), (10, 108), (12, 100), (14, 94), (16, 89)]),
        ([14, 7, 4, 5], &[(4, 141), (6, 107), (8, 98), (10, 90), (12, 84), (14, 79)]),
        ([12, 5, 6, 12], &[(6, 95), (8, 85), (10, 79), (12, 71), (14, 70)]),
        (
            [20, 11, 8, 20],
            &[
                (8, 153),
                (10, 147),
                (12, 141),
                (14, 135),
                (16, 129),
                (18, 123),
                (20, 115),
                (22, 114),
            ],
        ),
    ];
    for ([l, shift, bits, m], prices) in specification {
        let (ring, out) = (Bits::of(l), Bits::of(m));
        let op =
            Requant { len: 64, ring, shift, bits, low: 0, out, and_depth: 0, form: Form::Narrow };
        let found: Vec<(u32, u64)> = op
            .useful_depths()
            .into_iter()
            .map(|and_depth| {
                let op = Requant { and_depth, ..op };
                (op.phases(true, true).online.rounds as u32, price(op).0)
            })
            .collect();
        assert_eq!(found, prices, "l={l} k={shift} a={bits} m={m}");
    }
    // A selection in the ring of the result takes two messages less.
    let found = [2, 4].map(|and_depth| {
        let op = typical(64, Form::Wide, and_depth);
        (op.phases(true, true).online.rounds, price(op).0)
    });
    assert_eq!(found, [(4, 191), (6, 155)]);
}

/// OpenCheetah's truncation, ReLU and extension: 29 bytes, without saturation.
#[test]
fn requant_of_a_typical_accumulator_is_11_to_19_bytes() {
    for and_depth in typical(0, Form::Narrow, 0).useful_depths() {
        let (bits, cost) = price(typical(0, Form::Narrow, and_depth));
        assert!(bits <= if cost.rounds > 7 { 16 * 8 } else { 19 * 8 }, "{and_depth}: {bits}");
    }
    assert!(price(typical(0, Form::Narrow, Requant::MAX_AND_DEPTH)).0 <= 12 * 8);
}

/// Of OpenCheetah, measured: 11.75 bytes at 8 bits and 24.25 at 16.
#[test]
fn a_plain_relu_moves_half_of_what_the_best_published_one_does() {
    let op = |len, l: u32| Requant {
        len,
        ring: Bits::of(l),
        shift: 0,
        bits: l - 1,
        low: 0,
        out: Bits::of(l),
        and_depth: Requant::MAX_AND_DEPTH,
        form: Form::Narrow,
    };
    for (l, bits) in [(8, 43), (16, 91)] {
        assert_eq!((op(128, l).cost().bits() - op(64, l).cost().bits()) / 64, bits);
        let ring = Bits::of(l);
        let values = testing::extremes(ring, 200, &mut ChaCha20Rng::seed_from_u64(u64::from(l)));
        let relu = values.iter().map(|v| ring.decode(*v).max(0)).collect::<Vec<_>>();
        let input = Clear { ring, values };
        assert_eq!(op(200, l).ideal(&input), Clear::encode(ring, &relu));
        testing::law(&op(200, l), &input, 9);
    }
}

/// The formula in the operator's documentation, for bits beside those of the network.
fn selection(op: &Requant) -> u64 {
    let (k, a, h, m) = (op.shift, op.kept(), op.saturating(), op.out.get());
    let once = |condition: bool, cost| if condition { cost } else { 0 };
    let bits = match op.form {
        Form::Narrow => {
            2 * (a + 2) + once(k > 0, a + 1) + once(h > 0, a + 1) + once(m > a + 1, m - a)
        }
        Form::Wide => 2 * (m + 1) + once(k > 0, m) + once(h > 0, m) + once(m > a + 1, m - a),
    };
    u64::from(bits)
}

proptest! {
    #[test]
    fn requant_costs_what_its_documentation_says(op in any_requant()) {
        let of_len = |len| Requant { len, ..op }.cost();
        let bits = (of_len(128).bits() - of_len(64).bits()) / 64;
        prop_assert_eq!(bits, selection(&op) + u64::from(op.network().circuit.bits()));
        prop_assert_eq!(of_len(0), Cost::ZERO);
    }

    /// A network is as deep as it may be, or as shallow as it can be; more levels of ANDs take no
    /// more bits.
    #[test]
    fn deeper_networks_are_cheaper(op in any_requant(), and_depth in 0u32..20) {
        let network = |and_depth| {
            let circuit = &Requant { and_depth, ..op }.network().circuit;
            (circuit.depth() as u32, circuit.bits())
        };
        let (least, _) = network(0);
        let (depth, bits) = network(and_depth);
        prop_assert!(depth <= and_depth.max(least));
        prop_assert!(network(and_depth + 1).1 <= bits);
    }
}

#[test]
fn requant_obeys_the_law_at_odd_lengths_and_for_constant_values() {
    for len in [0, 1, 63, 64, 65] {
        for (shift, bits, and_depth) in [(0, 7, 9), (0, 3, 5), (3, 4, 3), (3, 1, 2), (6, 8, 9)] {
            let ring = Bits::of(8);
            let op = Requant {
                len,
                ring,
                shift,
                bits,
                low: 0,
                out: Bits::of(10),
                and_depth,
                form: Form::Narrow,
            };
            for value in [0, 1, ring.mask(), ring.mask() >> 1, (ring.mask() >> 1) + 1] {
                testing::law(&op, &Clear { ring, values: vec![value; len] }, value);
            }
        }
    }
}

#[test]
fn messages_and_rounds_do_not_depend_on_values() {
    let ring = Bits::of(14);
    let op = Requant {
        len: 65,
        ring,
        shift: 7,
        bits: 4,
        low: -8,
        out: ring,
        and_depth: 2,
        form: Form::Wide,
    };
    let measured = |server: u64, client: u64, seed| {
        let run = async |session: &mut Session, value| {
            let meter = session.begin();
            session.run(&op, Share::new(ring, vec![value; 65])).await?;
            Ok(session.measure(meter))
        };
        testing::two_parties(
            seed,
            65 * 30,
            async |session| run(session, server).await,
            async |session| run(session, client).await,
        )
    };
    for (seed, (server, client)) in
        [(0, 0), (0, u64::MAX), (1 << 13, 0), (77, 1234)].into_iter().enumerate()
    {
        assert_eq!(measured(server, client, seed as u64), (op.cost(), op.cost()));
    }
}

#[test]
fn unusable_parameters_and_operands_are_errors() {
    let good = Requant {
        len: 4,
        ring: Bits::of(8),
        shift: 3,
        bits: 4,
        low: -8,
        out: Bits::of(5),
        and_depth: 2,
        form: Form::Narrow,
    };
    assert_eq!(good.check(), Ok(()));
    let bad = [
        Requant { shift: 7, ..good },
        Requant { shift: u32::MAX, ..good },
        Requant { bits: 0, ..good },
        Requant { bits: 5, ..good },
        Requant { low: 1, ..good },
        Requant { low: -16, ..good },
        Requant { bits: u32::MAX, ..good },
        Requant { and_depth: Requant::MAX_AND_DEPTH + 1, ..good },
        Requant { ring: Bits::of(9), ..good },
        Requant { len: 5, ..good },
    ];
    for op in bad {
        let share = || Share::zeros(good.ring, good.len);
        let run = async |session: &mut Session| Ok(session.run(&op, share()).await.is_err());
        assert_eq!(testing::two_parties(0, 0, run, run), (true, true), "{op:?}");
    }
}
