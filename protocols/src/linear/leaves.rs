//! Leaves of trees, four trees at a time.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::kernels::Quad;
use crate::ot::hash::sigma;

/// Expanded trees, `[tree / 4][2^depth]`; wiped when they are dropped.
pub(super) struct Leaves(Vec<Quad>);

impl Leaves {
    /// What has grown.
    pub(super) const fn new(grown: Vec<Quad>) -> Self {
        Self(grown)
    }

    /// Room for the leaves of some trees of so many levels, so that none are moved and left behind.
    pub(super) fn with_room_for(trees: usize, depth: u32) -> Self {
        Self(Vec::with_capacity(trees.div_ceil(4) << depth))
    }

    /// Joins trees that grew under one key behind those that are here: whole quads, but for the
    /// last.
    pub(super) fn append(&mut self, grown: Vec<Quad>) {
        self.join(&Self(grown), 0, 0);
    }

    /// With the half of their hash that is the same under all keys done.
    pub(super) fn ready(mut self) -> Self {
        sigma(&mut self.0);
        self
    }

    /// Quads of leaves.
    pub(super) fn quads(&self) -> &[Quad] {
        &self.0
    }

    /// Joins the trees behind those that are here, but for the first `before` of them, which are
    /// here already.
    pub(super) fn join(&mut self, grown: &Self, before: usize, depth: u32) {
        // Where a run begins amid a quad, the last quad that is here and the first that has grown
        // are of the same four trees.
        let shared = if before > 0 { 1 << depth } else { 0 };
        let (shared, others) = grown.0.split_at(shared);
        let at = self.0.len() - shared.len();
        for (quad, grown) in self.0[at..].iter_mut().zip(shared) {
            quad.0[before..].copy_from_slice(&grown.0[before..]);
        }
        self.0.extend_from_slice(others);
    }
}

impl Drop for Leaves {
    fn drop(&mut self) {
        // Quad by quad: wiping a vector goes over it twice, the second time byte by byte.
        self.0.as_mut_slice().zeroize();
    }
}

impl ZeroizeOnDrop for Leaves {}

/// The size of a layer's trees.
#[derive(Default)]
pub(super) struct TreeWork {
    /// Leaves of all trees.
    pub leaves: f64,
    /// Blocks that they are expanded to.
    pub blocks: f64,
    /// Ring elements that cross the wire.
    pub corrections: f64,
}
