//! The shape of tables: where entries lie, and how tables are sent.

use crate::ot::Hash;
use crate::{Bits, Block};

/// How entries lie in 64-bit words, a power of two of them in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(super) choice: Bits,
    pub(super) entry: Bits,
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

    /// Bits of all entries of one table.
    pub(crate) const fn bits(self) -> usize {
        (self.entry.get() as usize) << self.choice.get()
    }

    /// Bits of a random choice and its entry.
    pub(crate) const fn known_bits(self) -> usize {
        (self.choice.get() + self.entry.get()) as usize
    }

    /// Whether pads of all entries take more bits than the OTs that they are made of.
    pub(crate) const fn is_wide(self) -> bool {
        self.bits() > 8 * Block::BYTES * self.cots(1)
    }

    /// Correlated OTs of `len` tables.
    pub(crate) const fn cots(self, len: usize) -> usize {
        len * self.choice.get() as usize
    }

    /// Bytes of the receiver's message.
    pub(crate) const fn choices_len(self, len: usize) -> usize {
        self.choice.packed_len(len)
    }

    /// Bytes of the sender's message.
    pub(crate) const fn entries_len(self, len: usize) -> usize {
        // The first words of all tables, without entry 0, then the other words: two sections, each
        // of whole bytes.
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
        // A power of two of entries to a word: the low bits of an index are the place in it, the
        // high ones the word.
        let fits = (64 / self.entry.get()).ilog2();
        if fits < self.choice.get() { fits } else { self.choice.get() }
    }

    /// Bits of a table's first word that are sent: all but entry 0.
    const fn first_width(self) -> u32 {
        ((1 << self.inner()) - 1) * self.entry.get()
    }

    /// Bits of a table's every other word: of all of its entries.
    pub(super) const fn rest_width(self) -> Bits {
        Bits::of(self.entry.get() << self.inner())
    }

    /// The hashes of a stream's blocks: one block has two words.
    pub(in crate::ot) fn hashes(self, key: &[u8; 32]) -> Vec<Hash> {
        Hash::series(key, self.words().div_ceil(2))
    }

    /// For choice bit `i` and word `word`, the bits of entries whose index has bit `i` set.
    pub(super) fn ones(self, i: u32, word: usize) -> u64 {
        // A bit that selects words is the same for all entries of a word: all ones or zero.
        if i >= self.inner() {
            return ((word as u64 >> (i - self.inner())) & 1).wrapping_neg();
        }
        let entries = (0..1u32 << self.inner()).filter(|slot| (slot >> i) & 1 == 1);
        entries.fold(0, |mask, slot| mask | self.entry.mask() << (slot * self.entry.get()))
    }

    /// Entry 0 copied to the place of every entry.
    pub(super) fn spread(self, entry: u64) -> u64 {
        // Doubles the copies in every turn: `2^i` of them before turn i.
        (0..self.inner()).fold(entry, |word, i| word | word << (self.entry.get() << i))
    }

    /// Moves every entry `j` of each table to `j xor flips`, by masks alone.
    pub(super) fn turn(self, tables: &mut [u64], flips: &[u64]) {
        let words = self.words();
        // High bits of an index select the word, low ones the place in it.
        for i in self.inner()..self.choice.get() {
            let half = 1 << (i - self.inner());
            for (table, flips) in tables.chunks_exact_mut(words).zip(flips) {
                swap_words(table, half, ((flips >> i) & 1).wrapping_neg());
            }
        }
        for i in 0..self.inner() {
            // Within a word the upper entry of each pair is a shift away from the lower one.
            let shift = self.entry.get() << i;
            let lower = self.ones(i, 0) >> shift;
            let swap = |word: &mut u64, flips: u64| {
                let both = lower & ((flips >> i) & 1).wrapping_neg() & (*word ^ *word >> shift);
                *word ^= both | both << shift;
            };
            if words == 1 {
                tables.iter_mut().zip(flips).for_each(|(word, flips)| swap(word, *flips));
                continue;
            }
            for (table, flips) in tables.chunks_exact_mut(words).zip(flips) {
                table.iter_mut().for_each(|word| swap(word, *flips));
            }
        }
    }

    /// The entry at a secret index, by masks alone.
    pub(super) fn select(self, words: &mut [u64], index: u64) -> u64 {
        // Before each turn the entry is in the first `width` words, at the place that the lower
        // bits of the index say. Which words are read and written does not depend on it.
        let mut width = words.len();
        for i in (self.inner()..self.choice.get()).rev() {
            width /= 2;
            let mask = ((index >> i) & 1).wrapping_neg();
            for at in 0..width {
                words[at] ^= mask & (words[at] ^ words[at + width]);
            }
        }
        self.entry.reduce((0..self.inner()).rev().fold(words[0], |word, i| {
            // Within the word the same, by shifts: the entry moves down by `2^i` places where bit i
            // is set.
            let mask = ((index >> i) & 1).wrapping_neg();
            word ^ mask & (word ^ word >> (self.entry.get() << i))
        }))
    }

    pub(super) fn pack(self, tables: &[u64]) -> Vec<u8> {
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

    pub(super) fn unpack(self, message: &[u8], len: usize) -> Vec<u64> {
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

/// Swaps the halves of every `2 half` words where the mask is all ones.
fn swap_words(words: &mut [u64], half: usize, mask: u64) {
    for pair in words.chunks_exact_mut(2 * half) {
        let (low, high) = pair.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            let both = mask & (*low ^ *high);
            *low ^= both;
            *high ^= both;
        }
    }
}
