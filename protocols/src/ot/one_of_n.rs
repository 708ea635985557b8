//! 1-of-2^m oblivious transfer of short strings, in shares.
//!
//! *Functionality.* The sender has tables `f` of `2^m` entries of `b` bits, the receiver has
//! choices `c`; they get random `s`, `t` with `s xor t = f(c)`, or `s + t = f(c)` in `Z_b`
//! ([`offer_sums`]); m is 1 to 8, b is 1 to 64.
//!
//! *Steps,* from `m` correlated transfers `M_i = K_i xor x_i Δ` for each table (Naor, Pinkas 1999,
//! section 4, with pads as slices of streams):
//! 1. the receiver sends `e_i = c_i xor x_i`; the key of choice bit i = v is now `K_i xor (e_i xor
//!    v) Δ`;
//! 2. the pad of entry j is the exclusive or over i of *slice j* of the stream of key i for the bit
//!    `j_i`; the sender sets `s = f(0) xor pad_0`, so that entry 0 needs no message, and sends
//!    `f(j) xor s xor pad_j` for every other j;
//! 3. the receiver, who knows one key for each i, takes off the pad of entry c.
//!
//! No two entries use the same bits of a stream: where they do, pads cancel and the receiver learns
//! sums of entries.
//!
//! Cost: `m + (2^m - 1) b` bits and m correlated transfers each; 2 rounds. Security: `x` hides `c`;
//! every entry but c has a slice of an unknown key in its pad, where `H` is correlation robust.

use zeroize::Zeroize;

use super::Hash;
use crate::{Bits, Block, Error, Session};

/// Transfers whose pads are computed together, a multiple of every m.
const BATCH: usize = 840;
/// Choice bits of narrow tables, and as many tables as are worked on together.
const NARROW: usize = 4;
const TABLES: usize = 64;

/// The shape of tables: how entries lie in 64-bit words, a power of two of them in each.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    choice: Bits,
    entry: Bits,
}

impl Table {
    /// Tables of `2^choice` entries.
    ///
    /// # Panics
    /// Where `choice` is not within 1..=8.
    pub(crate) fn new(choice: u32, entry: Bits) -> Self {
        assert!((1..=8).contains(&choice), "invariant: a choice is within 1..=8 bits");
        Self { choice: Bits::of(choice), entry }
    }

    /// Words of one table.
    pub(crate) const fn words(self) -> usize {
        1 << (self.choice.get() - self.inner())
    }

    /// Correlated transfers of `len` tables.
    pub(crate) const fn cots(self, len: usize) -> usize {
        len * self.choice.get() as usize
    }

    /// Bytes of the receiver's message.
    pub(crate) const fn choices_len(self, len: usize) -> usize {
        self.choice.packed_len(len)
    }

    /// Bytes of the sender's message.
    pub(crate) const fn entries_len(self, len: usize) -> usize {
        let (first, rest) = (self.first_width(), self.rest_width());
        let first = (len as u128 * first as u128).div_ceil(8) as usize;
        first + rest.packed_len(len * (self.words() - 1))
    }

    /// Where entry `index` lies: its word and its lowest bit.
    pub(crate) const fn place(self, index: usize) -> (usize, u32) {
        let slot = index & ((1 << self.inner()) - 1);
        (index >> self.inner(), slot as u32 * self.entry.get())
    }

    /// Choice bits that select within a word: as many entries in each as fit.
    const fn inner(self) -> u32 {
        let fits = (64 / self.entry.get()).ilog2();
        if fits < self.choice.get() { fits } else { self.choice.get() }
    }

    /// Bits of a table's first word that are sent: all but entry 0.
    const fn first_width(self) -> u32 {
        ((1 << self.inner()) - 1) * self.entry.get()
    }

    const fn rest_width(self) -> Bits {
        Bits::of(self.entry.get() << self.inner())
    }

    /// The hashes of a stream's blocks: one block has two words.
    fn hashes(self, key: &[u8; 32]) -> Vec<Hash> {
        Hash::series(key, self.words().div_ceil(2))
    }

    /// For choice bit `i` and word `word`, the bits of entries whose index has bit `i` set.
    fn ones(self, i: u32, word: usize) -> u64 {
        if i >= self.inner() {
            return ((word as u64 >> (i - self.inner())) & 1).wrapping_neg();
        }
        let entries = (0..1u32 << self.inner()).filter(|slot| (slot >> i) & 1 == 1);
        entries.fold(0, |mask, slot| mask | self.entry.mask() << (slot * self.entry.get()))
    }

    /// Entry 0 copied to the place of every entry.
    fn spread(self, entry: u64) -> u64 {
        (0..self.inner()).fold(entry, |word, i| word | word << (self.entry.get() << i))
    }

    /// The entry at a secret index, by masks alone.
    fn select(self, words: &mut [u64], index: u64) -> u64 {
        let mut width = words.len();
        for i in (self.inner()..self.choice.get()).rev() {
            width /= 2;
            let mask = ((index >> i) & 1).wrapping_neg();
            for at in 0..width {
                words[at] ^= mask & (words[at] ^ words[at + width]);
            }
        }
        let shift = |word: u64, i: u32| {
            let mask = ((index >> i) & 1).wrapping_neg();
            word ^ mask & (word ^ word >> (self.entry.get() << i))
        };
        self.entry.reduce((0..self.inner()).rev().fold(words[0], shift))
    }

    fn pack(self, tables: &[u64]) -> Vec<u8> {
        let mut message = Vec::new();
        if let Some(width) = Bits::new(self.first_width()) {
            let first = tables.iter().step_by(self.words()).map(|word| word >> self.entry.get());
            message.extend(width.pack(&first.collect::<Vec<_>>()));
        }
        if self.words() > 1 {
            let rest = tables.chunks(self.words()).flat_map(|table| &table[1..]).copied();
            message.extend(self.rest_width().pack(&rest.collect::<Vec<_>>()));
        }
        message
    }

    fn unpack(self, message: &[u8], len: usize) -> Vec<u64> {
        let mut tables = vec![0; len * self.words()];
        let rest_len = self.rest_width().packed_len(len * (self.words() - 1));
        let (first, rest) = message.split_at(message.len() - rest_len);
        if let Some(width) = Bits::new(self.first_width()) {
            let words = width.unpack(first, len);
            for (table, word) in tables.chunks_mut(self.words()).zip(words) {
                table[0] = word << self.entry.get();
            }
        }
        if self.words() > 1 {
            let words = self.rest_width().unpack(rest, len * (self.words() - 1));
            for (table, words) in
                tables.chunks_mut(self.words()).zip(words.chunks(self.words() - 1))
            {
                table[1..].copy_from_slice(words);
            }
        }
        tables
    }
}

/// The pads of all entries of tables whose choices are heard, with the transfers of the tables in
/// the receiver's order: all that step 2 needs of them, in less memory than they take.
pub(crate) fn pads(
    table: Table,
    key: &[u8; 32],
    (delta, keys): (Block, &[Block]),
    len: usize,
    choices: &[u8],
) -> Vec<u64> {
    assert_eq!(keys.len(), table.cots(len), "invariant: one transfer for each choice bit");
    let flips = table.choice.unpack(choices, len);
    let mut pads = vec![0; len * table.words()];
    mask(table, key, delta, keys, &flips, &mut pads);
    pads
}

/// Step 2, with the [`pads`] of the tables; the sender's shares, and the message.
pub(crate) fn offer(table: Table, mut pads: Vec<u64>, tables: &[u64]) -> (Vec<u64>, Vec<u8>) {
    assert_eq!(pads.len(), tables.len(), "invariant: one pad for each entry");
    pads.iter_mut().zip(tables).for_each(|(pad, entries)| *pad ^= entries);
    let mut shares = Vec::with_capacity(pads.len() / table.words());
    for entries in pads.chunks_mut(table.words()) {
        let share = table.entry.reduce(entries[0]);
        let everywhere = table.spread(share);
        entries.iter_mut().for_each(|word| *word ^= everywhere);
        shares.push(share);
    }
    let message = table.pack(&pads);
    (shares, message)
}

/// As [`pads`] and [`offer`] at once, for entries and shares in a ring: s + t is the chosen entry.
/// `entries` has those of all tables.
pub(crate) fn offer_sums(
    table: Table,
    key: &[u8; 32],
    (delta, keys): (Block, &[Block]),
    entries: &[u64],
    choices: &[u8],
) -> (Vec<u64>, Vec<u8>) {
    let len = entries.len() >> table.choice.get();
    assert_eq!(keys.len(), table.cots(len), "invariant: one transfer for each choice bit");
    let flips = table.choice.unpack(choices, len);
    let mut tables = vec![0; len * table.words()];
    mask(table, key, delta, keys, &flips, &mut tables);
    let mut shares = Vec::with_capacity(len);
    for (words, entries) in
        tables.chunks_mut(table.words()).zip(entries.chunks(1 << table.choice.get()))
    {
        let share = table.entry.reduce(entries[0].wrapping_sub(words[0]));
        for (index, entry) in entries.iter().enumerate() {
            let (word, at) = table.place(index);
            words[word] ^= table.entry.reduce(entry.wrapping_sub(share)) << at;
        }
        shares.push(share);
    }
    (shares, table.pack(&tables))
}

/// Adds their pads to all entries of all tables.
fn mask(
    table: Table,
    key: &[u8; 32],
    delta: Block,
    keys: &[Block],
    flips: &[u64],
    tables: &mut [u64],
) {
    if table.words() == 1 {
        let ones = std::array::from_fn(|i| {
            if i < table.choice.get() as usize { table.ones(i as u32, 0) } else { 0 }
        });
        let hash = &table.hashes(key)[0];
        match table.choice.get() {
            1 => return mask_words::<1>(hash, delta, keys, flips, &ones, tables),
            2 => return mask_words::<2>(hash, delta, keys, flips, &ones, tables),
            3 => return mask_words::<3>(hash, delta, keys, flips, &ones, tables),
            4 => return mask_words::<4>(hash, delta, keys, flips, &ones, tables),
            _ => {}
        }
    }
    let (m, words) = (table.choice.get() as usize, table.words());
    let hashes = table.hashes(key);
    let ones: Vec<u64> =
        (0..words).flat_map(|word| (0..m as u32).map(move |i| table.ones(i, word))).collect();
    let (mut zero, mut one) = ([Block::ZERO; BATCH], [Block::ZERO; BATCH]);
    let batches =
        keys.chunks(BATCH).zip(flips.chunks(BATCH / m)).zip(tables.chunks_mut(BATCH / m * words));
    for ((keys, flips), tables) in batches {
        let (zero, one) = (&mut zero[..keys.len()], &mut one[..keys.len()]);
        for (block, hash) in hashes.iter().enumerate() {
            let slots = zero.chunks_mut(m).zip(one.chunks_mut(m));
            for ((keys, flip), (zero, one)) in keys.chunks(m).zip(flips).zip(slots) {
                for (i, key) in keys.iter().enumerate() {
                    zero[i] = *key ^ delta.masked(flip >> i);
                    one[i] = zero[i] ^ delta;
                }
            }
            hash.apply(zero);
            hash.apply(one);
            for word in 2 * block..words.min(2 * block + 2) {
                let ones = &ones[word * m..][..m];
                let streams = zero.chunks(m).zip(one.chunks(m));
                for (entries, (zero, one)) in
                    tables.iter_mut().skip(word).step_by(words).zip(streams)
                {
                    *entries ^= pad(zero, one, ones, word % 2);
                }
            }
        }
    }
    zero.zeroize();
    one.zeroize();
}

/// The same for tables of one word with M choice bits.
fn mask_words<const M: usize>(
    hash: &Hash,
    delta: Block,
    keys: &[Block],
    flips: &[u64],
    ones: &[u64; NARROW],
    tables: &mut [u64],
) {
    let mut pads = [Block::ZERO; 2 * NARROW * TABLES];
    for ((keys, flips), tables) in
        keys.chunks(M * TABLES).zip(flips.chunks(TABLES)).zip(tables.chunks_mut(TABLES))
    {
        let used = keys.len();
        let (zero, one) = pads[..2 * used].split_at_mut(used);
        let slots = zero.chunks_exact_mut(M).zip(one.chunks_exact_mut(M));
        for ((keys, flip), (zero, one)) in keys.chunks_exact(M).zip(flips).zip(slots) {
            for i in 0..M {
                zero[i] = keys[i] ^ delta.masked(flip >> i);
                one[i] = zero[i] ^ delta;
            }
        }
        hash.apply(&mut pads[..2 * used]);
        let (zero, one) = pads[..2 * used].split_at(used);
        for ((word, zero), one) in
            tables.iter_mut().zip(zero.chunks_exact(M)).zip(one.chunks_exact(M))
        {
            for i in 0..M {
                let (zero, one) = (zero[i].0 as u64, one[i].0 as u64);
                *word ^= zero ^ (ones[i] & (zero ^ one));
            }
        }
    }
    pads.zeroize();
}

/// One word of the pads of all entries: for each choice bit, the stream that the entry's index
/// selects.
fn pad(zero: &[Block], one: &[Block], ones: &[u64], half: usize) -> u64 {
    let word = |block: &Block| (block.0 >> (64 * half)) as u64;
    let streams = zero.iter().zip(one).zip(ones);
    streams.fold(0, |pad, ((zero, one), mask)| pad ^ (word(zero) & !mask) ^ (word(one) & mask))
}

/// The receiver of tables that are still to come.
pub(crate) struct Chooser {
    table: Table,
    streams: Vec<u64>,
}

impl Chooser {
    /// Step 1: takes the transfers for these choices; the message.
    pub(crate) fn new(
        session: &mut Session,
        table: Table,
        key: &[u8; 32],
        choices: &[u64],
    ) -> Result<(Self, Vec<u8>), Error> {
        let m = table.choice.get() as usize;
        session.with_received(table.cots(choices.len()), |keys| {
            let flip = |(choice, keys): (&u64, &[Block])| {
                choice ^ keys.iter().rev().fold(0, |bits, key| bits << 1 | key.lsb())
            };
            let flips: Vec<u64> = choices.iter().zip(keys.chunks(m)).map(flip).collect();
            (Self { table, streams: streams(table, key, keys) }, table.choice.pack(&flips))
        })
    }

    /// Words that it holds.
    #[cfg(test)]
    pub(crate) const fn words(&self) -> usize {
        self.streams.len()
    }

    /// Step 3, for the same choices: the receiver's shares.
    pub(crate) fn finish(self, choices: &[u64], message: &[u8]) -> Vec<u64> {
        let Self { table, mut streams } = self;
        let tables = table.unpack(message, choices.len());
        streams.iter_mut().zip(tables).for_each(|(stream, word)| *stream ^= word);
        let tables = streams.chunks_mut(table.words()).zip(choices);
        tables.map(|(words, choice)| table.select(words, *choice)).collect()
    }
}

/// The exclusive or of the streams of each table's keys.
fn streams(table: Table, key: &[u8; 32], keys: &[Block]) -> Vec<u64> {
    let (m, words) = (table.choice.get() as usize, table.words());
    let hashes = table.hashes(key);
    if words == 1 {
        match m {
            1 => return stream_words::<1>(&hashes[0], keys),
            2 => return stream_words::<2>(&hashes[0], keys),
            3 => return stream_words::<3>(&hashes[0], keys),
            4 => return stream_words::<4>(&hashes[0], keys),
            _ => {}
        }
    }
    let mut streams = vec![0; keys.len() / m * words];
    let mut pads = [Block::ZERO; BATCH];
    for (keys, streams) in keys.chunks(BATCH).zip(streams.chunks_mut(BATCH / m * words)) {
        let pads = &mut pads[..keys.len()];
        for (block, hash) in hashes.iter().enumerate() {
            pads.copy_from_slice(keys);
            hash.apply(pads);
            for (stream, pads) in streams.chunks_mut(words).zip(pads.chunks(m)) {
                let pad = pads.iter().fold(Block::ZERO, |sum, pad| sum ^ *pad);
                stream[2 * block] = pad.0 as u64;
                if let Some(second) = stream.get_mut(2 * block + 1) {
                    *second = (pad.0 >> 64) as u64;
                }
            }
        }
    }
    pads.zeroize();
    streams
}

/// The same for tables of one word with M choice bits.
fn stream_words<const M: usize>(hash: &Hash, keys: &[Block]) -> Vec<u64> {
    let mut streams = Vec::with_capacity(keys.len() / M);
    let mut pads = [Block::ZERO; NARROW * TABLES];
    for keys in keys.chunks(M * TABLES) {
        let pads = &mut pads[..keys.len()];
        pads.copy_from_slice(keys);
        hash.apply(pads);
        streams.extend(
            pads.chunks_exact(M).map(|pads| pads.iter().fold(0, |sum, pad| sum ^ pad.0 as u64)),
        );
    }
    pads.zeroize();
    streams
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::ot::Directions;
    use crate::{Domain, testing};

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
                let key = Directions::fresh_keys(session, Domain::OneOfN).0;
                let asked = session.channel.receive(table.choices_len(len)).await?;
                let cots = session.take_sent(table.cots(len))?;
                let pads = pads(table, &key, (*cots.delta, &cots.keys), len, &asked);
                let (shares, message) = offer(table, pads, &words);
                assert_eq!(message.len(), table.entries_len(len));
                session.channel.send(&message)?;
                Ok(shares)
            },
            async |session| {
                let key = Directions::fresh_keys(session, Domain::OneOfN).1;
                let (chooser, asked) = Chooser::new(session, table, &key, &choices)?;
                session.channel.send(&asked)?;
                Ok(chooser
                    .finish(&choices, &session.channel.receive(table.entries_len(len)).await?))
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
}
