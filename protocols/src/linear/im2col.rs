//! One row of the im2col matrix at a time, so that no such matrix is ever held.

use super::Geometry;

/// Writes row `row` (input channel of the group, kernel row, kernel column) of group `group` for
/// `images` images: `images * positions` columns from an input laid out
/// `[channels][images][rows][columns]`; padding reads as zero.
pub(crate) fn im2col_row<T: Copy + Default>(
    geometry: &Geometry,
    images: usize,
    group: usize,
    row: usize,
    input: &[T],
    out: &mut [T],
) {
    let g = geometry;
    let kernel = g.kernel_h * g.kernel_w;
    let channel = group * (g.in_channels / g.groups) + row / kernel;
    let (ky, kx) = (row % kernel / g.kernel_w, row % g.kernel_w);
    let (out_h, out_w) = (g.out_h(), g.out_w());
    let image = g.in_h * g.in_w;
    for n in 0..images {
        let source = &input[(channel * images + n) * image..][..image];
        for oy in 0..out_h {
            let out = &mut out[(n * out_h + oy) * out_w..][..out_w];
            let y = (oy * g.stride_h + ky * g.dilation_h).wrapping_sub(g.pad_top);
            if y >= g.in_h {
                out.fill(T::default());
            } else {
                fill_row(g, kx, &source[y * g.in_w..][..g.in_w], out);
            }
        }
    }
}

fn fill_row<T: Copy + Default>(g: &Geometry, kx: usize, source: &[T], out: &mut [T]) {
    let first = kx * g.dilation_w;
    let start = g.pad_left.saturating_sub(first).div_ceil(g.stride_w).min(out.len());
    let end =
        (g.in_w + g.pad_left).saturating_sub(first).div_ceil(g.stride_w).clamp(start, out.len());
    out[..start].fill(T::default());
    out[end..].fill(T::default());
    if start < end {
        let from = start * g.stride_w + first - g.pad_left;
        let taken = source[from..].iter().step_by(g.stride_w);
        for (slot, value) in out[start..end].iter_mut().zip(taken) {
            *slot = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linear::testing::any_geometry;

    proptest! {
        #[test]
        fn every_row_is_what_the_definition_says(geometry in any_geometry(), images in 1usize..3) {
            let g = &geometry;
            let len = g.in_channels * images * g.in_h * g.in_w;
            let input: Vec<u32> = (1..=len as u32).collect();
            let mut row = vec![0; images * g.positions()];
            let rows = (0..g.groups).flat_map(|group| (0..g.fan_in()).map(move |r| (group, r)));
            for (group, r) in rows {
                im2col_row(g, images, group, r, &input, &mut row);
                let (c, ky, kx) =
                    (r / (g.kernel_h * g.kernel_w), r / g.kernel_w % g.kernel_h, r % g.kernel_w);
                for (column, found) in row.iter().enumerate() {
                    let (n, oy, ox) = (
                        column / g.positions(),
                        column % g.positions() / g.out_w(),
                        column % g.out_w(),
                    );
                    let y = (oy * g.stride_h + ky * g.dilation_h) as isize - g.pad_top as isize;
                    let x = (ox * g.stride_w + kx * g.dilation_w) as isize - g.pad_left as isize;
                    let inside =
                        (0..g.in_h as isize).contains(&y) && (0..g.in_w as isize).contains(&x);
                    let c = group * (g.in_channels / g.groups) + c;
                    let at = ((c * images + n) * g.in_h) as isize + y;
                    let expected =
                        if inside { input[(at * g.in_w as isize + x) as usize] } else { 0 };
                    prop_assert_eq!(*found, expected);
                }
            }
        }
    }
}
