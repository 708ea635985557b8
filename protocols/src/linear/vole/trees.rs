//! Weight trees: planted once per session, expanded anew for every inference.
//!
//! The client owns one correlated half-tree (`ot::ggm`) for every digit of a weight, or for the
//! digits of a bundle of weights of one input row. The server's digits are the puncture points, so
//! it knows every leaf but the one that its weights name.
//!
//! 1. Server: for every level the side that it wants, masked by an OT's random choice: `d = b
//!    xor x`.
//! 2. Client: for every level but the first the sum of left children, masked by the OT, moved
//!    by `d Δ`.
//!
//! Cost: one correlated OT (client sends) and one bit a level from the server; 16 bytes a
//! level but the first from the client.
//!
//! Security: `d` is masked by uniform choices of which the client knows nothing; the sums are
//! masked by OTs of which the server knows one side; see `ot::ggm` for what it knows of the
//! leaves. A key of the hash serves few trees ([`keys`](crate::linear::keys)).

use std::ops::Range;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::layout::Class;
use crate::kernels::Quad;
use crate::linear::keys::{Keys, runs};
use crate::linear::leaves::Leaves;
use crate::ot::{Hash, SentCots, ggm};
use crate::{BitString, Bits, Block, Cost, Domain, Error, Role, Session};

/// One party's half of the trees of one class.
pub(super) struct Trees {
    keys: Keys,
    side: Side,
}

enum Side {
    Sender { delta: Block, roots: Vec<Block> },
    Receiver { punctures: Vec<u32>, copaths: Vec<Block> },
}

impl Trees {
    /// Plants the trees of some classes, in one exchange for all. The server gives its weights.
    pub(super) async fn set_up(
        session: &mut Session,
        classes: &[Class],
        weights: Option<&[i8]>,
    ) -> Result<Vec<Self>, Error> {
        session.channel.begin_part();
        let keys: Vec<Keys> =
            classes.iter().map(|_| Keys::new(&session.fresh_key(Domain::Tree))).collect();
        let sides = match weights {
            Some(weights) => receive(session, &keys, classes, weights).await?,
            None => send(session, &keys, classes).await?,
        };
        Ok(keys.into_iter().zip(sides).map(|(keys, side)| Self { keys, side }).collect())
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

    /// The leaves of some trees, `[tree / 4][2^depth]`, with the half of their hash that is the
    /// same under all keys done.
    pub(super) fn leaves(&self, class: &Class, trees: Range<usize>) -> Leaves {
        let depth = class.depth();
        let mut leaves = Leaves::with_room_for(trees.len(), depth);
        for (number, run) in runs(depth, trees.clone()) {
            // Quads begin with the first tree asked for. Where a run begins amid one, the trees
            // before it grow once more under its key, and are left out.
            let before = (run.start - trees.start) % 4;
            let hash = self.keys.hash(0, number, 0);
            let grown = Leaves::new(self.side.grow(&hash, run.start - before..run.end, depth));
            if run == trees {
                leaves = grown;
            } else {
                leaves.join(&grown, before, depth);
            }
        }
        leaves.ready()
    }

    /// The receiver's punctures; the sender has none.
    pub(super) fn punctures(&self, trees: Range<usize>) -> Option<&[u32]> {
        match &self.side {
            Side::Sender { .. } => None,
            Side::Receiver { punctures, .. } => Some(&punctures[trees]),
        }
    }
}

impl Side {
    /// The leaves of some trees, `[tree / 4][2^depth]`.
    fn grow(&self, hash: &Hash, trees: Range<usize>, depth: u32) -> Vec<Quad> {
        match self {
            Self::Sender { delta, roots } => ggm::sender_leaves(hash, &roots[trees], *delta, depth),
            Self::Receiver { punctures, copaths } => {
                let copaths = &copaths[trees.start * depth as usize..trees.end * depth as usize];
                ggm::receiver_leaves(hash, &punctures[trees], copaths, depth)
            }
        }
    }

    /// The sender's sums of left children of some trees; the receiver has none.
    fn sums(&self, class: &Class, keys: &Keys, trees: Range<usize>) -> Vec<Block> {
        let Self::Sender { delta, roots } = self else { return Vec::new() };
        runs(class.depth(), trees)
            .flat_map(|(number, run)| {
                ggm::sender_sums(&keys.hash(0, number, 0), &roots[run], *delta, class.depth())
            })
            .collect()
    }
}

impl ZeroizeOnDrop for Side {}

impl Drop for Side {
    fn drop(&mut self) {
        match self {
            Self::Sender { delta, roots } => {
                delta.zeroize();
                roots.zeroize();
            }
            Self::Receiver { punctures, copaths } => {
                punctures.zeroize();
                copaths.zeroize();
            }
        }
    }
}

/// Trees whose sums travel together.
fn chunks(class: &Class) -> impl Iterator<Item = Range<usize>> + use<> {
    let trees = class.trees();
    // Chunks bound what waits to be sent. They need not begin where a run does: a run that is cut
    // in two keeps its key.
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

async fn receive(
    session: &mut Session,
    keys: &[Keys],
    classes: &[Class],
    weights: &[i8],
) -> Result<Vec<Side>, Error> {
    let mut asked = Vec::with_capacity(classes.len());
    for class in classes {
        let punctures = Zeroizing::new(class.punctures(weights));
        let ots = session.take_received(levels(class))?;
        // One bit a level, tree by tree, the puncture's highest bit first: the side that the
        // puncture is *not* on.
        let wanted: BitString = punctures
            .iter()
            .flat_map(|puncture| {
                (0..class.depth()).rev().map(move |level| (puncture >> level) & 1 == 0)
            })
            .collect();
        // The random choices of the OTs mask the sides. The client learns nothing of the
        // weights.
        session.channel.send(&wanted.xor(&ots.choices()).to_bytes())?;
        asked.push((punctures, ots.keys));
    }
    let mut sides = Vec::with_capacity(classes.len());
    for ((class, keys), (mut punctures, mut ots)) in classes.iter().zip(keys).zip(asked) {
        // A chunk's co-paths take the place of its OTs: both are a block a level.
        for trees in chunks(class) {
            let sums = Block::unpack(&session.channel.receive(sums_len(class, trees.len())).await?);
            puncture(class, keys, trees, &punctures, &sums, &mut ots);
        }
        let (punctures, copaths) = (std::mem::take(&mut *punctures), std::mem::take(&mut *ots));
        sides.push(Side::Receiver { punctures, copaths });
    }
    Ok(sides)
}

/// Puts the co-paths of some trees in the place of their OTs, `[tree][depth]`, with the sums
/// that came for them.
fn puncture(
    class: &Class,
    keys: &Keys,
    trees: Range<usize>,
    punctures: &[u32],
    sums: &[Block],
    ots: &mut [Block],
) {
    // OTs are `[tree][level]`, sums `[tree][level from the second on]` with those of this
    // chunk alone. `M_1` is the puncture's sibling on level one; `M_i xor c_i` is the sum of the
    // side that was asked for.
    let depth = class.depth() as usize;
    for (number, run) in runs(class.depth(), trees.clone()) {
        let ots = &mut ots[run.start * depth..run.end * depth];
        let first: Zeroizing<Vec<Block>> =
            Zeroizing::new(ots.iter().step_by(depth).copied().collect());
        let others = ots.chunks_exact(depth).flat_map(|tree| &tree[1..]);
        let sums = &sums[(run.start - trees.start) * (depth - 1)..][..run.len() * (depth - 1)];
        let sums = others.zip(sums).map(|(key, sum)| *key ^ *sum);
        let sums: Zeroizing<Vec<Block>> = Zeroizing::new(sums.collect());
        let hash = keys.hash(0, number, 0);
        let copaths = ggm::receiver_copaths(&hash, &punctures[run], &first, &sums, class.depth());
        ots.copy_from_slice(&Zeroizing::new(copaths));
    }
}

async fn send(session: &mut Session, keys: &[Keys], classes: &[Class]) -> Result<Vec<Side>, Error> {
    let mut asked = Vec::with_capacity(classes.len());
    for class in classes {
        let SentCots { delta, mut keys } = session.take_sent(levels(class))?;
        let moved = session.channel.receive(Bits::ONE.packed_len(levels(class))).await?;
        let moved = BitString::from_bytes(&moved, levels(class));
        // With `K' = K xor d Δ`, the server's block is `M = K' xor b Δ` for the side `b` that it
        // wants. So `K'` and `K' xor Δ` are the two keys in the order of the sides.
        keys.iter_mut().zip(moved.iter()).for_each(|(key, bit)| *key ^= delta.masked(bit));
        asked.push((*delta, keys));
    }
    let mut sides = Vec::with_capacity(classes.len());
    for ((class, keys), (delta, ots)) in classes.iter().zip(keys).zip(asked) {
        let depth = class.depth() as usize;
        // The first level's key is the tree's left node: the two nodes are the OT itself.
        let roots: Vec<Block> = ots.iter().step_by(depth).copied().collect();
        let side = Side::Sender { delta, roots };
        for trees in chunks(class) {
            // `c_i = L_i xor K'_i` for all levels but the first, `[tree][level]`. Of it the server
            // learns the sum of one side: the other one is under a key that it lacks.
            let mut sums = side.sums(class, keys, trees.clone());
            let others = ots[trees.start * depth..trees.end * depth]
                .chunks_exact(depth)
                .flat_map(|tree| &tree[1..]);
            for (sum, key) in sums.iter_mut().zip(others) {
                *sum ^= *key;
            }
            session.channel.send(&Block::pack(&sums))?;
            session.channel.drained().await?;
        }
        sides.push(side);
    }
    Ok(sides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Share;
    use crate::weights::LayerWeights;

    /// Compiles only for types that wipe themselves.
    const fn wiped<T: ZeroizeOnDrop>() {}

    #[test]
    fn what_is_said_to_be_wiped_is_wiped_by_its_type() {
        wiped::<Side>();
        wiped::<Leaves>();
        wiped::<Share>();
        wiped::<LayerWeights>();
        wiped::<Zeroizing<Vec<i8>>>();
    }
}
