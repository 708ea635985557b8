//! Weight trees: planted once per session, expanded anew for every inference.
//!
//! The client owns one correlated half-tree (`ot::ggm`) for every digit of a weight, or for the digits of a bundle of
//! weights of one input row. The server's digits are the puncture points, so it knows every leaf but the one that its
//! weights name.
//!
//! 1. Server: for every level the side that it wants, masked by a transfer's random choice: `d = b xor x`.
//! 2. Client: for every level but the first the sum of left children, masked by the transfer, moved by `d Δ`.
//!
//! Cost: one correlated transfer (client sends) and one bit a level from the server; 16 bytes a level but the first from
//! the client.
//!
//! Security: `d` is masked by uniform choices of which the client knows nothing; the sums are masked by transfers of
//! which the server knows one side; see `ot::ggm` for what it knows of the leaves.

use zeroize::Zeroize;

use super::layout::Class;
use crate::kernels::Quad;
use crate::ot::hash::sigma;
use crate::ot::{Hash, ggm};
use crate::{BitString, Bits, Block, Cost, Domain, Error, Role, Session};

/// One party's half of the trees of one class.
pub(super) struct Trees {
    hash: Hash,
    side: Side,
}

enum Side {
    Owner { delta: Block, roots: Vec<Block> },
    Holder { holes: Vec<u32>, copaths: Vec<Block> },
}

impl Trees {
    /// Plants the trees of a class. The server gives its weights.
    pub(super) async fn plant(
        session: &mut Session,
        class: &Class,
        weights: Option<&[i8]>,
    ) -> Result<Self, Error> {
        let hash = Hash::new(&session.fresh_key(Domain::Tree));
        let side = match weights {
            Some(weights) => hold(session, &hash, class, class.holes(weights)).await?,
            None => own(session, &hash, class).await?,
        };
        Ok(Self { hash, side })
    }

    /// What planting moves.
    pub(super) fn cost(class: &Class) -> Cost {
        let levels = class.trees() * class.depth() as usize;
        let choices = Cost::message(Role::Server, Bits::ONE.packed_len(levels));
        let transfers = Cost::cots(Role::Client, levels as u64);
        let sums: Cost = chunks(class)
            .map(|trees| Cost::message(Role::Client, sums_len(class, trees.len())))
            .fold(Cost::ZERO, Cost::beside);
        choices + transfers + sums
    }

    /// The leaves of some trees, `[tree / 4][2^depth]`, with the half of their hash that is the same under all keys done.
    pub(super) fn leaves(&self, class: &Class, trees: std::ops::Range<usize>) -> Vec<Quad> {
        let depth = class.depth();
        let mut leaves = match &self.side {
            Side::Owner { delta, roots } => ggm::owner_leaves(&self.hash, &roots[trees], *delta, depth),
            Side::Holder { holes, copaths } => {
                let copaths = &copaths[trees.start * depth as usize..trees.end * depth as usize];
                ggm::holder_leaves(&self.hash, &holes[trees], copaths, depth)
            }
        };
        sigma(&mut leaves);
        leaves
    }

    /// The holder's holes; the owner has none.
    pub(super) fn holes(&self, trees: std::ops::Range<usize>) -> &[u32] {
        match &self.side {
            Side::Owner { .. } => &[],
            Side::Holder { holes, .. } => &holes[trees],
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        match self {
            Self::Owner { delta, roots } => {
                delta.zeroize();
                roots.zeroize();
            }
            Self::Holder { holes, copaths } => {
                holes.zeroize();
                copaths.zeroize();
            }
        }
    }
}

/// Trees whose sums travel together.
fn chunks(class: &Class) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
    let trees = class.trees();
    let step = (SUMS / class.depth() as usize).max(1);
    (0..trees).step_by(step).map(move |start| start..trees.min(start + step))
}

/// Sums in one chunk: 512 KiB.
const SUMS: usize = 1 << 15;

fn sums_len(class: &Class, trees: usize) -> usize {
    trees * (class.depth() as usize - 1) * Block::BYTES
}

async fn hold(session: &mut Session, hash: &Hash, class: &Class, holes: Vec<u32>) -> Result<Side, Error> {
    let depth = class.depth() as usize;
    let transfers = session.take_received(holes.len() * depth)?;
    let wanted: BitString =
        holes.iter().flat_map(|hole| (0..depth).rev().map(move |level| (hole >> level) & 1 == 0)).collect();
    session.channel.send(&wanted.xor(&transfers.choices()).to_bytes())?;
    let mut copaths = Vec::with_capacity(transfers.keys.len());
    for trees in chunks(class) {
        let sums = Block::unpack(&session.channel.receive(sums_len(class, trees.len())).await?);
        let keys = &transfers.keys[trees.start * depth..trees.end * depth];
        let first: Vec<Block> = keys.iter().step_by(depth).copied().collect();
        let others = keys.chunks_exact(depth).flat_map(|tree| &tree[1..]);
        let sums: Vec<Block> = others.zip(&sums).map(|(key, sum)| *key ^ *sum).collect();
        copaths.extend(ggm::holder_copaths(hash, &holes[trees], &first, &sums, depth as u32));
    }
    Ok(Side::Holder { holes, copaths })
}

async fn own(session: &mut Session, hash: &Hash, class: &Class) -> Result<Side, Error> {
    let depth = class.depth() as usize;
    let levels = class.trees() * depth;
    let transfers = session.take_sent(levels)?;
    let moved = session.channel.receive(Bits::ONE.packed_len(levels)).await?;
    let moved = BitString::from_bytes(&moved, levels);
    let delta = transfers.delta;
    let keys: Vec<Block> =
        transfers.keys.iter().zip(moved.iter()).map(|(key, bit)| *key ^ delta.masked(bit)).collect();
    let roots: Vec<Block> = keys.iter().step_by(depth).copied().collect();
    for trees in chunks(class) {
        let mut sums = ggm::owner_sums(hash, &roots[trees.clone()], delta, depth as u32);
        let others =
            keys[trees.start * depth..trees.end * depth].chunks_exact(depth).flat_map(|tree| &tree[1..]);
        for (sum, key) in sums.iter_mut().zip(others) {
            *sum ^= *key;
        }
        session.channel.send(&Block::pack(&sums))?;
        session.channel.drained().await?;
    }
    Ok(Side::Owner { delta, roots })
}
