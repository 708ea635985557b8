//! The arithmetic of one batch, both sides of it.

use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use super::pages::Pages;
use super::parameters::{Batch, Parameters};
use crate::kernels::Code;
use crate::ot::ggm::in_place;
use crate::ot::pool::{PIECE, Pools};
use crate::ot::{Hash, Series, fresh_keys};
use crate::{Block, Domain, Session};

/// What one party keeps between batches.
pub(crate) struct Ferret {
    pub(super) parameters: Parameters,
    /// Of the OTs that this party sends.
    pub(super) sent: Reserve,
    /// Of the OTs that this party receives.
    pub(super) received: Reserve,
    /// Where the next reserve of either direction is made: zeros between batches.
    pub(super) next: Pages,
}

/// OTs of one direction that are kept back: the secret of the next batch, then those of its
/// trees.
pub(super) struct Reserve(pub(super) Pages);

/// The public randomness of a batch.
pub(super) struct Public {
    /// A key for every tree.
    trees: Series,
    code: Code,
}

impl Public {
    /// Fresh, for the OTs that this party sends and for those that it receives. Both parties
    /// call this in the same order.
    pub(super) fn fresh(session: &mut Session) -> (Self, Self) {
        let trees = fresh_keys(session, Domain::Ferret);
        let codes = fresh_keys(session, Domain::Code);
        (Self::new(&trees.0, &codes.0), Self::new(&trees.1, &codes.1))
    }

    /// From the keys of the trees and of the code.
    fn new(trees: &[u8; 32], code: &[u8; 32]) -> Self {
        let mut first = [0; Block::BYTES];
        first.copy_from_slice(&code[..Block::BYTES]);
        Self { trees: Series::new(trees), code: Code::new(Block::from_bytes(first)) }
    }
}

/// Where the OTs of a batch go.
pub(super) struct Output<'a> {
    pub(super) pools: &'a mut Pools,
    /// Adds OTs to the pool of the direction.
    pub(super) add: fn(&mut Pools, Zeroizing<Vec<Block>>),
    /// OTs that are still wanted.
    pub(super) wanted: usize,
}

impl Output<'_> {
    /// Adds what is wanted of a piece, from `skip` on.
    fn take(&mut self, mut piece: Zeroizing<Vec<Block>>, skip: usize) {
        let len = (piece.len() - skip).min(self.wanted);
        if len == 0 {
            self.pools.give_back(piece);
            return;
        }
        if skip > 0 {
            // What went into the reserve is overwritten, what is not wanted is wiped: no OT
            // is in two places.
            piece.copy_within(skip..skip + len, 0);
        }
        piece[len..].zeroize();
        piece.truncate(len);
        self.wanted -= len;
        (self.add)(self.pools, piece);
    }
}

impl Reserve {
    /// A batch of OTs that this party sends, and its message.
    pub(super) fn send(
        &mut self,
        batch: Batch,
        public: &Public,
        output: Output<'_>,
        next: &mut Pages,
    ) -> Vec<u8> {
        let (depth, delta) = (batch.parameters.depth(), output.pools.delta());
        let mut sums = vec![Block::ZERO; batch.trees * (depth - 1)];
        self.run(batch, public, (output, next), &mut sums, |hash, keys, nodes, sums| {
            in_place::grow_sender(hash, delta, keys, nodes, sums);
            |_, nodes: &mut [Block]| nodes.iter_mut().for_each(|node| node.0 &= !1)
        });
        Block::pack(&sums)
    }

    /// A batch of OTs that this party receives, with the sender's message.
    pub(super) fn receive(
        &mut self,
        batch: Batch,
        public: &Public,
        (output, next): (Output<'_>, &mut Pages),
        message: &[u8],
    ) {
        let mut sums = Block::unpack(message);
        self.run(batch, public, (output, next), &mut sums, |hash, ots, nodes, sums| {
            let puncture = in_place::grow_receiver(hash, ots, sums, nodes);
            move |first, nodes: &mut [Block]| puncture.finish(first, nodes)
        });
    }

    /// Grows the trees, multiplies by the code, and replaces what was used where that is wanted. To
    /// grow a tree gives what finishes its leaves, part by part.
    fn run<F: Fn(usize, &mut [Block])>(
        &mut self,
        batch: Batch,
        public: &Public,
        (mut output, next): (Output<'_>, &mut Pages),
        sums: &mut [Block],
        grow: impl Fn(&Hash, &[Block], &mut [Block], &mut [Block]) -> F + Sync,
    ) {
        let depth = batch.parameters.depth();
        // The reserve is the secret, then `[tree][level]`. Outputs are numbered `[tree][leaf]`
        // through the batch, which is also how the code counts its rows.
        let (secret, ots) = self.0.split_at(batch.parameters.secret());
        let trees = PIECE >> depth;
        let groups = ots[..batch.trees * depth].chunks(trees * depth);
        for (group, (ots, sums)) in groups.zip(sums.chunks_mut(trees * (depth - 1))).enumerate() {
            let first = group * PIECE;
            let mut fill = |nodes: &mut [Block]| {
                let trees_and_ots = nodes.par_chunks_mut(1 << depth).zip(ots.par_chunks(depth));
                let all = trees_and_ots.zip(sums.par_chunks_mut(depth - 1)).enumerate();
                all.for_each(|(tree, ((nodes, ots), sums))| {
                    let hash = public.trees.hash(group * trees + tree);
                    let finish = grow(&hash, ots, nodes, sums);
                    public.code.add(first + (tree << depth), secret, nodes, finish);
                });
            };
            // The first `kept` outputs are the next reserve: the secret is read until the last
            // group, so they have a place of their own.
            let len = (ots.len() / depth) << depth;
            let kept = batch.kept.saturating_sub(first).min(len);
            if kept == len {
                fill(&mut next[first..first + len]);
                continue;
            }
            // The piece is still in a cache where pads are made of it.
            let mut piece = output.pools.piece(len);
            fill(&mut piece);
            if kept > 0 {
                next[first..first + kept].copy_from_slice(&piece[..kept]);
            }
            output.take(piece, kept);
        }
        // A batch of fewer trees leaves the end of the reserve as it is. What was used up is wiped.
        if batch.kept > 0 {
            next[batch.kept..].copy_from_slice(&self.0[batch.kept..]);
            std::mem::swap(&mut self.0, next);
            next.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// Trees of one and the same OTs, so that a key that two of them share shows in their
    /// sums.
    #[test]
    fn every_tree_of_a_batch_grows_under_a_key_of_its_own() {
        let (mut server, mut client) = testing::sessions_with_dealer(5, 0);
        let batch = Parameters::SMALLEST.batches(1).next().expect("a batch");
        let message = |session: &mut Session, ours: bool| {
            let (sent, received) = Public::fresh(session);
            let mut pools = Pools::default();
            pools.set_delta(Block(9));
            let output = Output { pools: &mut pools, add: Pools::add_sent, wanted: 0 };
            let mut reserve = Reserve(Pages::copy(&vec![Block(4); batch.used()]));
            let mut next = Pages::zeros(batch.used());
            reserve.send(batch, if ours { &sent } else { &received }, output, &mut next)
        };
        let sums = message(&mut server, true);
        let len = batch.message_len() / batch.trees;
        let different: std::collections::HashSet<&[u8]> = sums.chunks(len).collect();
        assert_eq!(different.len(), batch.trees);
        assert!(sums == message(&mut client, false), "both parties derive the same keys");
    }
}
