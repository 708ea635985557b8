//! The geometry of a convolution.

use serde::{Deserialize, Serialize};

/// The shape of a two-dimensional convolution of one image, in elements.
///
/// The input is `[in_channels, in_h, in_w]`, the weights are
/// `[out_channels, in_channels / groups, kernel_h, kernel_w]`, the output is `[out_channels, out_h, out_w]`.
/// A fully connected layer is the case in which the kernel covers the whole unpadded input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Geometry {
    /// Channels of the input.
    pub in_channels: usize,
    /// Rows of the input.
    pub in_h: usize,
    /// Columns of the input.
    pub in_w: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Rows of the kernel.
    pub kernel_h: usize,
    /// Columns of the kernel.
    pub kernel_w: usize,
    /// Rows between neighbouring windows.
    pub stride_h: usize,
    /// Columns between neighbouring windows.
    pub stride_w: usize,
    /// Rows between neighbouring taps of one window; 1 is a dense kernel.
    pub dilation_h: usize,
    /// Columns between neighbouring taps of one window; 1 is a dense kernel.
    pub dilation_w: usize,
    /// Rows of zeros above the input.
    pub pad_top: usize,
    /// Columns of zeros left of the input.
    pub pad_left: usize,
    /// Rows of zeros below the input.
    pub pad_bottom: usize,
    /// Columns of zeros right of the input.
    pub pad_right: usize,
    /// Groups of channels that do not mix; divides both channel counts.
    pub groups: usize,
}

impl Geometry {
    /// Rows of the output; 0 if the kernel does not fit into the padded input.
    #[must_use]
    pub fn out_h(&self) -> usize {
        windows(self.in_h + self.pad_top + self.pad_bottom, self.kernel_h, self.dilation_h, self.stride_h)
    }

    /// Columns of the output; 0 if the kernel does not fit into the padded input.
    #[must_use]
    pub fn out_w(&self) -> usize {
        windows(self.in_w + self.pad_left + self.pad_right, self.kernel_w, self.dilation_w, self.stride_w)
    }

    /// Multiplications of one image; those with padding count.
    #[must_use]
    pub fn macs(&self) -> u64 {
        let taps = self.in_channels / self.groups.max(1) * self.kernel_h * self.kernel_w;
        (self.out_channels * self.out_h() * self.out_w()) as u64 * taps as u64
    }
}

/// How many windows of `kernel` taps, `dilation` apart, fit into `padded` elements, `stride` apart.
pub(crate) fn windows(padded: usize, kernel: usize, dilation: usize, stride: usize) -> usize {
    let reach = kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1);
    match (padded.checked_sub(reach), stride) {
        (None, _) | (_, 0) => 0,
        (Some(room), stride) => room / stride + 1,
    }
}
