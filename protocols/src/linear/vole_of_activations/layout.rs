//! The public layout of a run: which elements of the mask have which uses, their digits' trees in
//! classes, and what travels together.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::linear::{Geometry, Layer};
use crate::{Bits, Block};

/// Leaves of one chunk: 128 KiB.
const LEAVES: usize = 1 << 13;
/// Corrections in one chunk.
const CORRECTIONS: usize = 1 << 18;

/// Rows or columns of the input, by the number of kernel rows or columns that meet them at an
/// output; those that none meets are in none.
type Lines = BTreeMap<usize, Vec<usize>>;

/// Elements of the input with equally many uses: some rows, each with some columns.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// Kernel taps that reach an output.
    pub(super) taps: usize,
    rows: &'a [usize],
    columns: &'a [usize],
}

impl Part<'_> {
    pub(super) const fn spots(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

/// The trees of one digit of all elements of a part.
#[derive(Clone, Copy)]
pub(super) struct Class<'a> {
    pub(super) part: Part<'a>,
    /// Its number.
    pub(super) number: usize,
    pub(super) elements: usize,
    pub(super) columns: usize,
    pub(super) low: u32,
    pub(super) width: u32,
    pub(super) ring: Bits,
}

/// The lines of an image, by how many taps of the kernel they meet; those that meet none are left
/// out.
fn lines(count: usize, meets: impl Fn(usize) -> usize) -> Lines {
    let mut lines = Lines::new();
    (0..count).for_each(|line| lines.entry(meets(line)).or_default().push(line));
    lines.remove(&0);
    lines
}

/// The public layout of a run.
pub(super) struct Layout<'a> {
    pub(super) layer: &'a Layer,
    pub(super) images: usize,
    k: u32,
    /// The least shift of a channel: the products are needed in as many bits less.
    pub(super) shift: u32,
    rows: Lines,
    columns: Lines,
}

impl<'a> Layout<'a> {
    pub(super) fn new(layer: &'a Layer, images: usize, k: u8) -> Self {
        let shift =
            (0..layer.geometry.out_channels).map(|channel| layer.shift(channel)).min().unwrap_or(0);
        let g = &layer.geometry;
        let rows = lines(g.in_h, |y| rows(g, y).count());
        let columns = lines(g.in_w, |x| columns(g, x).count());
        Self { layer, images, k: u32::from(k), shift, rows, columns }
    }

    pub(super) fn ring(&self) -> Bits {
        Bits::of(self.layer.ring.get() - self.shift)
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.rows.iter().flat_map(move |(down, rows)| {
            self.columns.iter().map(move |(across, columns)| Part {
                taps: down * across,
                rows,
                columns,
            })
        })
    }

    pub(super) fn classes(&self) -> impl Iterator<Item = Class<'_>> {
        let (g, ring) = (&self.layer.geometry, self.ring().get());
        self.parts().enumerate().flat_map(move |(at, part)| {
            // Digits from the lowest bit on; the last may be narrower. A product of the digit at
            // `low` is needed in `ring - low` bits.
            (0..ring).step_by(self.k as usize).map(move |low| Class {
                part,
                // No ring has more bits.
                number: 64 * at + low as usize,
                elements: g.in_channels * self.images * part.spots(),
                columns: g.out_channels / g.groups * part.taps,
                low,
                width: self.k.min(ring - low),
                ring: Bits::of(ring - low),
            })
        })
    }

    /// The OTs of all trees.
    pub(super) fn levels(&self) -> usize {
        self.classes().map(|class| class.elements * class.width as usize).sum()
    }

    /// Channel, image, row and column of an element of a part.
    const fn place(&self, part: Part<'_>, element: usize) -> (usize, usize, (usize, usize)) {
        // Elements are numbered `[channel][image][row of the part][column of the part]`.
        let (plane, spot) = (element / part.spots(), element % part.spots());
        let place = (part.rows[spot / part.columns.len()], part.columns[spot % part.columns.len()]);
        (plane / self.images, plane % self.images, place)
    }

    /// Where an element of the mask is.
    pub(super) fn source(&self, part: Part<'_>, element: usize) -> usize {
        let (channel, image, (y, x)) = self.place(part, element);
        let g = &self.layer.geometry;
        ((channel * self.images + image) * g.in_h + y) * g.in_w + x
    }

    /// For every use of an element the weight and the output, in the order of the columns.
    pub(super) fn uses(
        &self,
        part: Part<'_>,
        element: usize,
    ) -> impl Iterator<Item = (usize, usize)> + use<> {
        let g = self.layer.geometry;
        let (channel, image, (y, x)) = self.place(part, element);
        let (inputs, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
        // Weights are `[output channel][fan-in]`, the fan-in
        // `[input channel of the group][kernel row][kernel column]`.
        let (group, row) = (channel / inputs, channel % inputs * g.kernel_h * g.kernel_w);
        let images = self.images;
        (group * outputs..(group + 1) * outputs).flat_map(move |out| {
            rows(&g, y).flat_map(move |(ky, oy)| {
                columns(&g, x).map(move |(kx, ox)| {
                    let weight = out * g.fan_in() + row + ky * g.kernel_w + kx;
                    (weight, (out * images + image) * g.positions() + oy * g.out_w() + ox)
                })
            })
        })
    }
}

impl Class<'_> {
    /// Trees whose messages travel together.
    pub(super) fn chunk(&self) -> usize {
        (LEAVES >> self.width).min(CORRECTIONS / self.columns.max(1)).max(1)
    }

    pub(super) fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (elements, chunk) = (self.elements, self.chunk());
        (0..elements).step_by(chunk).map(move |start| start..elements.min(start + chunk))
    }

    pub(super) fn sums_len(&self, trees: usize) -> usize {
        trees * (self.width as usize - 1) * Block::BYTES
    }

    pub(super) fn message_len(&self, trees: usize) -> usize {
        self.sums_len(trees) + self.ring.packed_len(trees * self.columns)
    }
}

/// Whether the layout of a layer is soon made: images and kernels within reason.
pub(super) const fn fits(geometry: &Geometry) -> bool {
    geometry.in_h.saturating_mul(geometry.kernel_h) <= 1 << 16
        && geometry.in_w.saturating_mul(geometry.kernel_w) <= 1 << 16
}

/// The kernel rows that an input row meets, and the output rows there.
fn rows(g: &Geometry, y: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
    meets(y + g.pad_top, g.kernel_h, g.dilation_h, g.stride_h, g.out_h())
}

/// The kernel columns that an input column meets, and the output columns there.
fn columns(g: &Geometry, x: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
    meets(x + g.pad_left, g.kernel_w, g.dilation_w, g.stride_w, g.out_w())
}

fn meets(
    at: usize,
    kernel: usize,
    dilation: usize,
    stride: usize,
    outputs: usize,
) -> impl Iterator<Item = (usize, usize)> {
    (0..kernel).filter_map(move |tap| {
        // Tap and output meet a place of the padded input where `tap * dilation + output * stride`
        // is that place.
        let start = at.checked_sub(tap * dilation)?;
        let output = start / stride;
        (start.is_multiple_of(stride) && output < outputs).then_some((tap, output))
    })
}
