//! What is not supported is named, all of it, with what to do.

use model::onnx::proto::TensorProto;
use model::onnx::{Unsupported, survey};
use model::{ImportError, import};

use super::{bytes, graph, ints, node, weights};

fn problems(opset: i64, graph: model::onnx::proto::GraphProto) -> Vec<Unsupported> {
    match import(&bytes(opset, graph)) {
        Err(ImportError::Unsupported(all)) => all,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_unsupported_nodes_are_listed_also_behind_each_other() {
    let nodes = vec![
        node("Conv", &["x", "w"], "c"),
        node("Selu", &["c"], "s"),
        node("Relu", &["s"], "r"),
        node("Div", &["r", "c"], "m"),
        node("PRelu", &["c", "w"], "l"),
        node("Add", &["l", "m"], "a"),
        node("Softmax", &["a"], "y"),
    ];
    let graph = graph(&[3, 4, 4], vec![weights("w", &[3, 3, 1, 1])], nodes);
    let report = survey(&bytes(13, graph.clone())).unwrap();
    assert!(report.model.is_none());
    assert_eq!(report.operators["Relu"], 1);
    let found = problems(13, graph);
    assert_eq!(found, report.unsupported);
    let names: Vec<_> = found.iter().map(|p| (p.node.as_str(), p.operator.as_str())).collect();
    let expected =
        [("Selu_s", "Selu"), ("Div_m", "Div"), ("PRelu_l", "PRelu"), ("Softmax_y", "Softmax")];
    assert_eq!(names, expected);
    assert!(found[1].reason.contains("by a value"), "{}", found[1]);
    assert!(found[3].reason.contains("one axis"), "{}", found[3]);
}

#[test]
fn what_cannot_be_represented_is_refused_not_approximated() {
    let pool = || node("AveragePool", &["x"], "y").ints("kernel_shape", &[3, 3]);
    let flatten = || node("Flatten", &["x"], "f");
    let reversed = ["starts", "ends", "axes", "steps"];
    let constants = || {
        vec![
            weights("w", &[3, 3, 3]),
            weights("image", &[2, 3, 4, 4]),
            ints("starts", &[-1]),
            ints("ends", &[-9]),
            ints("axes", &[2]),
            ints("steps", &[-1]),
            ints("shape", &[6, -1, 8]),
            ints("flag", &[1]),
            ints("batchwise", &[1, 0, 0, 0, 0, 0, 0, 0]),
        ]
    };
    let cases = [
        (pool().ints("dilations", &[2, 2]), "fits"),
        (node("Clip", &["x"], "y").float("min", 1.0).float("max", -1.0), "bounds"),
        (node("Conv", &["x", "w"], "y"), "dimensions"),
        (node("Add", &["x", "image"], "y"), "enlarge"),
        (node("Add", &["x", "f"], "y"), "one shape"),
        (node("Mul", &["x", "f"], "y"), "two values"),
        (node("MatMul", &["x", "f"], "y"), "attention"),
        (node("Max", &["x", "f"], "y"), "compares"),
        (node("Concat", &["x", "x"], "y").int("axis", 0), "batch"),
        (node("Dropout", &["x", "", "flag"], "y"), "training mode"),
        (node("LRN", &["x"], "y"), "batch normalization"),
        (node("LayerNormalization", &["x"], "y"), "batch normalization"),
        (node("Attention", &["x", "x", "x"], "y"), "convolutional"),
        (node("Pow", &["x", "starts"], "y"), "exponent"),
        (node("Slice", &["x", reversed[0], reversed[1], reversed[2], reversed[3]], "y"), "step"),
        (node("Reshape", &["x", "shape"], "y"), "images of a batch"),
        (node("Pad", &["x", "batchwise"], "y"), "batch"),
        (node("Pad", &["x", "batchwise"], "y").string("mode", "reflect"), "reflect"),
        (node("Swish", &["x"], "y").float("alpha", 2.0), "parameters"),
        (node("Gelu", &["x"], "y").string("approximate", "cube"), "cube"),
        (node("Custom", &["x"], "y"), "not supported"),
        (node("RequantizedConv", &["x", "w", "w"], "y"), "QuantizeLinear"),
        (node("RequantShift", &["x", "f", "f"], "y").int("signed", 0), "div"),
        (node("Cast", &["x"], "y").int("to", 2), "uint8"),
        (node("Cast", &["x"], "y").int("to", 9), "bool"),
        (pool().ints("kernel_shape", &[2, 2]).ints("dilations", &[0, 1]), "dilation"),
        (node("Add", &["x", "nowhere"], "y"), "nowhere"),
        (node("Transpose", &["x"], "y").ints("perm", &[1, 0, 2, 3]), "batch"),
    ];
    for (odd, expected) in cases {
        let found = problems(13, graph(&[3, 4, 4], constants(), vec![flatten(), odd]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].to_string().contains(expected), "{} for {expected}", found[0]);
    }
}

#[test]
fn old_files_and_odd_ends_are_errors_of_their_own() {
    let relu = || vec![node("Relu", &["x"], "y")];
    let field = |result: Result<_, ImportError>| match result {
        Err(ImportError::Field { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(import(&bytes(6, graph(&[1, 2, 2], vec![], relu())))), "opset_import");
    assert!(field(import(&bytes(13, graph(&[1; 5], vec![], relu())))).contains("input"));
    assert!(field(import(&bytes(13, graph(&[1, 0, 2], vec![], relu())))).contains("input"));
    let mut none = graph(&[1, 2, 2], vec![], relu());
    none.output.clear();
    assert_eq!(field(import(&bytes(13, none))), "graph.output");
    for version in [27, 999, i64::MAX] {
        let message =
            import(&bytes(version, graph(&[1, 2, 2], vec![], relu()))).unwrap_err().to_string();
        assert!(
            message.contains("from 7 to 26") && message.contains(&version.to_string()),
            "{message}"
        );
    }
    assert!(matches!(import(b"\xff\xff\xff"), Err(ImportError::Decode(_))));
    assert_eq!(field(import(b"")), "opset_import");
}

#[test]
fn weights_that_are_no_numbers_to_compute_with_are_named_with_their_node() {
    for (wrong, found) in [(1e30, "1e30"), (f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        for (at, what) in [(0, "weight"), (1, "bias")] {
            let mut values = [vec![0.5; 6], vec![0.5; 2]];
            values[at][1] = wrong;
            let [w, b] = &values;
            let constants =
                vec![TensorProto::floats("w", &[2, 3, 1, 1], w), TensorProto::floats("b", &[2], b)];
            let nodes =
                vec![node("Conv", &["x", "w", "b"], "first"), node("Relu", &["first"], "y")];
            let message =
                import(&bytes(13, graph(&[3, 2, 2], constants, nodes))).unwrap_err().to_string();
            for part in ["first", what, found, "position 1"] {
                assert!(message.contains(part), "{part} is missing in: {message}");
            }
        }
    }
}
