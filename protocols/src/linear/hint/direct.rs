//! Direct products of weights with polynomials: what the server multiplies when it makes a hint,
//! and in every inference.

use super::layout::{Layout, Tap};
use crate::bits::Word;
use crate::kernels::add_runs;
use crate::lattice::DEGREE;

/// The kernels of a group's chunks, the same for all outputs.
pub(super) struct Kernels {
    kernels: Vec<Kernel>,
    /// Weights of an output.
    fan_in: usize,
    /// Exponents that the outputs of a polynomial are moved up by.
    moved: Vec<usize>,
    /// Exponents of a window.
    len: usize,
}

/// Coefficients that fill registers: those that are beyond are of no use, and cost less than odd
/// ones.
pub(super) const fn whole(span: usize) -> usize {
    span.next_multiple_of(8)
}

/// Weights that meet a chunk: exponents, and their places among those of an output.
struct Kernel {
    offsets: Vec<usize>,
    weights: Vec<usize>,
}

impl Kernels {
    /// For `span` coefficients of products.
    pub(super) fn new(layout: &Layout, span: usize) -> Self {
        let kernels: Vec<Kernel> =
            layout.chunks().map(|chunk| Kernel::new(&layout.kernel(chunk))).collect();
        let highest = kernels.iter().flat_map(|kernel| &kernel.offsets).max();
        let moved: Vec<usize> = (0..layout.outputs).map(|output| layout.moved(output)).collect();
        let before = moved.last().copied().unwrap_or(0);
        let behind = before + highest.copied().unwrap_or(0) + whole(span);
        let len = before + behind.max(DEGREE);
        Self { kernels, fan_in: layout.own.fan_in(), moved, len }
    }

    /// Exponents below zero in a window.
    fn before(&self) -> usize {
        self.moved.last().copied().unwrap_or(0)
    }

    /// A polynomial from its lowest exponent that a product takes to its highest, so that every
    /// shift of it is one run. `fill` gets its coefficients, zeros at first.
    pub(super) fn window<W: Word>(&self, fill: impl FnOnce(&mut [W])) -> Vec<W> {
        let before = self.before();
        let mut window = vec![W::zero(); self.len];
        fill(&mut window[before..before + DEGREE]);
        // Signs change at every multiple of the degree.
        for at in 0..before {
            window[at] = W::zero().wrapping_sub(&window[at + DEGREE]);
        }
        for at in before + DEGREE..self.len {
            window[at] = W::zero().wrapping_sub(&window[at - DEGREE]);
        }
        window
    }

    /// Adds the product of a window of a chunk with the weights of the outputs that share a
    /// polynomial, from where the output of number `output` is moved to.
    pub(super) fn add<W: Word>(
        &self,
        sums: &mut [W],
        (chunk, window): (usize, &[W]),
        (output, weights): (usize, &[i8]),
    ) {
        let kernel = &self.kernels[chunk];
        let from = self.before() + self.moved[output];
        for (moved, weights) in self.moved.iter().zip(weights.chunks_exact(self.fan_in)) {
            let weights: Vec<W> = kernel
                .weights
                .iter()
                .map(|&at| W::truncate(i64::from(weights[at]) as u64))
                .collect();
            add_runs(sums, &window[from - moved..], &kernel.offsets, &weights);
        }
    }
}

impl Kernel {
    fn new(taps: &[Tap]) -> Self {
        let (offsets, weights) = taps.iter().map(|tap| (tap.offset, tap.weight)).unzip();
        Self { offsets, weights }
    }
}
