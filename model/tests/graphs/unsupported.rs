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
fn all_unsupported_nodes_are_listed_and_none_that_only_follows() {
    let nodes = vec![
        node("Conv", &["x", "w"], "c"),
        node("Selu", &["c"], "s"),
        node("Relu", &["s"], "r"),
        node("Mul", &["r", "c"], "m"),
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
    assert_eq!(names, [("Selu_s", "Selu"), ("PRelu_l", "PRelu"), ("Softmax_y", "Softmax")]);
    assert!(found[2].advice.contains("without it"), "{}", found[2]);
}

#[test]
fn what_cannot_be_represented_is_refused_not_approximated() {
    let pool =
        || node("AveragePool", &["x"], "y").ints("kernel_shape", &[3, 3]).ints("strides", &[2, 2]);
    let flatten = || node("Flatten", &["x"], "f");
    let reversed = ["starts", "ends", "axes", "steps"];
    let constants = || {
        vec![
            weights("w", &[3, 3, 3]),
            weights("image", &[3, 4, 4]),
            ints("starts", &[-1]),
            ints("ends", &[-9]),
            ints("axes", &[2]),
            ints("steps", &[-1]),
            ints("shape", &[-1, 6, 8]),
            ints("batchwise", &[1, 0, 0, 0, 0, 0, 0, 0]),
        ]
    };
    let cases = [
        (pool().ints("pads", &[1, 1, 1, 1]), "count_include_pad"),
        (pool().int("ceil_mode", 1), "ceil_mode"),
        (node("Clip", &["x"], "y").float("min", -1.0).float("max", 1.0), "lower bound"),
        (node("Conv", &["x", "w"], "y"), "axes"),
        (node("Add", &["x", "image"], "y"), "per channel"),
        (node("Mul", &["x", "f"], "y"), "additions"),
        (node("Pow", &["x", "starts"], "y"), "exponent"),
        (node("Slice", &["x", reversed[0], reversed[1], reversed[2], reversed[3]], "y"), "step"),
        (node("Reshape", &["x", "shape"], "y"), "flattening"),
        (node("Pad", &["x", "batchwise"], "y"), "batch"),
        (node("Pad", &["x", "batchwise"], "y").string("mode", "reflect"), "reflect"),
        (node("Swish", &["x"], "y").float("alpha", 2.0), "parameters"),
        (node("Gelu", &["x"], "y").string("approximate", "cube"), "cube"),
        (node("Custom", &["x"], "y"), "not supported"),
        (node("Cast", &["x"], "y").int("to", 2), "type 2"),
        (node("Cast", &["x"], "y").int("to", 9), "type 9"),
        (pool().ints("dilations", &[2, 1]).ints("pads", &[1, 1, 1, 1]), "count_include_pad"),
        (pool().ints("kernel_shape", &[2, 2]).ints("dilations", &[0, 1]), "dilation"),
        (node("Relu", &["nowhere"], "y"), "nowhere"),
        (node("Transpose", &["x"], "y").ints("perm", &[0, 2, 3, 1]), "not supported"),
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
    assert!(field(import(&bytes(13, graph(&[1, 2], vec![], relu())))).contains("input"));
    assert!(field(import(&bytes(13, graph(&[1, 0, 2], vec![], relu())))).contains("input"));
    let mut two = graph(&[1, 2, 2], vec![], relu());
    two.output.push(two.output[0].clone());
    assert_eq!(field(import(&bytes(13, two))), "graph.output");
    for version in [24, 999, i64::MAX] {
        let message =
            import(&bytes(version, graph(&[1, 2, 2], vec![], relu()))).unwrap_err().to_string();
        assert!(
            message.contains("from 7 to 23") && message.contains(&version.to_string()),
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
