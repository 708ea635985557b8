//! 1-of-2^m oblivious transfer of short strings, in shares.
//!
//! *Functionality.* The sender has tables `f` of `2^m` entries of `b` bits, the receiver has
//! choices `c`; they get random `s`, `t` with `s xor t = f(c)`, or `s + t = f(c)` in `Z_b`
//! ([`offer_sums`]); m is 1 to 8, b is 1 to 64.
//!
//! *Before,* from `m` correlated OTs `M_i = K_i xor x_i Δ` for each table (Naor, Pinkas 1999,
//! section 4, with pads as slices of streams): the pad of v is the exclusive or over i of *slice v*
//! of the stream of the key `K_i xor v_i Δ`. The sender makes all of them, the receiver, who knows
//! one key for each i, that of x.
//!
//! *Steps* (Beaver 1995: an OT of random values serves any):
//! 1. the receiver sends `e = c xor x`; entry j now has the pad of `j xor e`;
//! 2. the sender sets `s = f(0) xor pad_0`, so that entry 0 needs no message, and sends
//!    `f(j) xor s xor pad_j` for every other j;
//! 3. the receiver takes the pad of x off entry c.
//!
//! No two entries use the same bits of a stream: where they do, pads cancel and the receiver learns
//! sums of entries.
//!
//! Cost: `m + (2^m - 1) b` bits and m correlated OTs each; 2 rounds. Security: `x` hides `c`;
//! every entry but c has a slice of an unknown key in its pad, where `H` is correlation robust.

mod pads;
mod table;

use zeroize::{Zeroize, Zeroizing};

use super::Hash;
use super::demand::{ROW, Side, Use};
use super::prepared::Pads;
use crate::{Bits, Block, Error, Session};
use pads::{mask, streams};

pub(crate) use table::Table;

/// Rows of the sender: all entries of each table, packed, or its OTs where these are fewer bits.
pub(super) fn send(table: Table, hashes: &[Hash], delta: Block, keys: &[Block], rows: &mut [u8]) {
    if table.is_wide() {
        rows[..size_of_val(keys)].copy_from_slice(bytemuck::cast_slice(keys));
        return;
    }
    let words = Zeroizing::new(masked(table, hashes, delta, keys));
    let width = table.rest_width();
    width.pack_into(&words, &mut rows[..width.packed_len(words.len())]);
}

/// Rows of the receiver: of 64 tables first the random choices, then the chosen entries.
pub(super) fn receive(table: Table, hashes: &[Hash], keys: &[Block], rows: &mut [u8]) {
    let m = table.choice.get() as usize;
    let mut streams = Zeroizing::new(streams(table, hashes, keys));
    let rows = rows.chunks_mut(Use::OneOfN(table).row_bytes(Side::Received));
    let (of_row, choices_len) = (ROW * table.words(), table.choice.packed_len(ROW));
    for ((row, keys), streams) in rows.zip(keys.chunks(m * ROW)).zip(streams.chunks_mut(of_row)) {
        let (mut choices, mut entries) = ([0; ROW], [0; ROW]);
        let tables = keys.chunks(m).zip(streams.chunks_mut(table.words()));
        for ((choice, entry), (keys, words)) in choices.iter_mut().zip(&mut entries).zip(tables) {
            // The fold runs from the last key to the first, so that key i's choice becomes bit i.
            *choice = keys.iter().rev().fold(0, |bits, key| bits << 1 | key.lsb());
            *entry = table.select(words, *choice);
        }
        let (packed_choices, packed_entries) = row.split_at_mut(choices_len);
        table.choice.pack_into(&choices, packed_choices);
        table.entry.pack_into(&entries, packed_entries);
        choices.zeroize();
        entries.zeroize();
    }
}

/// The pads of all entries, `[table][word]`.
fn masked(table: Table, hashes: &[Hash], delta: Block, keys: &[Block]) -> Vec<u64> {
    let mut words = vec![0; keys.len() / table.choice.get() as usize * table.words()];
    mask(table, hashes, delta, keys, &mut words);
    words
}

/// The sender's tables.
pub(crate) struct SentTables {
    table: Table,
    pads: Pads,
}

impl SentTables {
    /// The next of this direction.
    pub(crate) fn draw(session: &mut Session, table: Table, len: usize) -> Result<Self, Error> {
        let pads = session.draw(session.role(), Use::OneOfN(table), len)?;
        Ok(Self { table, pads })
    }

    /// The pads of `len` tables from `at` on, a multiple of 64, where each entry is wanted that the
    /// receiver's message makes of them.
    pub(crate) fn turned(&self, at: usize, len: usize, choices: &[u8]) -> Vec<u64> {
        let Self { table, pads } = self;
        let mut words = match pads.late() {
            Some((key, delta)) => {
                let keys = Zeroizing::new(Block::unpack(pads.rows_of(at, len)));
                masked(*table, &table.hashes(key), delta, &keys[..table.cots(len)])
            }
            None => self.pads(at, len),
        };
        // `e_i = c_i xor x_i`, a word a table with bit i for choice bit i.
        let flips = table.choice.unpack(choices, len);
        table.turn(&mut words, &flips);
        words
    }

    /// Keeps them in that order, for [`SentTables::pads`].
    pub(crate) fn turn(&mut self, at: usize, len: usize, choices: &[u8]) {
        assert!(self.pads.late().is_none(), "invariant: narrow tables are kept");
        let words = Zeroizing::new(self.turned(at, len, choices));
        let width = self.table.rest_width();
        let bytes = width.packed_len(words.len());
        width.pack_into(&words, &mut self.pads.rows_of_mut(at, len)[..bytes]);
    }

    /// Bytes that it holds.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.pads.rows().map(<[u8]>::len).sum()
    }

    /// The pads of `len` tables from `at` on as they are kept.
    pub(crate) fn pads(&self, at: usize, len: usize) -> Vec<u64> {
        let (width, count) = (self.table.rest_width(), len * self.table.words());
        width.unpack(&self.pads.rows_of(at, len)[..width.packed_len(count)], count)
    }
}

/// Step 2, with the pads of the tables; the sender's shares, and the message.
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

/// The same for entries and shares in a ring: s + t is the chosen entry. `entries` has those of all
/// tables.
pub(crate) fn offer_sums(table: Table, mut pads: Vec<u64>, entries: &[u64]) -> (Vec<u64>, Vec<u8>) {
    let mut shares = Vec::with_capacity(entries.len() >> table.choice.get());
    for (words, entries) in
        pads.chunks_mut(table.words()).zip(entries.chunks(1 << table.choice.get()))
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
    (shares, table.pack(&pads))
}

/// The receiver's tables.
pub(crate) struct Chooser {
    table: Table,
    pads: Pads,
}

impl Chooser {
    /// The next of this direction.
    pub(crate) fn draw(session: &mut Session, table: Table, len: usize) -> Result<Self, Error> {
        let pads = session.draw(session.role().peer(), Use::OneOfN(table), len)?;
        Ok(Self { table, pads })
    }

    /// Step 1 for the tables from `at` on, a multiple of 64: the message.
    pub(crate) fn choose(&self, at: usize, choices: &[u64]) -> Vec<u8> {
        let random = self.kept(at, choices.len(), 0, self.table.choice);
        let flips: Vec<u64> = choices.iter().zip(&*random).map(|(c, x)| c ^ x).collect();
        self.table.choice.pack(&flips)
    }

    /// Step 3, for the same choices: the receiver's shares.
    pub(crate) fn finish(&self, at: usize, choices: &[u64], message: &[u8]) -> Vec<u64> {
        let table = self.table;
        let pads = self.kept(at, choices.len(), table.choice.packed_len(ROW), table.entry);
        let mut tables = table.unpack(message, choices.len());
        // Entry 0 was not sent: it is zero, and the pad is the share.
        let tables = tables.chunks_mut(table.words()).zip(choices).zip(&*pads);
        tables.map(|((words, choice), pad)| table.select(words, *choice) ^ pad).collect()
    }

    /// Bytes that it holds.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.pads.rows().map(<[u8]>::len).sum()
    }

    /// One part of the rows, of the bytes from `skip` on.
    fn kept(&self, at: usize, len: usize, skip: usize, width: Bits) -> Zeroizing<Vec<u64>> {
        let mut values = Zeroizing::new(vec![0; len.next_multiple_of(ROW)]);
        let rows =
            self.pads.rows_of(at, len).chunks(Use::OneOfN(self.table).row_bytes(Side::Received));
        for (row, values) in rows.zip(values.chunks_mut(ROW)) {
            width.unpack_into(&row[skip..][..width.packed_len(ROW)], values);
        }
        values.truncate(len);
        values
    }
}

#[cfg(test)]
mod tests;
