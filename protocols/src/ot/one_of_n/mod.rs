//! 1-of-2^m oblivious transfer of short strings, in shares.
//!
//! *Functionality.* The sender has tables `f` of `2^m` entries of `b` bits, the receiver has
//! choices `c`; they get random `s`, `t` with `s xor t = f(c)`, or `s + t = f(c)` in `Z_b`
//! ([`offer_sums`]); m is 1 to 8, b is 1 to 64.
//!
//! *Steps,* from `m` correlated OTs `M_i = K_i xor x_i Δ` for each table (Naor, Pinkas 1999,
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
//! Cost: `m + (2^m - 1) b` bits and m correlated OTs each; 2 rounds. Security: `x` hides `c`;
//! every entry but c has a slice of an unknown key in its pad, where `H` is correlation robust.

mod pads;
mod table;

use crate::{Block, Error, Session};
use pads::{mask, streams};

pub(crate) use table::Table;

/// The pads of all entries of tables whose choices are heard, with the OTs of the tables in
/// the receiver's order: all that step 2 needs of them, in less memory than they take.
pub(crate) fn pads(
    table: Table,
    key: &[u8; 32],
    (delta, keys): (Block, &[Block]),
    len: usize,
    choices: &[u8],
) -> Vec<u64> {
    assert_eq!(keys.len(), table.cots(len), "invariant: one transfer for each choice bit");
    // `e_i = c_i xor x_i`, a word a table with bit i for choice bit i.
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
        // `s = f(0) xor pad_0` makes entry 0 zero, which needs no message: the receiver's pad of it
        // is its share already.
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
        // `s = f(0) - pad_0`, so that the masked entry 0 is `(f(0) - s) xor pad_0 = 0`. Pads are
        // exclusive ors even where shares are sums.
        let share = table.entry.reduce(entries[0].wrapping_sub(words[0]));
        for (index, entry) in entries.iter().enumerate() {
            let (word, at) = table.place(index);
            words[word] ^= table.entry.reduce(entry.wrapping_sub(share)) << at;
        }
        shares.push(share);
    }
    (shares, table.pack(&tables))
}

/// The receiver of tables that are still to come.
pub(crate) struct Chooser {
    table: Table,
    streams: Vec<u64>,
}

impl Chooser {
    /// Step 1: takes the OTs for these choices; the message.
    pub(crate) fn new(
        session: &mut Session,
        table: Table,
        key: &[u8; 32],
        choices: &[u64],
    ) -> Result<(Self, Vec<u8>), Error> {
        let m = table.choice.get() as usize;
        session.with_received(table.cots(choices.len()), |keys| {
            let flips: Vec<u64> = choices
                .iter()
                .zip(keys.chunks(m))
                .map(|(choice, keys)| {
                    // The fold runs from the last key to the first, so that key i's choice becomes
                    // bit i.
                    choice ^ keys.iter().rev().fold(0, |bits, key| bits << 1 | key.lsb())
                })
                .collect();
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
        // Every entry takes off the pad of the known keys. It is the right one for the chosen
        // entry, and lacks an unknown slice for all others.
        let tables = table.unpack(message, choices.len());
        streams.iter_mut().zip(tables).for_each(|(stream, word)| *stream ^= word);
        let tables = streams.chunks_mut(table.words()).zip(choices);
        tables.map(|(words, choice)| table.select(words, *choice)).collect()
    }
}

#[cfg(test)]
mod tests;
