//! One axis of a convolution: phases of its stride, and tiles of its outputs.

use crate::lattice::DEGREE;
use crate::linear::Geometry;

/// One axis: where taps are, and how many lines of a phase there are.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// Of each tap: its phase and its shift.
    pub(super) taps: Vec<(usize, isize)>,
    /// Phases that have taps, in order.
    pub(super) phases: Vec<usize>,
    /// The least and the largest shift.
    pub(super) low: isize,
    pub(super) high: isize,
    pub(super) stride: usize,
    /// Lines of the input, and of the output.
    pub(super) input: usize,
    pub(super) output: usize,
}

impl Axis {
    pub(super) fn new(
        kernel: usize,
        stride: usize,
        dilation: usize,
        pad: usize,
        [input, output]: [usize; 2],
    ) -> Self {
        let tap = |i: usize| {
            let offset = (i * dilation) as isize - pad as isize;
            (offset.rem_euclid(stride as isize) as usize, offset.div_euclid(stride as isize))
        };
        let taps: Vec<(usize, isize)> = (0..kernel).map(tap).collect();
        let shifts = taps.iter().map(|tap| tap.1);
        let (low, high) = (shifts.clone().min().unwrap_or(0), shifts.max().unwrap_or(0));
        let mut phases: Vec<usize> = taps.iter().map(|tap| tap.0).collect();
        phases.sort_unstable();
        phases.dedup();
        Self { taps, phases, low, high, stride, input, output }
    }

    /// Lines that the windows of `count` outputs take, and how many of them are padding at both
    /// ends, where these are all outputs.
    pub(super) const fn extent(&self, count: usize) -> (usize, usize) {
        let length = count + (self.high - self.low) as usize;
        if count < self.output {
            return (length, 0);
        }
        // Whatever the phase, lines from `lines` on are beyond the image.
        let lines = self.input.div_ceil(self.stride) as isize;
        let before = if self.low < 0 { -self.low } else { 0 };
        let after = self.low + length as isize - lines;
        let after = if after < 0 { 0 } else { after };
        (length, if before < after { before as usize } else { after as usize })
    }

    /// Lines of a tile from which on the next tile, or block, begins.
    pub(super) const fn pitch(&self, count: usize) -> usize {
        let (length, shared) = self.extent(count);
        length - shared
    }

    /// The line of the input at a line of a phase; `None` beyond the image.
    pub(super) fn line(&self, phase: usize, line: isize) -> Option<usize> {
        let line = line.checked_mul(self.stride as isize)?.checked_add(phase as isize)?;
        usize::try_from(line).ok().filter(|line| *line < self.input)
    }

    /// Sizes of tiles that may fit a polynomial, the largest first: for each number of tiles the
    /// smallest that do. Only all outputs together share padding, so none else has more than the
    /// degree.
    pub(super) fn sizes(&self) -> Vec<usize> {
        let smaller = (1..self.output.min(DEGREE + 1))
            .rev()
            .filter(|size| self.output.div_ceil(self.output.div_ceil(*size)) == *size);
        std::iter::once(self.output).chain(smaller).collect()
    }

    /// Tiles of a size.
    pub(super) const fn tiles(&self, size: usize) -> usize {
        self.output.div_ceil(size)
    }

    /// For every line of the input, the first tile of a size with outputs that need it.
    pub(super) fn first_tiles(&self, size: usize) -> Vec<usize> {
        let mut first = vec![usize::MAX; self.input];
        for output in 0..self.output {
            for &(phase, shift) in &self.taps {
                if let Some(line) = self.line(phase, output as isize + shift) {
                    first[line] = first[line].min(output / size);
                }
            }
        }
        first
    }

    /// Shifts of the taps of a phase, from the least of all on.
    pub(super) fn shifts(&self, phase: usize) -> impl Iterator<Item = usize> {
        let taps = self.taps.iter().filter(move |tap| tap.0 == phase);
        taps.map(|tap| (tap.1 - self.low) as usize)
    }
}

/// Rows and columns.
pub(super) fn axes(g: &Geometry) -> [Axis; 2] {
    [
        Axis::new(g.kernel_h, g.stride_h, g.dilation_h, g.pad_top, [g.in_h, g.out_h()]),
        Axis::new(g.kernel_w, g.stride_w, g.dilation_w, g.pad_left, [g.in_w, g.out_w()]),
    ]
}
