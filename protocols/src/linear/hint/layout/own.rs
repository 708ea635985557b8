//! What is a layer's own of the encryptions that it reads: all of its own encryptions, or some taps
//! and some outputs of another layer's.

use super::Axis;
use crate::linear::Geometry;

/// One axis of a layer, in terms of the axis that its encryptions were laid out for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    /// Of each tap of the layout, the layer's tap that meets the same elements.
    pub(super) taps: Vec<Option<usize>>,
    /// Outputs of the layout from one of the layer's to the next.
    every: usize,
    /// Outputs of the layer.
    outputs: usize,
}

/// Outputs of a layer in one tile, along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Lines {
    /// The first of them.
    pub(in super::super) first: usize,
    /// Where the tile has it.
    pub(in super::super) at: usize,
    /// From one to the next in the tile.
    pub(in super::super) every: usize,
    pub(in super::super) count: usize,
}

impl Own {
    /// Of a layer that reads its own encryptions.
    pub(super) fn all(axis: &Axis) -> Self {
        Self { taps: (0..axis.taps.len()).map(Some).collect(), every: 1, outputs: axis.output }
    }

    /// Of the outputs in a tile of `size` of the layout's outputs from `start` on.
    pub(super) fn lines(&self, start: usize, size: usize) -> Lines {
        let first = start.div_ceil(self.every);
        let end = (start + size).div_ceil(self.every).min(self.outputs);
        // Behind the layer's last output a tile has none of its own.
        match end.checked_sub(first) {
            Some(count) => {
                Lines { first, at: first * self.every - start, every: self.every, count }
            }
            None => Lines { first: 0, at: 0, every: self.every, count: 0 },
        }
    }
}

impl Lines {
    /// Outputs, and where the tile has them.
    pub(in super::super) fn iter(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.count).map(move |number| (self.first + number, self.at + number * self.every))
    }
}

/// Kernel, stride, dilation, padding before the first element, and outputs of one axis.
type Line = [usize; 5];

const fn lines(g: &Geometry) -> [Line; 2] {
    [
        [g.kernel_h, g.stride_h, g.dilation_h, g.pad_top, g.out_h()],
        [g.kernel_w, g.stride_w, g.dilation_w, g.pad_left, g.out_w()],
    ]
}

/// Rows and columns of a layer in a layout for another one of the same input and as many groups;
/// `None` where it needs what that does not.
pub(super) fn axes(layout: &Geometry, own: &Geometry) -> Option<[Own; 2]> {
    let alike = layout.in_shape() == own.in_shape() && layout.groups == own.groups;
    let ([rows, columns], [own_rows, own_columns]) = (lines(layout), lines(own));
    if alike { Some([axis(rows, own_rows)?, axis(columns, own_columns)?]) } else { None }
}

/// Output `y` of the layer is output `y every` of the layout, and its tap `i` meets element `y
/// stride + i dilation - pad`, as one of the layout's taps does there.
fn axis(layout: Line, own: Line) -> Option<Own> {
    let [kernel, stride, dilation, pad, outputs] = layout;
    let [own_kernel, own_stride, own_dilation, own_pad, own_outputs] = own;
    let every = own_stride / stride;
    let reaches = own_outputs.checked_sub(1)?.checked_mul(every)? < outputs;
    if !own_stride.is_multiple_of(stride) || !reaches || own_kernel > kernel {
        return None;
    }
    let mut taps = vec![None; kernel];
    for tap in 0..own_kernel {
        // A tap beside the layout's, or between them, meets what nobody has encrypted.
        let at = (tap * own_dilation + pad).checked_sub(own_pad)?;
        let slot = taps.get_mut(at / dilation).filter(|_| at.is_multiple_of(dilation))?;
        *slot = Some(tap);
    }
    Some(Own { taps, every, outputs: own_outputs })
}
