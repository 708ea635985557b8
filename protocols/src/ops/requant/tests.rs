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
            [false, true].into_iter().map(move |signed| Requant {
                len: 0,
                ring,
                shift,
                bits,
                signed,
                out: Bits::of(bits + 1 + extra),
                digit: 1,
            })
        })
        .filter(|op| op.check().is_ok())
}

#[test]
fn requant_is_exact_for_all_values_and_shares_of_small_rings() {
    for l in 2..=6u32 {
        let all = 1u64 << l;
        for (index, op) in usable(l, l % 3).enumerate() {
            let op = Requant { len: (all * all) as usize, digit: 1 + index as u32 % 4, ..op };
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
        let (lo, hi) = if op.signed { (-(1 << (a - 1)), (1 << (a - 1)) - 1) } else { (0, (1i64 << a) - 1) };
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
    (2u32..=64, any::<[u32; 4]>(), 1u32..=4, 0usize..130, any::<bool>()).prop_map(
        |(l, [shift, bits, out, _], digit, len, signed)| {
            let shift = (shift % (l - 1)).min(62);
            let signed = signed && l >= shift + 2;
            let most = if signed { l - shift - 1 } else { 63 };
            let bits = 1 + bits % most.min(63);
            let out = Bits::of(bits + 1 + out % (64 - bits));
            Requant { len, ring: Bits::of(l), shift, bits, signed, out, digit }
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

/// Bits an element without the headers of frames.
fn price(l: u32, k: u32, a: u32, m: u32, digit: u32) -> (u64, Cost) {
    let op =
        |len| Requant { len, ring: Bits::of(l), shift: k, bits: a, signed: false, out: Bits::of(m), digit };
    // both lengths take as many frames
    let (one, two) = (op(64).cost(), op(128).cost());
    assert_eq!(
        (one.rounds, 2 * one.server_cots, 2 * one.client_cots),
        (two.rounds, two.server_cots, two.client_cots)
    );
    ((two.bits() - one.bits()) / 64, one)
}

#[test]
fn requant_costs_what_its_specification_says() {
    let specification = [
        ((14, 7, 4, 14), [90, 110, 113, 131]),
        ((14, 7, 4, 5), [80, 100, 103, 121]),
        ((12, 5, 6, 12), [71, 86, 93, 102]),
        ((20, 11, 8, 20), [115, 146, 159, 195]),
    ];
    for ((l, k, a, m), bits) in specification {
        for digit in 1..=4 {
            assert_eq!(
                price(l, k, a, m, digit).0,
                bits[digit as usize - 1],
                "l={l} k={k} a={a} m={m} digit {digit}"
            );
        }
    }
}
