//! The pads of tables, in batches: slices of the streams of their OTs. The sender has both
//! keys of each OT, the receiver one. Narrow tables have a loop for every number of choice
//! bits.
//!
//! Entry v is that of the receiver's random choices `x = v`; whoever hears its flips moves it.

use zeroize::Zeroize;

use super::Table;
use crate::Block;
use crate::ot::Hash;

/// OTs whose pads are computed together, a multiple of every m.
pub(super) const BATCH: usize = 840;
/// Choice bits of narrow tables, and as many tables as are worked on together.
const NARROW: usize = 4;
const TABLES: usize = 64;

/// Adds their pads to all entries of all tables.
pub(super) fn mask(
    table: Table,
    hashes: &[Hash],
    delta: Block,
    keys: &[Block],
    tables: &mut [u64],
) {
    if table.words() == 1 {
        let ones = std::array::from_fn(|i| {
            if i < table.choice.get() as usize { table.ones(i as u32, 0) } else { 0 }
        });
        let hash = &hashes[0];
        match table.choice.get() {
            1 => return mask_words::<1>(hash, delta, keys, &ones, tables),
            2 => return mask_words::<2>(hash, delta, keys, &ones, tables),
            3 => return mask_words::<3>(hash, delta, keys, &ones, tables),
            4 => return mask_words::<4>(hash, delta, keys, &ones, tables),
            _ => {}
        }
    }
    // For word `w` and choice bit i, at `w m + i`: the bits of entries that take the stream of the
    // key for 1.
    let (m, words) = (table.choice.get() as usize, table.words());
    let ones: Vec<u64> =
        (0..words).flat_map(|word| (0..m as u32).map(move |i| table.ones(i, word))).collect();
    let (mut zero, mut one) = ([Block::ZERO; BATCH], [Block::ZERO; BATCH]);
    for (keys, tables) in keys.chunks(BATCH).zip(tables.chunks_mut(BATCH / m * words)) {
        let (zero, one) = (&mut zero[..keys.len()], &mut one[..keys.len()]);
        // Block `b` of a stream is the key's hash under the `b`th public key. It pads words `2b`
        // and `2b + 1` of the table.
        for (block, hash) in hashes.iter().enumerate() {
            // The keys for the choice bits' values 0 and 1. The receiver holds those of its
            // choices.
            for ((zero, one), key) in zero.iter_mut().zip(&mut *one).zip(keys) {
                *zero = *key;
                *one = *key ^ delta;
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
    ones: &[u64; NARROW],
    tables: &mut [u64],
) {
    let mut pads = [Block::ZERO; 2 * NARROW * TABLES];
    for (keys, tables) in keys.chunks(M * TABLES).zip(tables.chunks_mut(TABLES)) {
        let used = keys.len();
        let (zero, one) = pads[..2 * used].split_at_mut(used);
        for ((zero, one), key) in zero.iter_mut().zip(one).zip(keys) {
            *zero = *key;
            *one = *key ^ delta;
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
    let streams = zero.iter().zip(one).zip(ones);
    streams.fold(0, |pad, ((zero, one), mask)| {
        pad ^ (word(*zero, half) & !mask) ^ (word(*one, half) & mask)
    })
}

/// The low or the high half of a block.
#[inline]
const fn word(block: Block, half: usize) -> u64 {
    (block.0 >> (64 * half)) as u64
}

/// The exclusive or of the streams of each table's keys.
pub(super) fn streams(table: Table, hashes: &[Hash], keys: &[Block]) -> Vec<u64> {
    let (m, words) = (table.choice.get() as usize, table.words());
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
                // Over all slices at once: the sum of the known streams is the pad at the chosen
                // entry's slice, and noise elsewhere.
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
