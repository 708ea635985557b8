//! Widths of all layers and sites, and steps between them.

use super::{Ends, Uniform};
use crate::quantize::{Assignment, Sites};

/// One width for all layers but the ends.
pub(super) fn uniform(sites: &Sites, fixed: Uniform, ends: Ends) -> Assignment {
    let mut assignment = Assignment {
        weight_bits: vec![fixed.weight_bits; sites.layers.len()],
        site_bits: vec![fixed.activation_bits; sites.sites.len()],
    };
    let wide = match ends {
        Ends::Wide => Uniform { weight_bits: 8, activation_bits: 8 },
        Ends::Same => fixed,
        Ends::Uniform(other) => other,
    };
    let last = sites.layers.len().saturating_sub(1);
    for layer in [0, last] {
        assignment.weight_bits[layer] = wide.weight_bits;
        assignment.site_bits[sites.layers[layer].input] = wide.activation_bits;
    }
    assignment
}

/// One width for everything.
pub(super) fn uniform_widths(sites: &Sites, bits: u8) -> Assignment {
    Assignment {
        weight_bits: vec![bits; sites.layers.len()],
        site_bits: vec![bits; sites.sites.len()],
    }
}

/// A width of an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Site(usize),
    Layer(usize),
}

impl Width {
    /// The assignment with this width wider or narrower by a bit, if it can be.
    pub(super) fn moved(self, assignment: &Assignment, by: i8) -> Option<Assignment> {
        let mut moved = assignment.clone();
        let width = match self {
            Self::Site(site) => &mut moved.site_bits[site],
            Self::Layer(layer) => &mut moved.weight_bits[layer],
        };
        *width = width.checked_add_signed(by).filter(|bits| (2..=8).contains(bits))?;
        Some(moved)
    }
}

/// All of them.
pub(super) fn widths(assignment: &Assignment) -> impl Iterator<Item = Width> + use<> {
    let (sites, layers) = (assignment.site_bits.len(), assignment.weight_bits.len());
    (0..sites).map(Width::Site).chain((0..layers).map(Width::Layer))
}
