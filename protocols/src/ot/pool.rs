//! The pools of correlated OTs, one in each direction.
//!
//! In one correlated OT the sender holds `K` and, for the whole session, `Δ` with `lsb(Δ) =
//! 1`; the receiver holds `M = K xor x Δ` with `x = lsb(M)`, so `lsb(K) = 0`: the choice needs no
//! storage of its own. Each is used once.
//!
//! OTs and `Δ` are wiped by their types: a piece of a pool where it is consumed, everything
//! else where it is dropped.

use std::collections::VecDeque;

use zeroize::{Zeroize, Zeroizing};

use super::demand::Side;
use super::line::Line;
use crate::bits::gather;
use crate::{BitString, Block, Error, Role, Session};

/// Correlated OTs of which this party is the sender.
pub(crate) struct SentCots {
    /// The correlation, of odd value.
    pub delta: Zeroizing<Block>,
    /// `K`, with `lsb(K) = 0`.
    pub keys: Zeroizing<Vec<Block>>,
}

/// Correlated OTs of which this party is the receiver.
pub(crate) struct ReceivedCots {
    /// `M = K xor x Δ`, with `x = lsb(M)`.
    pub keys: Zeroizing<Vec<Block>>,
}

impl ReceivedCots {
    /// The random choices `x`.
    pub(crate) fn choices(&self) -> BitString {
        BitString::from_words(self.keys.chunks(64).map(choices).collect(), self.keys.len())
    }
}

/// The random choices `x = lsb(M)` of at most 64 OTs.
pub(super) fn choices(keys: &[Block]) -> u64 {
    let mut bytes = [0; 64];
    bytes.iter_mut().zip(keys).for_each(|(byte, key)| *byte = key.0 as u8);
    gather(&bytes, 0)
}

/// OTs of one piece of a pool: 1 MiB.
pub(super) const PIECE: usize = 1 << 16;

/// Emptied pieces that are kept for the next ones: 8 MiB. Memory that is given back to the system
/// and asked for again costs more than the OTs that it holds.
const SPARE: usize = 8;

/// Both pools of one party.
#[derive(Default)]
pub(crate) struct Pools {
    delta: Zeroizing<Block>,
    sent: Line,
    received: Line,
    /// Pieces that were emptied: [`PIECE`] zeros each.
    spare: Vec<Vec<Block>>,
}

impl Pools {
    /// The correlation of the OTs that this party sends.
    pub(crate) fn set_delta(&mut self, delta: Block) {
        *self.delta = delta;
    }

    /// Adds OTs of which this party is the sender.
    pub(crate) fn add_sent(&mut self, keys: Zeroizing<Vec<Block>>) {
        let used = self.sent.put(*self.delta, keys);
        used.into_iter().for_each(|piece| self.give_back(piece));
    }

    /// Adds OTs of which this party is the receiver.
    pub(crate) fn add_received(&mut self, keys: Zeroizing<Vec<Block>>) {
        let used = self.received.put(Block::ZERO, keys);
        used.into_iter().for_each(|piece| self.give_back(piece));
    }

    /// OTs consumed so far, by sender, server's first.
    pub(crate) const fn consumed(&self, role: Role) -> (u64, u64) {
        match role {
            Role::Server => (self.sent.stock.consumed, self.received.stock.consumed),
            Role::Client => (self.received.stock.consumed, self.sent.stock.consumed),
        }
    }

    /// OTs left, sent and received.
    pub(crate) const fn left(&self) -> (usize, usize) {
        (self.sent.stock.left, self.received.stock.left)
    }

    /// The correlation of the OTs that this party sends.
    pub(super) fn delta(&self) -> Block {
        *self.delta
    }

    /// The pool of one direction, for OTs that this party sends or receives.
    pub(super) const fn line(&mut self, side: Side) -> &mut Line {
        match side {
            Side::Sent => &mut self.sent,
            Side::Received => &mut self.received,
        }
    }

    /// Takes `count` OTs of each direction out, the sent ones first, to make others of: they
    /// are not used.
    pub(super) fn withdraw(&mut self, count: usize) -> Option<[Zeroizing<Vec<Block>>; 2]> {
        let withdrawn = [self.sent.stock.withdraw(count)?, self.received.stock.withdraw(count)?];
        self.collect();
        Some(withdrawn)
    }

    /// A piece of so many blocks, to be filled and added.
    pub(super) fn piece(&mut self, len: usize) -> Zeroizing<Vec<Block>> {
        let mut piece = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(PIECE));
        piece.resize(len, Block::ZERO);
        Zeroizing::new(piece)
    }

    /// Takes a piece back that was not added, or only in part.
    pub(super) fn give_back(&mut self, mut piece: Zeroizing<Vec<Block>>) {
        piece.as_mut_slice().zeroize();
        self.keep(std::mem::take(&mut *piece));
    }

    /// Keeps pieces that have been emptied.
    pub(super) fn collect(&mut self) {
        let emptied = [&mut self.sent, &mut self.received].map(Line::emptied);
        emptied.into_iter().flatten().for_each(|piece| self.keep(piece));
    }

    /// Keeps the memory of a piece of zeros.
    fn keep(&mut self, mut piece: Vec<Block>) {
        if self.spare.len() < SPARE && piece.capacity() >= PIECE {
            piece.resize(PIECE, Block::ZERO);
            self.spare.push(piece);
        }
    }
}

/// Blocks in the pieces that they were made in: each piece's memory is free again once it is
/// consumed, and nothing is moved when more are added.
#[derive(Default)]
pub(super) struct Stock {
    pieces: VecDeque<Zeroizing<Vec<Block>>>,
    /// Blocks of the first piece that are taken.
    taken: usize,
    pub(super) left: usize,
    pub(super) consumed: u64,
    /// Emptied pieces, all zeros, until they are collected.
    pub(super) emptied: Vec<Vec<Block>>,
}

impl Stock {
    pub(super) fn put(&mut self, blocks: Zeroizing<Vec<Block>>) {
        self.left += blocks.len();
        if !blocks.is_empty() {
            self.pieces.push_back(blocks);
        }
    }

    /// Takes the next `count` OTs out, to make others of.
    fn withdraw(&mut self, count: usize) -> Option<Zeroizing<Vec<Block>>> {
        let blocks = self.take(count).ok()?;
        // What is withdrawn becomes other OTs: no operator has used it, and no cost has
        // declared it.
        self.consumed -= count as u64;
        Some(blocks)
    }

    /// The next `count` OTs, which the pool then forgets, or how many are left: copied once,
    /// whatever pieces they are in.
    fn take(&mut self, count: usize) -> Result<Zeroizing<Vec<Block>>, usize> {
        if count > self.left {
            return Err(self.left);
        }
        let mut taken = Zeroizing::new(Vec::with_capacity(count));
        self.consume(count, |part| taken.extend_from_slice(part));
        self.consumed += count as u64;
        Ok(taken)
    }

    /// Shows the next `count` OTs piece by piece, and forgets them.
    pub(super) fn consume(&mut self, count: usize, mut show: impl FnMut(&[Block])) {
        let mut wanted = count;
        while let Some(piece) = self.pieces.front_mut() {
            // Blocks before `taken` are wiped, those behind it are fresh. No piece in the queue is
            // empty or used up.
            let end = piece.len().min(self.taken + wanted);
            let part = &mut piece[self.taken..end];
            show(part);
            part.zeroize();
            wanted -= end - self.taken;
            self.taken = end;
            if end == piece.len() {
                self.emptied
                    .extend(self.pieces.pop_front().map(|mut piece| std::mem::take(&mut *piece)));
                self.taken = 0;
            }
            if wanted == 0 {
                break;
            }
        }
        self.left -= count;
    }
}

impl Session {
    /// Takes `count` OTs of which this party is the sender.
    ///
    /// # Errors
    /// [`Error::PoolDry`]: OTs are used once.
    pub(crate) fn take_sent(&mut self, count: usize) -> Result<SentCots, Error> {
        let keys = self.pools.sent.stock.take(count);
        self.pools.collect();
        let delta = self.pools.delta.clone();
        keys.map(|keys| SentCots { delta, keys }).map_err(|left| self.dry(count, left))
    }

    /// Takes `count` OTs of which this party is the receiver.
    ///
    /// # Errors
    /// [`Error::PoolDry`]: OTs are used once.
    pub(crate) fn take_received(&mut self, count: usize) -> Result<ReceivedCots, Error> {
        let keys = self.pools.received.stock.take(count);
        self.pools.collect();
        keys.map(|keys| ReceivedCots { keys }).map_err(|left| self.dry(count, left))
    }

    /// Wipes `count` OTs of either direction, or as many as there are.
    pub(crate) fn discard(&mut self, count: usize) {
        for line in [&mut self.pools.sent, &mut self.pools.received] {
            line.stock.consume(count.min(line.stock.left), |_| ());
        }
        self.pools.collect();
    }

    pub(super) fn dry(&self, needed: usize, left: usize) -> Error {
        Error::PoolDry { step: self.channel.step().to_owned(), needed, left }
    }
}

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;
    use crate::testing;

    #[test]
    fn a_transfer_is_used_once_and_a_dry_pool_is_an_error() {
        let (mut server, mut client) = testing::sessions_with_dealer(1, 10);
        let sent = server.take_sent(7).unwrap();
        let received = client.take_received(7).unwrap();
        for (k, m) in sent.keys.iter().zip(received.keys.iter()) {
            assert_eq!(k.lsb(), 0);
            assert_eq!(*m, *k ^ sent.delta.masked(m.lsb()));
        }
        assert!(matches!(server.take_sent(4), Err(Error::PoolDry { needed: 4, left: 3, .. })));
        assert!(server.take_sent(3).unwrap().keys.iter().all(|key| !sent.keys.contains(key)));
    }

    /// A field of another type would not compile.
    #[test]
    fn transfers_are_wiped_where_they_are_dropped() {
        fn wiped(_: &impl ZeroizeOnDrop) {}
        let (mut server, mut client) = testing::sessions_with_dealer(2, 3);
        let SentCots { delta, keys } = server.take_sent(1).unwrap();
        wiped(&delta);
        wiped(&keys);
        let ReceivedCots { keys } = client.take_received(1).unwrap();
        wiped(&keys);
        let pools = &mut server.pools;
        wiped(&pools.piece(5));
        wiped(&pools.delta);
        wiped(pools.sent.stock.pieces.front().unwrap());
        for reserve in pools.withdraw(2).unwrap() {
            wiped(&reserve);
        }
    }

    #[test]
    fn pieces_that_come_back_are_zeros() {
        let mut pools = Pools::default();
        let ones = Block(u128::MAX);
        let mut piece = pools.piece(PIECE);
        piece.fill(ones);
        pools.give_back(piece);
        let mut piece = pools.piece(PIECE);
        assert!(piece.iter().all(|block| *block == Block::ZERO));
        piece.fill(ones);
        pools.add_sent(piece);
        let stock = &mut pools.sent.stock;
        stock.consume(PIECE, |keys| assert!(keys.iter().all(|key| *key == ones)));
        pools.collect();
        assert!(pools.spare.len() == 1 && pools.spare[0].iter().all(|block| *block == Block::ZERO));
    }

    #[test]
    fn emptied_pieces_are_given_back_but_for_a_few() {
        let mut pools = Pools::default();
        for _ in 0..SPARE + 8 {
            let piece = pools.piece(PIECE);
            pools.add_sent(piece);
        }
        for _ in 0..SPARE + 8 {
            pools.sent.stock.consume(PIECE, |_| ());
            pools.collect();
        }
        assert_eq!((pools.sent.stock.left, pools.spare.len()), (0, SPARE));
    }

    #[test]
    fn transfers_that_are_taken_come_from_all_pieces_and_are_gone() {
        let mut stock = Stock::default();
        stock.put(Zeroizing::new((0..5).map(Block).collect()));
        stock.put(Zeroizing::new((5..9).map(Block).collect()));
        assert_eq!(**stock.take(7).unwrap(), (0..7).map(Block).collect::<Vec<_>>());
        assert_eq!((stock.left, stock.consumed), (2, 7));
        assert_eq!(stock.take(3).err(), Some(2));
        assert_eq!(**stock.take(2).unwrap(), [Block(7), Block(8)]);
    }

    #[test]
    fn transfers_come_out_in_the_order_in_which_they_went_in() {
        let mut stock = Stock::default();
        let mut next = 0u128;
        for count in [5, 0, 1, 70, 3] {
            stock.put(Zeroizing::new((next..next + count).map(Block).collect()));
            next += count;
        }
        let mut taken = Vec::new();
        for count in [0, 4, 2, 60, 13] {
            stock.consume(count, |part| taken.extend_from_slice(part));
        }
        assert_eq!(taken, (0..next).map(Block).collect::<Vec<_>>());
        assert_eq!((stock.left, stock.pieces.len()), (0, 0));
        assert_eq!(stock.take(1).err(), Some(0));
    }
}
