//! Files that lie: an error, never a panic, and no more memory than the file is worth.

use model::onnx::proto::{GraphProto, TensorProto};
use model::{float, import};
use proptest::prelude::*;

use super::{batch, bytes, graph, ints, node, weights};

/// A small network with a bit of everything.
fn network() -> GraphProto {
    let constants = vec![
        weights("w", &[4, 3, 3, 3]),
        weights("b", &[4]),
        ints("starts", &[0, 0]),
        ints("ends", &[99, 99]),
        ints("axes", &[2, 3]),
        ints("steps", &[2, 2]),
        ints("pads", &[0, 0, 0, 0, 0, 1, 0, 0]),
        weights("fc", &[16, 5]),
    ];
    let nodes = vec![
        node("Conv", &["x", "w", "b"], "c").ints("pads", &[1, 1, 1, 1]).ints("strides", &[2, 2]),
        node("Relu", &["c"], "r"),
        node("Slice", &["x", "starts", "ends", "axes", "steps"], "s"),
        node("Pad", &["s", "pads"], "p"),
        node("Add", &["r", "p"], "a"),
        node("MaxPool", &["a"], "m").ints("kernel_shape", &[2, 2]).ints("strides", &[2, 2]),
        node("Shape", &["m"], "shape"),
        node("Flatten", &["m"], "f"),
        node("Gemm", &["f", "fc"], "y"),
    ];
    graph(&[3, 8, 8], constants, nodes)
}

/// Whatever is imported can be evaluated, if it is small.
fn import_and_run(bytes: &[u8]) {
    if let Ok(model) = import(bytes) {
        model.check().unwrap();
        let elements: usize = model.nodes.iter().map(|node| node.elements()).sum();
        let input: usize = model.input.iter().product();
        if model.macs() < 1 << 24 && elements + input < 1 << 22 {
            float::evaluate(&model, &batch(&model, 1)).unwrap();
        }
    }
}

#[test]
fn every_truncation_is_survived() {
    let bytes = bytes(13, network());
    assert!(import(&bytes).is_ok());
    for end in 0..bytes.len() {
        import_and_run(&bytes[..end]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn garbled_bytes_are_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = bytes(13, network());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        import_and_run(&bytes);
    }

    #[test]
    fn noise_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        import_and_run(&bytes);
    }
}

#[test]
fn claims_of_size_cost_nothing() {
    let tensor = TensorProto { dims: vec![1 << 31, 1 << 31, 1 << 31], ..weights("w", &[1]) };
    let conv = || node("Conv", &["x", "w"], "y");
    assert!(import(&bytes(13, graph(&[3, 8, 8], vec![tensor], vec![conv()]))).is_err());
    let huge = [1 << 40, 1 << 40, 1 << 40];
    assert!(import(&bytes(13, graph(&huge, vec![], vec![node("Relu", &["x"], "y")]))).is_err());
    for attribute in ["pads", "strides", "dilations", "kernel_shape"] {
        let numbers = vec![i64::MAX; if attribute == "pads" { 4 } else { 2 }];
        let conv = conv().ints(attribute, &numbers);
        assert!(
            import(&bytes(13, graph(&[3, 8, 8], vec![weights("w", &[1, 3, 1, 1])], vec![conv])))
                .is_err()
        );
    }
    let zeros = node("ConstantOfShape", &["shape"], "zeros");
    let nodes = vec![zeros, node("Add", &["x", "zeros"], "y")];
    assert!(import(&bytes(13, graph(&[3, 8, 8], vec![ints("shape", &[1 << 30])], nodes))).is_err());
}

#[test]
fn a_small_file_does_not_unfold_into_a_large_model() {
    // 50 doublings.
    let mut nodes = vec![];
    for i in 0..50 {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        nodes.push(node("Concat", &[&from, &from], &to).int("axis", 0));
    }
    nodes.push(node("Add", &["x", "c50"], "y"));
    assert!(import(&bytes(13, graph(&[3, 8, 8], vec![weights("c0", &[64])], nodes))).is_err());
    // One weight tensor, used a thousand times.
    let layer = |i: usize| node("Conv", &[&format!("c{i}"), "w"], &format!("c{}", i + 1));
    let mut nodes: Vec<_> = (1..1000).map(layer).collect();
    nodes.insert(0, node("Conv", &["x", "w"], "c1"));
    assert!(
        import(&bytes(13, graph(&[256, 1, 1], vec![weights("w", &[256, 256, 1, 1])], nodes)))
            .is_err()
    );
}
