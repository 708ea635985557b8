use proptest::prelude::*;

use super::*;
use crate::lattice::DEGREE;
use crate::linear::testing::any_geometry;

impl Layout {
    /// The coefficients of a chunk that are sent, and the elements that they hold.
    pub(in super::super) fn places(
        &self,
        tile: &Tile,
        group: usize,
        chunk: Chunk,
    ) -> Vec<(usize, Option<usize>)> {
        let number = group * self.chunks().len() + chunk.first / self.blocks;
        let Sent { base, runs } = &self.sent(tile)[number];
        let place = |run: &Run, at: usize| {
            let held = run.held.map(|held| base + held.element + at * self.step());
            (run.at + at, held)
        };
        runs.iter().flat_map(|run| (0..run.len).map(move |at| place(run, at))).collect()
    }
}

/// Exponents that outputs touch, one by one.
fn touched(layout: &Layout, tile: &Tile, chunk: Chunk) -> Vec<usize> {
    let mut touched = vec![false; DEGREE];
    let size = layout.blocks * layout.block;
    for to in 0..layout.outputs {
        for from in 0..layout.outputs {
            let distance = DEGREE + to * size - from * size;
            for tap in layout.kernel(chunk) {
                for row in 0..tile.rows {
                    for column in 0..tile.columns {
                        let at = distance + tap.offset + layout.exponent(row, column);
                        touched[at % DEGREE] = true;
                    }
                }
            }
        }
    }
    (0..DEGREE).filter(|&at| touched[at]).collect()
}

/// The element that an exponent holds.
fn element(
    layout: &Layout,
    tile: &Tile,
    (group, chunk): (usize, Chunk),
    at: usize,
) -> Option<usize> {
    let g = &layout.geometry;
    let (_, channel, phase) = layout.blocks_of(chunk).nth(at / layout.block)?;
    let (phase_row, phase_column) = layout.phases[phase];
    let within = at % layout.block;
    let line = |start: usize, at: usize, low: isize, (phase, stride): (usize, usize)| {
        let line = ((start + at) as isize + low) * stride as isize + phase as isize;
        usize::try_from(line).ok()
    };
    let row = within / layout.stride;
    let row = line(tile.row, row, layout.rows.low, (phase_row, g.stride_h))?;
    let column = within % layout.stride;
    let column = line(tile.column, column, layout.columns.low, (phase_column, g.stride_w))?;
    let channel = group * (g.in_channels / g.groups) + channel;
    (row < g.in_h && column < g.in_w).then_some((channel * g.in_h + row) * g.in_w + column)
}

/// Sizes of tiles along an axis, by number of tiles.
fn splits(output: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = (1..=output).map(|count| output.div_ceil(count)).collect();
    sizes.dedup();
    sizes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_sent_is_what_outputs_touch(
        geometry in any_geometry(), share in any::<prop::sample::Index>()) {
        let outputs = geometry.out_channels / geometry.groups;
        let layout = Layout::new(&geometry, 1 + share.index(outputs)).unwrap();
        let mut seen = vec![false; geometry.in_shape().iter().product()];
        let counts = layout.counts();
        prop_assert_eq!(counts.len(), layout.tile_count());
        for (tile, counts) in layout.tiles().iter().zip(counts) {
            let (sent, mut found) = (layout.sent(tile), [0; 2]);
            let chunks = (0..geometry.groups)
                .flat_map(|group| layout.chunks().map(move |chunk| (group, chunk)));
            for ((group, chunk), Sent { base, runs }) in chunks.zip(&sent) {
                let mut places = Vec::new();
                for run in runs.iter() {
                    for at in 0..run.len {
                        let element =
                            run.held.map(|held| base + held.element + at * layout.step());
                        let first = element
                            .is_some_and(|at| !std::mem::replace(&mut seen[at], true));
                        prop_assert_eq!(run.held.is_some_and(|held| held.first), first);
                        found[usize::from(!first)] += 1;
                        places.push((run.at + at, element));
                    }
                }
                let expected: Vec<_> = touched(&layout, tile, chunk)
                    .into_iter()
                    .map(|at| (at, element(&layout, tile, (group, chunk), at)))
                    .collect();
                prop_assert_eq!(places, expected);
            }
            prop_assert_eq!(found, counts);
        }
    }

    #[test]
    fn sizes_of_tiles_are_those_of_all_numbers_of_them(output in 1usize..5000) {
        let axis = Axis::new(1, 1, 1, 0, [output, output]);
        let fit = |size: &usize| *size == output || *size <= DEGREE;
        let expected: Vec<usize> = splits(output).into_iter().filter(fit).collect();
        prop_assert_eq!(axis.sizes(), expected);
    }
}
