//! The geometry of a convolution; a fully connected layer is one with a 1x1 image.

use serde::{Deserialize, Serialize};

/// Shapes, strides, padding and groups of a two-dimensional convolution. All sizes are elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Vertical stride.
    pub stride_h: usize,
    /// Horizontal stride.
    pub stride_w: usize,
    /// Vertical dilation.
    pub dilation_h: usize,
    /// Horizontal dilation.
    pub dilation_w: usize,
    /// Zero rows above.
    pub pad_top: usize,
    /// Zero columns to the left.
    pub pad_left: usize,
    /// Zero rows below.
    pub pad_bottom: usize,
    /// Zero columns to the right.
    pub pad_right: usize,
    /// Groups: both channel counts are multiples of it.
    pub groups: usize,
}

impl Geometry {
    /// A convolution from and to so many channels, with a kernel as wide as it is high, an odd
    /// number, and padding that keeps the rows and columns of an image.
    pub const fn same_size(
        [in_channels, out_channels]: [usize; 2],
        [in_h, in_w]: [usize; 2],
        kernel: usize,
    ) -> Self {
        let pad = kernel / 2;
        Self {
            in_h,
            in_w,
            kernel_h: kernel,
            kernel_w: kernel,
            pad_top: pad,
            pad_left: pad,
            pad_bottom: pad,
            pad_right: pad,
            ..Self::dense(in_channels, out_channels)
        }
    }

    /// A fully connected layer.
    pub const fn dense(inputs: usize, outputs: usize) -> Self {
        Self {
            in_channels: inputs,
            in_h: 1,
            in_w: 1,
            out_channels: outputs,
            kernel_h: 1,
            kernel_w: 1,
            stride_h: 1,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: 0,
            pad_left: 0,
            pad_bottom: 0,
            pad_right: 0,
            groups: 1,
        }
    }

    /// What is wrong with it, if anything: zero sizes, a kernel larger than the padded image,
    /// channels that the groups do not divide, or sizes beyond 2^31 elements.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [
            self.in_channels,
            self.in_h,
            self.in_w,
            self.out_channels,
            self.kernel_h,
            self.kernel_w,
        ];
        let steps = [self.stride_h, self.stride_w, self.dilation_h, self.dilation_w, self.groups];
        let pads = [self.pad_top, self.pad_left, self.pad_bottom, self.pad_right];
        if sizes.iter().chain(&steps).any(|&s| s == 0 || s > 1 << 24)
            || pads.iter().any(|&p| p > 1 << 16)
        {
            return Err(format!("sizes within 1..=2^24 and paddings up to 2^16, found {self:?}"));
        }
        if !self.in_channels.is_multiple_of(self.groups)
            || !self.out_channels.is_multiple_of(self.groups)
        {
            return Err(format!(
                "channels that {} groups divide, found {} and {}",
                self.groups, self.in_channels, self.out_channels
            ));
        }
        if self.positions() == 0 {
            return Err(format!("a kernel that fits the padded image, found {self:?}"));
        }
        if within_limit(&[self.in_channels, self.in_h, self.in_w])
            && within_limit(&[self.out_channels, self.out_h(), self.out_w()])
            && within_limit(&[
                self.out_channels,
                self.in_channels / self.groups,
                self.kernel_h,
                self.kernel_w,
            ])
        {
            Ok(())
        } else {
            Err(format!("at most 2^31 elements in input, output and weights, found {self:?}"))
        }
    }

    /// Rows of the output; 0 where the kernel does not fit the padded input.
    pub const fn out_h(&self) -> usize {
        windows(
            self.in_h + self.pad_top + self.pad_bottom,
            self.kernel_h,
            self.dilation_h,
            self.stride_h,
        )
    }

    /// Columns of the output; 0 where the kernel does not fit the padded input.
    pub const fn out_w(&self) -> usize {
        windows(
            self.in_w + self.pad_left + self.pad_right,
            self.kernel_w,
            self.dilation_w,
            self.stride_w,
        )
    }

    /// `[channels, rows, columns]` of the input.
    pub const fn in_shape(&self) -> [usize; 3] {
        [self.in_channels, self.in_h, self.in_w]
    }

    /// `[channels, rows, columns]` of the output.
    pub const fn out_shape(&self) -> [usize; 3] {
        [self.out_channels, self.out_h(), self.out_w()]
    }

    /// `N`: weights of one output channel, the rows of the im2col matrix of one group.
    pub const fn fan_in(&self) -> usize {
        self.in_channels / self.groups * self.kernel_h * self.kernel_w
    }

    /// Number of weights: `K N`.
    pub const fn weights(&self) -> usize {
        self.out_channels * self.fan_in()
    }

    /// Output positions of one image.
    pub const fn positions(&self) -> usize {
        self.out_h() * self.out_w()
    }

    /// Multiplications for one image; those with padding count.
    pub const fn macs(&self) -> u64 {
        (self.weights() as u64).saturating_mul(self.positions() as u64)
    }
}

/// How many windows of `kernel` taps, `dilation` apart, fit into `padded` elements, `stride` apart.
pub(crate) const fn windows(padded: usize, kernel: usize, dilation: usize, stride: usize) -> usize {
    let reach = kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1);
    if reach > padded || stride == 0 { 0 } else { (padded - reach) / stride + 1 }
}

/// Whether a tensor of this shape has at most `2^31` elements.
fn within_limit(shape: &[usize]) -> bool {
    let elements = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    elements.is_some_and(|n| n <= 1 << 31)
}
