//! Scales that are one number up to powers of two.

/// How far a ratio of scales is from a power of two, as a base-two logarithm.
pub(in crate::quantize) fn off_power(log_ratio: f64) -> f64 {
    (log_ratio - log_ratio.round()).abs()
}

/// How far scales that are taken for each other may be apart, as a base-two logarithm.
pub(in crate::quantize) const SAME: f64 = 1e-6;

/// A union of what is tied; by root, the scale that it must have, up to a power of two.
pub(super) struct Ties {
    above: Vec<usize>,
    anchors: Vec<Option<f64>>,
}

impl Ties {
    /// Activation quantizers with their anchors, and the logits behind them.
    pub(super) fn new(anchors: impl Iterator<Item = Option<f64>>) -> Self {
        let anchors: Vec<Option<f64>> = anchors.chain([None]).collect();
        Self { above: (0..anchors.len()).collect(), anchors }
    }

    pub(super) fn root(&self, mut item: usize) -> usize {
        while self.above[item] != item {
            item = self.above[item];
        }
        item
    }

    /// The scale that an item must have, up to a power of two, if any.
    pub(super) fn anchor(&self, item: usize) -> Option<f64> {
        self.anchors[self.root(item)]
    }

    /// Ties two items whose scales are `offset` apart, unless no shift brings them together.
    pub(super) fn join(&mut self, a: usize, b: usize, offset: f64) {
        let (a, b) = (self.root(a), self.root(b));
        let (above, below) = (a.min(b), a.max(b));
        let apart = match (self.anchors[above], self.anchors[below]) {
            (Some(one), Some(other)) => off_power(one - other),
            (Some(_), None) | (None, Some(_)) | (None, None) => 0.0,
        };
        // Left apart, each of the two keeps the scale that it must have; the sum that they meet in
        // multiplies one of them.
        if off_power(offset) > SAME || apart > SAME {
            return;
        }
        self.anchors[above] = self.anchors[above].or(self.anchors[below]);
        self.above[below] = above;
    }

    /// The group of every item, numbered from zero on.
    pub(super) fn number(&self) -> Vec<usize> {
        let mut names = Vec::new();
        (0..self.above.len())
            .map(|item| {
                let root = self.root(item);
                names.iter().position(|&name| name == root).unwrap_or_else(|| {
                    names.push(root);
                    names.len() - 1
                })
            })
            .collect()
    }
}
