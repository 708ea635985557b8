//! Both parties' trees of one class, from OTs.

use std::ops::Range;

use zeroize::Zeroizing;

use super::layout::Class;
use crate::Block;
use crate::linear::keys::{self, Keys};
use crate::linear::leaves::Leaves;
use crate::ot::ggm;

impl Class<'_> {
    /// The sender's masked sums and leaves of the trees from `first` on, from their OTs,
    /// `[tree][level]`.
    pub(super) fn sender_trees(
        &self,
        keys: &Keys,
        first: usize,
        ots: &[Block],
        delta: Block,
    ) -> (Vec<Block>, Leaves) {
        let (depth, mut sums) = (self.width as usize, Vec::new());
        let mut leaves = Leaves::with_room_for(ots.len() / depth, self.width);
        for run in self.runs(ots.len() / depth) {
            // A key is named by the class and by the run's first tree, so no two runs of a class
            // share one.
            let hash = keys.hash(self.number, first + run.start, 0);
            let ots = &ots[run.start * depth..run.end * depth];
            let roots: Vec<Block> = ots.iter().step_by(depth).copied().collect();
            let roots = Zeroizing::new(roots);
            let others = ots.chunks_exact(depth).flat_map(|tree| &tree[1..]);
            let own = ggm::sender_sums(&hash, &roots, delta, self.width);
            sums.extend(own.into_iter().zip(others).map(|(sum, key)| sum ^ *key));
            leaves.append(ggm::sender_leaves(&hash, &roots, delta, self.width));
        }
        (sums, leaves.ready())
    }

    /// The receiver's leaves of the trees from `first` on, from their OTs and the sender's
    /// masked sums.
    pub(super) fn receiver_trees(
        &self,
        keys: &Keys,
        first: usize,
        ots: &[Block],
        punctures: &[u32],
        sums: &[Block],
    ) -> Leaves {
        let depth = self.width as usize;
        let mut leaves = Leaves::with_room_for(punctures.len(), self.width);
        for run in self.runs(punctures.len()) {
            let hash = keys.hash(self.number, first + run.start, 0);
            let ots = &ots[run.start * depth..run.end * depth];
            let (sums, punctures) =
                (&sums[run.start * (depth - 1)..run.end * (depth - 1)], &punctures[run]);
            // `M_1` is the puncture's sibling on level one, `M_i xor c_i` the sum of the side that
            // the puncture is not on.
            let of_first: Vec<Block> = ots.iter().step_by(depth).copied().collect();
            let of_first = Zeroizing::new(of_first);
            let others = ots.chunks_exact(depth).flat_map(|tree| &tree[1..]);
            let sums: Vec<Block> = others.zip(sums).map(|(key, sum)| *key ^ *sum).collect();
            let sums = Zeroizing::new(sums);
            let copaths = Zeroizing::new(ggm::receiver_copaths(
                &hash, punctures, &of_first, &sums, self.width,
            ));
            leaves.append(ggm::receiver_leaves(&hash, punctures, &copaths, self.width));
        }
        leaves.ready()
    }

    /// Runs of the trees of one chunk, of whole quads but for the last.
    fn runs(&self, trees: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        keys::runs(self.width, 0..trees).map(|(_, run)| run)
    }
}
