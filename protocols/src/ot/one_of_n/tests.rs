use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::pads::BATCH;
use super::*;
use crate::{Bits, testing};

fn transfer(choice: u32, width: u32, len: usize, seed: u64) {
    let (entry, n) = (Bits::of(width), 1usize << choice);
    let table = Table::new(choice, entry);
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let entries = testing::extremes(entry, len * n, &mut rng);
    let choices: Vec<u64> = (0..len).map(|_| rng.random_range(0..n as u64)).collect();
    let mut words = vec![0; len * table.words()];
    for (words, entries) in words.chunks_mut(table.words()).zip(entries.chunks(n)) {
        for (j, entry) in entries.iter().enumerate() {
            let (word, at) = table.place(j);
            words[word] |= entry << at;
        }
    }
    let (sent, received) = testing::two_parties(
        seed,
        table.cots(len),
        async |session| {
            let tables = SentTables::draw(session, table, len)?;
            let asked = session.channel.receive(table.choices_len(len)).await?;
            let (shares, message) = offer(table, tables.turned(0, len, &asked), &words);
            assert_eq!(message.len(), table.entries_len(len));
            session.channel.send(&message)?;
            Ok(shares)
        },
        async |session| {
            let chooser = Chooser::draw(session, table, len)?;
            session.channel.send(&chooser.choose(0, &choices))?;
            let message = session.channel.receive(table.entries_len(len)).await?;
            Ok(chooser.finish(0, &choices, &message))
        },
    );
    for i in 0..len {
        assert_eq!(
            sent[i] ^ received[i],
            entries[i * n + choices[i] as usize],
            "m={choice} b={width} seed {seed}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn shares_combine_to_the_chosen_entry(
        choice in 1u32..=8,
        width in 1u32..=64,
        len in 0usize..50,
        seed: u64,
    ) {
        transfer(choice, width, len, seed);
    }
}

#[test]
fn many_narrow_tables_span_batches() {
    for choice in 1..=4 {
        transfer(choice, 3, 2 * BATCH + 1, 7);
    }
}

#[test]
fn a_transfer_costs_what_the_paper_says() {
    for choice in 1..=8 {
        for width in 1..=64 {
            let table = Table::new(choice, Bits::of(width));
            let bits = 8 * (table.choices_len(64) + table.entries_len(64));
            assert_eq!(bits, 64 * (choice as usize + ((1 << choice) - 1) * width as usize));
        }
    }
}

#[test]
fn turning_a_table_moves_every_entry_by_the_flips() {
    for (choice, width) in [(1, 1), (2, 64), (3, 2), (4, 3), (4, 17), (6, 1), (8, 1), (8, 5)] {
        let table = Table::new(choice, Bits::of(width));
        let entries = |flip: usize| {
            let mut words = vec![0; table.words()];
            for j in 0..1usize << choice {
                let (word, at) = table.place(j);
                words[word] |= table.entry.reduce(7 * (j ^ flip) as u64 + 1) << at;
            }
            words
        };
        let flips: Vec<u64> = (0..1 << choice).collect();
        let mut turned: Vec<u64> = flips.iter().flat_map(|_| entries(0)).collect();
        table.turn(&mut turned, &flips);
        let expected: Vec<u64> = flips.iter().flat_map(|flip| entries(*flip as usize)).collect();
        assert_eq!(turned, expected, "m={choice} b={width}");
    }
}

#[test]
fn no_two_entries_share_bits_of_a_stream() {
    for (choice, width) in [(1, 1), (3, 2), (4, 3), (8, 1), (8, 64), (5, 17)] {
        let table = Table::new(choice, Bits::of(width));
        let places: Vec<_> = (0..1 << choice).map(|j| table.place(j)).collect();
        for (j, (word, at)) in places.iter().enumerate() {
            assert!(*word < table.words() && at + width <= 64);
            let overlaps = |other: &&(usize, u32)| {
                other.0 == *word && other.1 < at + width && *at < other.1 + width
            };
            assert_eq!(places.iter().filter(overlaps).count(), 1, "entry {j}");
        }
    }
}
