//! Sliding windows along one axis.

use protocols::linear::Geometry;

/// Windows along one axis of `len` elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlidingAxis {
    /// Elements of the input.
    pub(crate) len: usize,
    /// Positions of the window.
    pub(crate) out: usize,
    /// Taps of the window.
    pub(crate) kernel: usize,
    /// Distance of windows.
    pub(crate) stride: usize,
    /// Distance of taps.
    pub(crate) dilation: usize,
    /// Padding before the first element.
    pub(crate) pad: usize,
}

impl SlidingAxis {
    /// Rows and columns of a convolution.
    pub(crate) const fn of_geometry(g: &Geometry) -> [Self; 2] {
        [
            Self {
                len: g.in_h,
                out: g.out_h(),
                kernel: g.kernel_h,
                stride: g.stride_h,
                dilation: g.dilation_h,
                pad: g.pad_top,
            },
            Self {
                len: g.in_w,
                out: g.out_w(),
                kernel: g.kernel_w,
                stride: g.stride_w,
                dilation: g.dilation_w,
                pad: g.pad_left,
            },
        ]
    }

    /// The taps of the window at `position` that lie on the input: (tap, index of the element).
    pub(crate) fn taps(self, position: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.kernel).filter_map(move |tap| {
            let padded = position * self.stride + tap * self.dilation;
            padded.checked_sub(self.pad).filter(|&at| at < self.len).map(|at| (tap, at))
        })
    }
}
