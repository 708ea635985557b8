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
                form: Form::Chain,
            })
        })
        .filter(|op| op.check().is_ok())
}

#[test]
fn requant_is_exact_for_all_values_and_shares_of_small_rings() {
    for l in 2..=6u32 {
        let all = 1u64 << l;
        for (index, op) in usable(l, l % 3).enumerate() {
            let form = if index / 4 % 2 == 0 { Form::Chain } else { Form::Tree };
            let op = Requant { len: (all * all) as usize, digit: 1 + index as u32 % 4, form, ..op };
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
        |(l, [shift, bits, out, form], digit, len, signed)| {
            let form = if form % 2 == 0 { Form::Chain } else { Form::Tree };
            let shift = (shift % (l - 1)).min(62);
            let signed = signed && l >= shift + 2;
            let most = if signed { l - shift - 1 } else { 63 };
            let bits = 1 + bits % most.min(63);
            let out = Bits::of(bits + 1 + out % (64 - bits));
            Requant { len, ring: Bits::of(l), shift, bits, signed, out, digit, form }
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
    let op = |len| Requant {
        len,
        ring: Bits::of(l),
        shift: k,
        bits: a,
        signed: false,
        out: Bits::of(m),
        digit,
        form: Form::Chain,
    };
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

/// 11.3 to 16.4 bytes; a tree buys its few rounds with bytes.
#[test]
fn requant_of_a_typical_accumulator_is_11_to_16_bytes_in_a_chain() {
    let op = |len, form, digit| Requant {
        len,
        ring: Bits::of(14),
        shift: 7,
        bits: 4,
        signed: false,
        out: Bits::of(14),
        digit,
        form,
    };
    let bits = |form, digit| (op(128, form, digit).cost().bits() - op(64, form, digit).cost().bits()) / 64;
    assert_eq!([1, 2, 3, 4].map(|digit| bits(Form::Chain, digit)), [90, 110, 113, 131]);
    assert_eq!([2, 3, 4].map(|digit| bits(Form::Tree, digit)), [177, 181, 191]);
    // from the input on, with the message of the mask, where the client's share was known before
    let rounds = |form, digit| op(64, form, digit).phases(true, true).online.rounds;
    assert_eq!([1, 2, 3, 4].map(|digit| rounds(Form::Chain, digit)), [18, 12, 10, 8]);
    assert_eq!([2, 3, 4].map(|digit| rounds(Form::Tree, digit)), [6, 6, 4]);
}

/// Of OpenCheetah, measured: 11.75 bytes at 8 bits and 24.25 at 16.
#[test]
fn a_plain_relu_moves_half_of_what_the_best_published_one_does() {
    let op = |len, l: u32| Requant {
        len,
        ring: Bits::of(l),
        shift: 0,
        bits: l - 1,
        signed: false,
        out: Bits::of(l),
        digit: 1,
        form: Form::Chain,
    };
    for (l, bits) in [(8, 44), (16, 92)] {
        assert_eq!((op(128, l).cost().bits() - op(64, l).cost().bits()) / 64, bits);
        let ring = Bits::of(l);
        let values = testing::extremes(ring, 200, &mut ChaCha20Rng::seed_from_u64(u64::from(l)));
        let relu = values.iter().map(|v| ring.decode(*v).max(0)).collect::<Vec<_>>();
        let input = Clear { ring, values };
        assert_eq!(op(200, l).ideal(&input), Clear::encode(ring, &relu));
        testing::law(&op(200, l), &input, 9);
    }
}

/// The formula in the operator's documentation: bits, and transfers that the server and the client send.
fn formula(op: &Requant) -> (u64, u64, u64) {
    let (k, a, h, m) = (op.shift, op.kept(), op.saturating(), op.out.get());
    let cut = |bits: u32| (0..bits.div_ceil(op.digit)).map(move |i| op.digit.min(bits - i * op.digit));
    let chain: Vec<(u32, bool)> =
        cut(k).chain(cut(a)).map(|w| (w, false)).chain(cut(h).map(|w| (w, true))).collect();
    let digit = |(i, &(w, zero)): (usize, &(u32, bool))| {
        let tables = (1 << w) - 1;
        match (i, w, zero) {
            (0, _, _) => w + tables,
            (_, 1, _) => 4 + if zero { 4 } else { 0 },
            (_, _, false) => w + 2 * tables + 4,
            (_, _, true) => w + 3 * tables + 6 + 4,
        }
    };
    let once = |condition: bool, cost| if condition { cost } else { 0 };
    let bits = chain.iter().enumerate().map(digit).sum::<u32>()
        + 2 * (a + 2)
        + once(k > 0, a + 1)
        + once(h > 0, a + 1)
        + once(m > a + 1, m - a);
    let leaves =
        chain.iter().enumerate().filter(|(i, (w, _))| *i == 0 || *w > 1).map(|(_, (w, _))| w).sum::<u32>();
    let ands = chain.len() as u32 - 1 + cut(h).count() as u32;
    let converted = once(h > 0, 1) + once(m > a + 1, 1);
    (u64::from(bits), u64::from(leaves + ands + 1 + once(k > 0, 1)), u64::from(ands + 1 + converted))
}

proptest! {
    #[test]
    fn requant_costs_what_its_documentation_says(op in any_requant()) {
        let op = Requant { form: Form::Chain, ..op };
        let of_len = |len| Requant { len, ..op }.cost();
        let (one, two) = (of_len(64), of_len(128));
        let bits = (two.bits() - one.bits()) / 64;
        prop_assert_eq!((bits, one.server_cots / 64, one.client_cots / 64), formula(&op));
        prop_assert_eq!(of_len(0), Cost::ZERO);
    }
}

#[test]
fn requant_obeys_the_law_at_odd_lengths_and_for_constant_values() {
    for len in [0, 1, 63, 64, 65] {
        for (shift, bits, digit) in [(0, 7, 1), (0, 3, 2), (3, 4, 3), (3, 1, 4), (6, 8, 1)] {
            let ring = Bits::of(8);
            let op = Requant {
                len,
                ring,
                shift,
                bits,
                signed: false,
                out: Bits::of(10),
                digit,
                form: Form::Chain,
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
    let op =
        Requant { len: 65, ring, shift: 7, bits: 4, signed: true, out: ring, digit: 3, form: Form::Tree };
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
    for (seed, (server, client)) in [(0, 0), (0, u64::MAX), (1 << 13, 0), (77, 1234)].into_iter().enumerate()
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
        signed: true,
        out: Bits::of(5),
        digit: 2,
        form: Form::Chain,
    };
    assert_eq!(good.check(), Ok(()));
    let bad = [
        Requant { shift: 7, ..good },
        Requant { shift: u32::MAX, ..good },
        Requant { bits: 0, ..good },
        Requant { bits: 5, ..good },
        Requant { bits: u32::MAX, ..good },
        Requant { digit: 0, ..good },
        Requant { digit: 5, ..good },
        Requant { ring: Bits::of(9), ..good },
        Requant { len: 5, ..good },
    ];
    for op in bad {
        let share = || Share::zeros(good.ring, good.len);
        let run = async |session: &mut Session| Ok(session.run(&op, share()).await.is_err());
        assert_eq!(testing::two_parties(0, 0, run, run), (true, true), "{op:?}");
    }
}
