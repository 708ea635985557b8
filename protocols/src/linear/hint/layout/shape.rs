//! How large tiles are, and what they take.

use super::axis::Axis;
use crate::lattice::DEGREE;

/// How the windows of a tile fill polynomials.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Outputs of a tile, at the most.
    pub(super) tile: [usize; 2],
    pub(super) stride: usize,
    pub(super) block: usize,
    pub(super) blocks: usize,
}

impl Shape {
    /// `None` where not even one window fits.
    pub(super) fn new(
        [rows, columns]: [&Axis; 2],
        (channels, outputs): (usize, usize),
        tile: [usize; 2],
    ) -> Option<Self> {
        let stride = columns.pitch(tile[1]);
        let block = rows.pitch(tile[0]).checked_mul(stride)?;
        let room = DEGREE.checked_div(block.checked_mul(outputs)?)?;
        let blocks = room.min(channels);
        (blocks > 0).then_some(Self { tile, stride, block, blocks })
    }
}

/// Coefficients that are sent for one image, about: all of every block, what other outputs of the
/// polynomial add, and keys.
pub(super) fn coefficients(
    groups: usize,
    (channels, outputs): (usize, usize),
    shape: &Shape,
    tiles: usize,
) -> u128 {
    let blocks = groups as u128 * channels as u128 * shape.block as u128;
    let polynomials = groups as u128 * channels.div_ceil(shape.blocks) as u128;
    let size = shape.blocks * shape.block;
    let more = (2 * (outputs - 1) * size).min(DEGREE - size);
    tiles as u128 * (blocks + polynomials * more as u128 + DEGREE as u128)
}
