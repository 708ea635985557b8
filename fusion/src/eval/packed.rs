//! Convolution in 16-bit products and 32-bit sums: dot products of contiguous rows, four output
//! channels at once.

use protocols::linear::Geometry;
use zeroize::Zeroizing;

use super::dot::{LANES, ROWS, Tile};
use crate::Interval;
use crate::sliding::SlidingAxis;

/// Positions whose patches are gathered at once: they stay in the first-level cache.
const TILE: usize = 16;

/// A convolution's weights, by group and block of [`ROWS`] rows, each row in the order rows,
/// columns, channels.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    geometry: Geometry,
    weights: Zeroizing<Vec<i16>>,
    row: usize,
    /// The largest sum of an output channel's magnitudes.
    heaviest: u64,
}

impl Packed {
    /// Whether inputs fit 16 bits and no partial sum can leave 32 bits.
    pub(super) fn holds(&self, input: Interval) -> bool {
        let narrow = input.lo >= i16::MIN.into() && input.hi <= i16::MAX.into();
        narrow && self.heaviest * input.magnitude() < 1 << 31
    }

    pub(super) fn new(geometry: Geometry, weights: &[i8]) -> Self {
        let row = geometry.fan_in().next_multiple_of(LANES);
        let (inputs, taps) =
            (geometry.in_channels / geometry.groups, geometry.kernel_h * geometry.kernel_w);
        let outputs = geometry.out_channels / geometry.groups;
        // Each group's channels are filled up to whole blocks with rows of zeros: their products
        // are computed and dropped.
        let padded = outputs.next_multiple_of(ROWS);
        let mut packed = Zeroizing::new(vec![0; geometry.groups * padded * row]);
        for (channel, source) in weights.chunks_exact(geometry.fan_in()).enumerate() {
            let start = (channel / outputs * padded + channel % outputs) * row;
            for (index, &weight) in source.iter().enumerate() {
                // From `[input][tap]` to `[tap][input]`, as patches are gathered: of 3x3 taps and
                // 64 inputs, index 10 (input 1, tap 1) goes to 65.
                packed[start + index % taps * inputs + index / taps] = weight.into();
            }
        }
        let heaviest = weights
            .chunks_exact(geometry.fan_in())
            .map(|row| row.iter().map(|w| u64::from(w.unsigned_abs())).sum())
            .max()
            .unwrap_or(0);
        Self { geometry, weights: packed, row, heaviest }
    }

    /// `W x` for one image.
    pub(super) fn run(&self, image: &[i64]) -> Vec<i64> {
        let g = &self.geometry;
        let (positions, outputs) = (g.positions(), g.out_channels / g.groups);
        let padded = Padded::new(g, image);
        let mut sums = vec![0; g.out_channels * positions];
        let mut patches = vec![0; TILE * self.row];
        let group_weights = self.weights.chunks_exact(outputs.next_multiple_of(ROWS) * self.row);
        let group_sums = sums.chunks_exact_mut(outputs * positions);
        for (group, (weights, sums)) in group_weights.zip(group_sums).enumerate() {
            for start in (0..positions).step_by(TILE) {
                let count = TILE.min(positions - start);
                for (at, patch) in patches.chunks_exact_mut(self.row).take(count).enumerate() {
                    padded.gather(g, group, start + at, patch);
                }
                self.multiply(weights, &patches[..count * self.row], start, sums);
            }
        }
        sums
    }

    fn multiply(&self, weights: &[i16], patches: &[i16], start: usize, sums: &mut [i64]) {
        let positions = self.geometry.positions();
        let tile = Tile { length: self.row, weights, patches };
        tile.products(|first, at, products| {
            // The last block has fewer channels where their number is no multiple of four: `zip`
            // drops the rest.
            let channels = sums[first * positions..].chunks_mut(positions);
            for (channel, product) in channels.zip(products) {
                channel[start + at] = product.into();
            }
        });
    }
}

/// The image with its padding, `[rows][columns][channels]`.
struct Padded {
    columns: usize,
    channels: usize,
    values: Vec<i16>,
}

impl Padded {
    fn new(g: &Geometry, image: &[i64]) -> Self {
        let columns = g.in_w + g.pad_left + g.pad_right;
        let rows = g.in_h + g.pad_top + g.pad_bottom;
        let mut values = vec![0; rows * columns * g.in_channels];
        for (channel, plane) in image.chunks_exact(g.in_h * g.in_w).enumerate() {
            for (y, line) in plane.chunks_exact(g.in_w).enumerate() {
                let start = ((y + g.pad_top) * columns + g.pad_left) * g.in_channels + channel;
                let targets = values[start..].iter_mut().step_by(g.in_channels);
                targets.zip(line).for_each(|(target, &value)| *target = value as i16);
            }
        }
        Self { columns, channels: g.in_channels, values }
    }

    /// Writes the patch under the window at a position into the head of `patch`.
    fn gather(&self, g: &Geometry, group: usize, position: usize, patch: &mut [i16]) {
        let [rows, columns] = SlidingAxis::of_geometry(g);
        let (y, x) =
            (position / columns.out * rows.stride, position % columns.out * columns.stride);
        let inputs = self.channels / g.groups;
        // Neighboring taps of all channels are contiguous: one copy a row of the window.
        let (run, step) = if g.groups == 1 && columns.dilation == 1 {
            (columns.kernel, 1)
        } else {
            (1, columns.dilation)
        };
        let mut targets = patch.chunks_exact_mut(run * inputs);
        for tap_y in 0..rows.kernel {
            let line = (y + tap_y * rows.dilation) * self.columns + x;
            for tap_x in 0..columns.kernel / run {
                let start = (line + tap_x * step) * self.channels + group * inputs;
                if let Some(target) = targets.next() {
                    target.copy_from_slice(&self.values[start..start + run * inputs]);
                }
            }
        }
    }
}
