use proptest::prelude::*;

use super::*;
use crate::linear::testing::any_geometry;
use crate::linear::{Algorithm, Geometry, Protocol};

#[test]
fn the_price_is_that_of_the_head_of_the_module() {
    let layer = Layer {
        geometry: Geometry::dense(64, 10),
        weight_bits: 4,
        shifts: Vec::new(),
        ring: Bits::of(14),
        algorithm: Algorithm::Direct,
        protocol: Protocol::VoleOfActivations { k: 8 },
        number: 0,
    };
    let Phases { setup, offline, .. } = layer.cost(1);
    let cost = setup + offline;
    // Digits of 8 and 6 bits, needed modulo 2^14 and 2^6.
    let (levels, corrections) = (7 + 5, 10 * (14 + 6));
    assert_eq!((cost.server_cots, cost.client_cots, cost.rounds), (64 * 14, 0, 2));
    assert_eq!(8 * cost.client_bytes, 64 * 14 + 12 * 8);
    // A chunk of 32 trees of 256 leaves twice, one of 64 trees of 64.
    assert_eq!(8 * cost.server_bytes, 64 * (128 * levels + corrections) + 3 * 12 * 8);
}

proptest! {
    #[test]
    fn every_multiplication_that_is_not_with_padding_is_one_use(
        geometry in any_geometry(),
        images in 1usize..3,
    ) {
        let g = &geometry;
        let layer = Layer {
            geometry,
            weight_bits: 2,
            shifts: Vec::new(),
            ring: Bits::of(4),
            algorithm: Algorithm::Direct,
            protocol: Protocol::VoleOfActivations { k: 4 },
            number: 0,
        };
        let layout = Layout::new(&layer, images, 4);
        let mut found = Vec::new();
        for part in layout.parts() {
            let elements = g.in_channels * images * part.spots();
            for element in 0..elements {
                let uses: Vec<_> = layout.uses(part, element).collect();
                prop_assert_eq!(uses.len(), g.out_channels / g.groups * part.taps);
                let source = layout.source(part, element);
                found.extend(uses.into_iter().map(|(weight, output)| (source, weight, output)));
            }
        }
        let input: Vec<usize> = (1..=g.in_channels * images * g.in_h * g.in_w).collect();
        let (mut row, mut expected) = (vec![0; images * g.positions()], Vec::new());
        let rows = (0..g.groups).flat_map(|group| (0..g.fan_in()).map(move |r| (group, r)));
        for (group, r) in rows {
            crate::linear::im2col_row(g, images, group, r, &input, &mut row);
            let outputs = g.out_channels / g.groups;
            for out in group * outputs..(group + 1) * outputs {
                let columns = row.iter().enumerate().filter(|(_, source)| **source > 0);
                expected.extend(columns.map(|(column, source)| {
                    (source - 1, out * g.fan_in() + r, out * images * g.positions() + column)
                }));
            }
        }
        found.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }
}
