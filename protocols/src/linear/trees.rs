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
use crate::ot::{Hash, SentCots, ggm};
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
    /// Plants the trees of some classes, in one exchange for all. The server gives its weights.
    pub(super) async fn plant(
        session: &mut Session,
        classes: &[Class],
        weights: Option<&[i8]>,
    ) -> Result<Vec<Self>, Error> {
        session.channel.begin_part();
        let hashes: Vec<Hash> = classes.iter().map(|_| Hash::new(&session.fresh_key(Domain::Tree))).collect();
        let sides = match weights {
            Some(weights) => hold(session, &hashes, classes, weights).await?,
            None => own(session, &hashes, classes).await?,
        };
        Ok(hashes.into_iter().zip(sides).map(|(hash, side)| Self { hash, side }).collect())
    }

    /// What planting moves.
    pub(super) fn cost(classes: &[Class]) -> Cost {
        let choices = classes.iter().map(|class| {
            let levels = levels(class);
            Cost::message(Role::Server, Bits::ONE.packed_len(levels))
                .beside(Cost::cots(Role::Client, levels as u64))
        });
        let sums = classes.iter().flat_map(|class| {
            chunks(class).map(|trees| Cost::message(Role::Client, sums_len(class, trees.len())))
        });
        choices.fold(Cost::ZERO, Cost::beside) + sums.fold(Cost::ZERO, Cost::beside)
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
    pub(super) fn holes(&self, trees: std::ops::Range<usize>) -> Option<&[u32]> {
        match &self.side {
            Side::Owner { .. } => None,
            Side::Holder { holes, .. } => Some(&holes[trees]),
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

/// Levels of all trees of a class.
fn levels(class: &Class) -> usize {
    class.trees() * class.depth() as usize
}

async fn hold(
    session: &mut Session,
    hashes: &[Hash],
    classes: &[Class],
    weights: &[i8],
) -> Result<Vec<Side>, Error> {
    let mut asked = Vec::with_capacity(classes.len());
    for class in classes {
        let holes = class.holes(weights);
        let transfers = session.take_received(levels(class))?;
        let wanted: BitString = holes
            .iter()
            .flat_map(|hole| (0..class.depth()).rev().map(move |level| (hole >> level) & 1 == 0))
            .collect();
        session.channel.send(&wanted.xor(&transfers.choices()).to_bytes())?;
        asked.push((holes, transfers.keys));
    }
    let mut sides = Vec::with_capacity(classes.len());
    for ((class, hash), (holes, mut keys)) in classes.iter().zip(hashes).zip(asked) {
        let depth = class.depth() as usize;
        // A chunk's co-paths take the place of its keys: both are a block a level.
        let mut copaths = std::mem::take(&mut *keys);
        for trees in chunks(class) {
            let sums = Block::unpack(&session.channel.receive(sums_len(class, trees.len())).await?);
            let keys = &mut copaths[trees.start * depth..trees.end * depth];
            let first: Vec<Block> = keys.iter().step_by(depth).copied().collect();
            let others = keys.chunks_exact(depth).flat_map(|tree| &tree[1..]);
            let sums: Vec<Block> = others.zip(&sums).map(|(key, sum)| *key ^ *sum).collect();
            keys.copy_from_slice(&ggm::holder_copaths(hash, &holes[trees], &first, &sums, class.depth()));
        }
        sides.push(Side::Holder { holes, copaths });
    }
    Ok(sides)
}

async fn own(session: &mut Session, hashes: &[Hash], classes: &[Class]) -> Result<Vec<Side>, Error> {
    let mut asked = Vec::with_capacity(classes.len());
    for class in classes {
        let SentCots { delta, mut keys } = session.take_sent(levels(class))?;
        let moved = session.channel.receive(Bits::ONE.packed_len(levels(class))).await?;
        let moved = BitString::from_bytes(&moved, levels(class));
        keys.iter_mut().zip(moved.iter()).for_each(|(key, bit)| *key ^= delta.masked(bit));
        asked.push((*delta, keys));
    }
    let mut sides = Vec::with_capacity(classes.len());
    for ((class, hash), (delta, keys)) in classes.iter().zip(hashes).zip(asked) {
        let depth = class.depth() as usize;
        let roots: Vec<Block> = keys.iter().step_by(depth).copied().collect();
        for trees in chunks(class) {
            let mut sums = ggm::owner_sums(hash, &roots[trees.clone()], delta, class.depth());
            let others =
                keys[trees.start * depth..trees.end * depth].chunks_exact(depth).flat_map(|tree| &tree[1..]);
            for (sum, key) in sums.iter_mut().zip(others) {
                *sum ^= *key;
            }
            session.channel.send(&Block::pack(&sums))?;
            session.channel.drained().await?;
        }
        sides.push(Side::Owner { delta, roots });
    }
    Ok(sides)
}
