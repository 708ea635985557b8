//! What a party does with its own share alone: views, sums over windows, shifted sums.

use crate::plan::{Plan, Term, View, Window, Wire};
use crate::{Bits, Share};

/// A strided slice with zero padding.
pub(super) fn view(view: &View, from: &Wire, images: usize, values: &[u64]) -> Vec<u64> {
    let take = |source: Option<u32>| source.map_or(0, |at| values[at as usize]);
    view.gather(from.shape, images).into_iter().map(take).collect()
}

/// The sums over windows.
pub(super) fn sum_pool(window: &Window, from: &Wire, images: usize, values: &[u64]) -> Vec<u64> {
    let planes = from.shape[0] * images;
    let mut sums: Vec<u64> = Vec::new();
    for at in 0..window.len() {
        let gather = window.gather(from.shape, planes, at);
        sums.resize(gather.len(), 0);
        for (sum, source) in sums.iter_mut().zip(gather) {
            *sum = sum.wrapping_add(source.map_or(0, |i| values[i as usize]));
        }
    }
    sums
}

/// The operands of maxima over windows, `[window position][window]`.
pub(super) fn windows(window: &Window, from: &Wire, images: usize, values: &[u64]) -> Vec<u64> {
    let planes = from.shape[0] * images;
    (0..window.len())
        .flat_map(|at| window.gather_inside(from.shape, planes, at))
        .map(|source| values[source as usize])
        .collect()
}

/// The sum of shifted wires in a ring.
pub(super) fn sum_terms(plan: &Plan, wires: &[Option<Share>], terms: &[Term], ring: Bits) -> Share {
    let len = terms.first().map_or(0, |term| wire(wires, term.wire).len());
    let mut sums = vec![0u64; len];
    for term in terms {
        debug_assert!(plan.wires[term.wire].ring.get() + u32::from(term.shift) >= ring.get());
        for (sum, value) in sums.iter_mut().zip(wire(wires, term.wire).values()) {
            *sum = sum.wrapping_add(value << term.shift);
        }
    }
    Share::new(ring, sums)
}

/// A wire's share.
pub(super) fn wire(wires: &[Option<Share>], id: usize) -> &Share {
    wires[id].as_ref().expect("invariant: a checked plan writes a wire before it reads it")
}
