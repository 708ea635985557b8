//! How much of each ReLU is there, `a` of 0 to 1, and which go.
//!
//! SNL has a penalty on the sum of all `a`, whose factor decides how fast they fall. With short
//! trainings all fall together then, and the network is half linear everywhere before anything is
//! decided. So the number of those that stay is given instead, at every step: those whose gradients
//! are largest go up to 1, all others down to 0, and what has gone does not come back.

use std::ops::Range;

use model::Mask;

use super::Masks;

/// How far an `a` moves in a step.
const RATE: f32 = 0.1;
/// How much of the mean size of gradients a step keeps.
const KEPT: f32 = 0.95;

/// The ReLUs of a node, in groups of as many elements that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relu {
    pub(super) node: usize,
    /// Its groups among those of all.
    pub(super) groups: Range<usize>,
    /// Elements of a group.
    pub(super) size: usize,
}

/// All ReLUs, by group.
pub(super) struct Mixes {
    pub(super) relus: Vec<Relu>,
    /// The part to be kept.
    keep: f64,
    /// Elements of each group.
    sizes: Vec<f32>,
    /// `a`.
    pub(super) parts: Vec<f32>,
    /// The mean size of its gradients, an element: what a step towards the identity may lose.
    pub(super) gradients: Vec<f32>,
    /// 1 where the ReLU is kept, once that is settled.
    pub(super) kept: Vec<f32>,
}

impl Mixes {
    /// All ReLUs as they are.
    pub(super) fn new(relus: Vec<Relu>, keep: f64) -> Self {
        let sizes = relus.iter().flat_map(|relu| relu.groups.clone().map(|_| relu.size as f32));
        let sizes: Vec<f32> = sizes.collect();
        let groups = sizes.len();
        let (parts, gradients) = (vec![1.0; groups], vec![0.0; groups]);
        Self { relus, keep, sizes, parts, gradients, kept: vec![0.0; groups] }
    }

    /// Takes the gradients of a ReLU's slopes below zero, which are `1 - a`.
    pub(super) fn take(&mut self, relu: usize, slopes: &[f32]) {
        let Relu { groups, size, .. } = &self.relus[relu];
        let gradients = self.gradients[groups.clone()].iter_mut();
        for (gradient, slopes) in gradients.zip(slopes.chunks(*size)) {
            // Slopes are `1 - a`. A large group counts as its mean: as much an element as others.
            let found = slopes.iter().map(|slope| slope.abs()).sum::<f32>() / *size as f32;
            *gradient += (1.0 - KEPT) * (found - *gradient);
        }
    }

    /// Moves all one step on; `done` goes from 0 to 1.
    pub(super) fn descend(&mut self, done: f64) {
        // Most go early, when those are left that hardly matter.
        let left = (1.0 - done) * (1.0 - done);
        let chosen = self.chosen(self.keep + (1.0 - self.keep) * left);
        for (part, chosen) in self.parts.iter_mut().zip(chosen) {
            // What has gone stays where it is: its gradients are of another network.
            if *part > 0.0 {
                *part = (*part + RATE * (2.0 * chosen - 1.0)).clamp(0.0, 1.0);
            }
        }
    }

    /// Settles which are kept: as many elements as there may be.
    pub(super) fn settle(&mut self) {
        self.kept = self.chosen(self.keep);
    }

    /// 1 for those that matter most, together no more than a part of all elements; 0 for others.
    fn chosen(&self, part: f64) -> Vec<f32> {
        let elements: f64 = self.sizes.iter().map(|&size| f64::from(size)).sum();
        // A part such as 0.3 is not exact: 0.3 of 1,000 elements are 300 all the same.
        let mut room = (part * elements + 1e-6).floor();
        let mut order: Vec<usize> = (0..self.parts.len()).collect();
        order.sort_by(|&a, &b| {
            let there = (self.parts[b] > 0.0).cmp(&(self.parts[a] > 0.0));
            there.then(self.gradients[b].total_cmp(&self.gradients[a]))
        });
        let mut chosen = vec![0.0; self.parts.len()];
        for group in order {
            let size = f64::from(self.sizes[group]);
            // Where a large group has no room any more, a smaller one behind it may.
            if size <= room {
                room -= size;
                chosen[group] = 1.0;
            }
        }
        chosen
    }

    /// Goes on to what was settled, in so many steps from here.
    pub(super) fn approach(&mut self, steps: u64) {
        let share = 1.0 / steps.max(1) as f32;
        for (part, &kept) in self.parts.iter_mut().zip(&self.kept) {
            // The last step is exact, so that nothing is left of what is not kept.
            *part = if steps <= 1 { kept } else { *part + share * (kept - *part) };
        }
    }

    /// The slopes of a ReLU's elements below zero.
    pub(super) fn slopes(&self, relu: usize, slopes: &mut Vec<f32>) {
        let Relu { groups, size, .. } = &self.relus[relu];
        slopes.clear();
        let parts = &self.parts[groups.clone()];
        slopes.extend(parts.iter().flat_map(|part| std::iter::repeat_n(1.0 - part, *size)));
    }

    /// The elements that are kept, as was settled or as it would be now.
    pub(super) fn masks(&self, is_settled: bool) -> Masks {
        let kept = if is_settled { self.kept.clone() } else { self.chosen(self.keep) };
        let masks = self.relus.iter().map(|Relu { node, groups, size }| {
            let kept = kept[groups.clone()].iter().map(|&kept| kept > 0.0);
            let elements = kept.flat_map(|kept| std::iter::repeat_n(kept, *size)).collect();
            (*node, Mask::new(elements))
        });
        masks.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixes(sizes: &[(usize, usize)], keep: f64) -> Mixes {
        let mut groups = 0;
        let relus = sizes.iter().enumerate().map(|(node, &(count, size))| {
            groups += count;
            Relu { node, groups: groups - count..groups, size }
        });
        Mixes::new(relus.collect(), keep)
    }

    #[test]
    fn what_matters_most_is_kept_and_no_more_than_there_may_be() {
        // Two channels of four elements and three layers of one.
        let mut mixes = mixes(&[(2, 4), (3, 1)], 0.5);
        for step in 1..=40 {
            mixes.take(0, &[0.5, -0.5, 0.5, -0.5, 3.0, -3.0, 3.0, -3.0]);
            mixes.take(1, &[-1.0, 2.0, 1e-3]);
            mixes.descend(f64::from(step) / 40.0);
        }
        assert_eq!(mixes.parts[0], 0.0);
        assert_eq!(mixes.parts[1], 1.0);
        mixes.settle();
        assert_eq!(mixes.kept, [0.0, 1.0, 0.0, 1.0, 0.0]);
        mixes.parts[1] = 0.5;
        mixes.approach(2);
        assert_eq!(mixes.parts[1], 0.75);
        mixes.approach(1);
        assert_eq!(mixes.parts, mixes.kept);
        let mut slopes = Vec::new();
        mixes.slopes(0, &mut slopes);
        assert_eq!(slopes, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        let masks = mixes.masks(true);
        assert_eq!(masks[1], (1, Mask::new(vec![false, true, false])));
    }
}
