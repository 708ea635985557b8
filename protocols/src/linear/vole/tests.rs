use std::collections::HashMap;

use super::*;
use crate::Bits;
use crate::linear::keys::{Allotment, CALLS, SECURITY, runs};
use crate::linear::{Geometry, Protocol};

/// The classes of a layer whose protocol has trees of its weights' digits.
fn classes_of(layer: &Layer) -> Vec<Class> {
    if let Protocol::Vole { k } = layer.protocol {
        return Vole::of(k).classes(layer);
    }
    assert_eq!(layer.protocol, Protocol::Cot, "others have none");
    Vole::cot().classes(layer)
}

/// A convolution of 3x3 with padding.
fn convolution(channels: usize, side: usize) -> Geometry {
    Geometry::same_size([channels; 2], [side; 2], 3)
}

fn layer(geometry: Geometry, weight_bits: u32, algorithm: Algorithm, k: u8) -> Layer {
    let protocol = if k == 0 { Protocol::Cot } else { Protocol::Vole { k } };
    Layer {
        geometry,
        weight_bits,
        shifts: Vec::new(),
        ring: Bits::of(20),
        algorithm,
        protocol,
        number: 0,
    }
}

/// Calls under every key of an expansion, `(chunk, key)`: the same in every block of columns.
fn calls(layer: &Layer, images: usize) -> HashMap<(usize, usize), usize> {
    let classes = classes_of(layer);
    let columns = images * layer.products().geometry.positions();
    let mut calls = HashMap::new();
    for (number, chunk) in layout::chunks(&classes, columns).into_iter().enumerate() {
        let mut keys = Allotment::default();
        for (class, rows) in chunk
            .iter()
            .flat_map(|part| classes[part.classes.clone()].iter().map(|c| (c, &part.rows)))
        {
            let quads = class.trees_of(rows).len().div_ceil(4);
            for run in keys.runs(class.depth(), class.period().min(quads), quads) {
                *calls.entry((number, run.key)).or_default() +=
                    (4 * run.quads.len()) << class.depth();
            }
        }
    }
    calls
}

/// The same of planting and growing.
fn inner_calls(layer: &Layer) -> HashMap<(usize, usize), usize> {
    let mut calls = HashMap::new();
    for (number, class) in classes_of(layer).iter().enumerate() {
        for (run, trees) in runs(class.depth(), 0..class.trees()) {
            let each = (1 << class.depth()) - 2;
            // As if the trees before a run grew along with it: up to three do.
            let along = if trees.start > 0 { 3 } else { 0 };
            let grown = (trees.len() + along).next_multiple_of(4);
            *calls.entry((number, run)).or_default() += grown * each;
        }
    }
    calls
}

#[test]
fn no_key_of_a_real_layer_serves_more_calls_than_the_stated_bound() {
    let direct = Algorithm::Direct;
    let layers = [
        ("64x64x3x3 on 32x32, k = 8", layer(convolution(64, 32), 4, direct, 8)),
        ("64x64x3x3 on 32x32, k = 4", layer(convolution(64, 32), 4, direct, 4)),
        ("64x64x3x3 on 32x32, cot", layer(convolution(64, 32), 8, direct, 0)),
        (
            "64x64x3x3 on 32x32, Winograd",
            layer(convolution(64, 32), 4, Algorithm::WinogradExact, 8),
        ),
        ("16x16x3x3 on 32x32", layer(convolution(16, 32), 4, direct, 8)),
        ("512x512x3x3 on 4x4", layer(convolution(512, 4), 8, direct, 8)),
        ("160x160x3x3 on 8x8", layer(convolution(160, 8), 3, direct, 8)),
        ("784 to 10", layer(Geometry::dense(784, 10), 8, direct, 8)),
        ("4096 to 1000", layer(Geometry::dense(4096, 1000), 8, direct, 8)),
    ];
    for (name, layer) in layers {
        assert!(layer.check().is_ok(), "{name}");
        for calls in [calls(&layer, 1), calls(&layer, 3), inner_calls(&layer)] {
            let most = calls.values().copied().max().unwrap();
            let bits = 128.0 - (most.max(1) as f64).log2();
            println!("{name}: {} keys, at most {most} calls under one: 2^{bits:.1}", calls.len());
            assert!(bits >= f64::from(SECURITY), "{name}: {most} calls under one key");
        }
        // Few keys: a schedule is worth some thousand calls.
        let calls = calls(&layer, 1);
        let mean = calls.values().sum::<usize>() / calls.len();
        assert!(mean >= CALLS / 4 || calls.len() < 32, "{name}: {mean} calls a key");
    }
}

#[test]
fn the_price_is_that_of_the_specification() {
    let layer = |weight_bits, protocol| Layer {
        geometry: Geometry::dense(64, 64),
        weight_bits,
        shifts: Vec::new(),
        ring: Bits::of(14),
        algorithm: Algorithm::Direct,
        protocol,
        number: 0,
    };
    let bits_per_mac = |layer: &Layer| {
        let columns = 1024;
        let payload: usize =
            classes_of(layer).iter().map(|c| c.ring.packed_len(c.trees() * columns) * 8).sum();
        payload as f64 / (layer.geometry.macs() as usize * columns) as f64
    };
    assert_eq!(bits_per_mac(&layer(4, Protocol::Cot)), 50.0);
    assert_eq!(bits_per_mac(&layer(4, Protocol::Vole { k: 4 })), 12.5);
    assert_eq!(bits_per_mac(&layer(4, Protocol::Vole { k: 8 })), 6.25);
    assert_eq!(bits_per_mac(&layer(2, Protocol::Cot)), 27.0);
    assert_eq!(bits_per_mac(&layer(2, Protocol::Vole { k: 4 })), 6.75);
    assert_eq!(bits_per_mac(&layer(2, Protocol::Vole { k: 8 })), 3.375);
}
