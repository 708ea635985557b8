//! Products of two values: gates of channels, in every order of axes, and values of one shape.

use model::onnx::proto::{NodeProto, TensorProto};
use model::{ImportError, import};

use super::{bytes, check_by_runtime, graph, ints, node, weights};

fn kinds(input: &[usize], constants: Vec<TensorProto>, nodes: Vec<NodeProto>) -> Vec<&'static str> {
    let model = check_by_runtime(13, &graph(input, constants, nodes));
    model.nodes.iter().map(|node| node.op.kind()).collect()
}

/// A product of `x` and the last of some nodes, in either order of both.
fn gated(input: &[usize], constants: &[TensorProto], gate: &[NodeProto]) -> Vec<&'static str> {
    let [first, second] = [["x", "g"], ["g", "x"]].map(|operands| {
        let nodes = [gate, &[node("Mul", &operands, "y")]].concat();
        kinds(input, constants.to_vec(), nodes)
    });
    assert_eq!(first, second);
    first
}

#[test]
fn squeeze_and_excitation_is_a_product_of_channels() {
    let constants = [
        weights("w1", &[2, 6, 1, 1]),
        weights("b1", &[2]),
        weights("w2", &[6, 2, 1, 1]),
        weights("b2", &[6]),
    ];
    for (pool, last) in [
        (node("GlobalAveragePool", &["x"], "p"), node("HardSigmoid", &["c2"], "g")),
        (
            node("ReduceMean", &["x"], "p").ints("axes", &[2, 3]).int("keepdims", 1),
            node("Sigmoid", &["c2"], "g"),
        ),
    ] {
        let gate = [
            pool,
            node("Conv", &["p", "w1", "b1"], "c1"),
            node("Relu", &["c1"], "r"),
            node("Conv", &["r", "w2", "b2"], "c2"),
            last,
        ];
        let found = gated(&[6, 7, 5], &constants, &gate);
        assert_eq!(found[..4], ["avg-pool", "fc", "relu", "fc"]);
        assert_eq!(found[5..], ["mul"]);
    }
}

#[test]
fn values_of_one_shape_are_multiplied_element_by_element() {
    let w = [weights("w", &[3, 3, 1, 1])];
    assert_eq!(gated(&[3, 4, 5], &w, &[node("Conv", &["x", "w"], "g")]), ["conv", "mul"]);
    assert_eq!(
        gated(&[6], &[weights("w", &[6, 6])], &[node("MatMul", &["x", "w"], "g")])[1],
        "mul"
    );
}

#[test]
fn gates_of_any_axes_are_repeated_along_the_others() {
    let transposed = node("Transpose", &["x"], "t").ints("perm", &[0, 2, 3, 1]);
    let last = node("GlobalAveragePool", &["x"], "p");
    let channels_last = vec![
        transposed.clone(),
        last.clone(),
        node("Transpose", &["p"], "g").ints("perm", &[0, 2, 3, 1]),
        node("Mul", &["t", "g"], "y"),
    ];
    assert_eq!(kinds(&[3, 4, 5], vec![], channels_last)[..2], ["avg-pool", "mul"]);
    // One gate a pixel, a row, and for all.
    let w = [weights("w", &[1, 3, 1, 1])];
    assert!(gated(&[3, 4, 5], &w, &[node("Conv", &["x", "w"], "g")]).contains(&"mul"));
    let row = [weights("wr", &[3, 3, 1, 5])];
    assert!(gated(&[3, 4, 5], &row, &[node("Conv", &["x", "wr"], "g")]).contains(&"mul"));
    let all = [last, node("Conv", &["p", "w"], "g")];
    assert!(gated(&[3, 4, 5], &w, &all).contains(&"mul"));
    // A vector that is reshaped.
    let constants = [ints("shape", &[0, 3, 1, 1]), weights("m", &[60, 3])];
    let reshaped = [
        node("Flatten", &["x"], "f"),
        node("MatMul", &["f", "m"], "v"),
        node("Reshape", &["v", "shape"], "g"),
    ];
    assert_eq!(gated(&[3, 4, 5], &constants, &reshaped), ["fc", "mul"]);
}

#[test]
fn products_that_repeat_both_values_are_refused() {
    let constants = vec![weights("w", &[1, 3, 1, 1])];
    let nodes = vec![
        node("GlobalAveragePool", &["x"], "p"),
        node("Conv", &["x", "w"], "c"),
        node("Mul", &["p", "c"], "y"),
    ];
    match import(&bytes(13, graph(&[3, 4, 5], constants, nodes))) {
        Err(ImportError::Unsupported(all)) => {
            assert!(all[0].to_string().contains("not both"), "{}", all[0]);
        }
        other => panic!("{other:?}"),
    }
}
