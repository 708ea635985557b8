//! Activations other than ReLU, in all forms that exporters write them in.

use model::onnx::export;
use model::onnx::proto::{NodeProto, TensorProto};
use model::{Op, import};

use super::{bytes, check, check_by_runtime, graph, node};

fn scalar(name: &str, value: f32) -> TensorProto {
    TensorProto::floats(name, &[], &[value])
}

fn kinds(opset: i64, constants: Vec<TensorProto>, nodes: Vec<NodeProto>) -> Vec<&'static str> {
    let model = check(opset, &graph(&[2, 5, 5], constants, nodes));
    model.nodes.iter().map(|node| node.op.kind()).collect()
}

#[test]
fn functions_of_one_node() {
    for (opset, function, kind) in [
        (13, node("Sigmoid", &["x"], "y"), "sigmoid"),
        (13, node("Tanh", &["x"], "y"), "tanh"),
        (13, node("Softplus", &["x"], "y"), "softplus"),
        (13, node("HardSigmoid", &["x"], "y"), "hard-sigmoid"),
        (
            13,
            node("HardSigmoid", &["x"], "y").float("alpha", 0.9).float("beta", 0.4),
            "hard-sigmoid",
        ),
        (14, node("HardSwish", &["x"], "y"), "hard-swish"),
        (13, node("LeakyRelu", &["x"], "y"), "leaky-relu"),
        (13, node("LeakyRelu", &["x"], "y").float("alpha", 0.3), "leaky-relu"),
        (13, node("Elu", &["x"], "y").float("alpha", 1.5), "elu"),
        (20, node("Gelu", &["x"], "y"), "gelu"),
        (20, node("Gelu", &["x"], "y").string("approximate", "tanh"), "gelu"),
    ] {
        assert_eq!(kinds(opset, vec![], vec![function]), [kind]);
    }
}

#[test]
fn a_value_times_itself_is_its_square() {
    assert_eq!(kinds(13, vec![], vec![node("Mul", &["x", "x"], "y")]), ["square"]);
    assert_eq!(
        kinds(13, vec![scalar("two", 2.0)], vec![node("Pow", &["x", "two"], "y")]),
        ["square"]
    );
}

#[test]
fn a_value_times_its_gate_is_one_function() {
    for operands in [["x", "g"], ["g", "x"]] {
        let silu = vec![node("Sigmoid", &["x"], "g"), node("Mul", &operands, "y")];
        assert_eq!(kinds(13, vec![], silu), ["silu"]);
        let gate = node("HardSigmoid", &["x"], "g").float("alpha", 1.0 / 6.0);
        assert_eq!(kinds(13, vec![], vec![gate, node("Mul", &operands, "y")]), ["hard-swish"]);
    }
    // A gate that is no sixth of its input, and one that another node reads.
    let other = vec![node("HardSigmoid", &["x"], "g"), node("Mul", &["x", "g"], "y")];
    assert_eq!(kinds(13, vec![], other), ["hard-sigmoid", "mul"]);
    let read = vec![
        node("Sigmoid", &["x"], "g"),
        node("Mul", &["x", "g"], "m"),
        node("Add", &["m", "g"], "y"),
    ];
    assert_eq!(kinds(13, vec![], read), ["sigmoid", "mul", "add"]);
}

#[test]
fn the_error_functions_gelu_is_one_function_in_any_order() {
    let constants = || {
        vec![
            scalar("root", 1.4145),
            scalar("inverse", 0.7073),
            scalar("one", 1.0),
            scalar("half", 0.5),
        ]
    };
    let scaled = [
        node("Div", &["x", "root"], "s"),
        node("Mul", &["x", "inverse"], "s"),
        node("Mul", &["inverse", "x"], "s"),
    ];
    let products = [
        [node("Mul", &["x", "a"], "m"), node("Mul", &["m", "half"], "y")],
        [node("Mul", &["a", "x"], "m"), node("Mul", &["half", "m"], "y")],
        [node("Mul", &["x", "half"], "m"), node("Mul", &["m", "a"], "y")],
        [node("Mul", &["half", "a"], "m"), node("Mul", &["x", "m"], "y")],
    ];
    for scale in &scaled {
        for [inner, outer] in &products {
            let middle = [node("Erf", &["s"], "e"), node("Add", &["e", "one"], "a")];
            let nodes =
                [vec![scale.clone()], middle.to_vec(), vec![inner.clone(), outer.clone()]].concat();
            let model = import(&bytes(13, graph(&[2, 5, 5], constants(), nodes))).unwrap();
            assert!(
                matches!(model.nodes[..], [ref only] if matches!(only.op, Op::Function(_))),
                "{model:?}"
            );
        }
    }
    // Judged, with constants to all digits.
    let exact =
        vec![scalar("root", std::f32::consts::SQRT_2), scalar("one", 1.0), scalar("half", 0.5)];
    let nodes = vec![
        scaled[0].clone(),
        node("Erf", &["s"], "e"),
        node("Add", &["e", "one"], "a"),
        products[0][0].clone(),
        products[0][1].clone(),
    ];
    assert_eq!(kinds(13, exact, nodes.clone()), ["gelu"]);
    // Something else than a half is no GELU: its nodes are named.
    let twice =
        vec![scalar("root", std::f32::consts::SQRT_2), scalar("one", 1.0), scalar("half", 2.0)];
    assert!(import(&bytes(13, graph(&[2, 5, 5], twice, nodes))).is_err());
}

#[test]
fn slopes_of_0_and_1_are_relus_of_some_elements() {
    let slopes = |dims: &[i64], of: &[f32]| {
        let elements: usize = dims.iter().map(|&n| n as usize).product();
        let values: Vec<f32> = (0..elements).map(|at| of[at * 7 % of.len()]).collect();
        TensorProto::floats("slopes", dims, &values)
    };
    let prelu = || vec![node("PRelu", &["x", "slopes"], "y")];
    for (dims, kind) in [(&[3, 4, 5][..], "element"), (&[3, 1, 1], "channel"), (&[4, 1], "row")] {
        let model =
            check_by_runtime(13, &graph(&[3, 4, 5], vec![slopes(dims, &[0.0, 1.0])], prelu()));
        let Op::PartRelu(mask) = &model.nodes[0].op else { panic!("{kind}: {model:?}") };
        assert!((1..mask.len()).contains(&mask.count()), "{kind}: {mask:?}");
        assert_eq!(import(&export(&model)).unwrap(), model, "{kind}");
    }
    // Of an image that the graph sees with its channels last.
    let nodes = vec![
        node("Transpose", &["x"], "t").ints("perm", &[0, 2, 3, 1]),
        node("PRelu", &["t", "slopes"], "y"),
    ];
    check_by_runtime(13, &graph(&[3, 4, 5], vec![slopes(&[4, 5, 3], &[1.0, 0.0, 0.0])], nodes));
    let model = check_by_runtime(13, &graph(&[3, 4, 5], vec![slopes(&[3, 1, 1], &[0.0])], prelu()));
    assert_eq!(model.nodes[0].op, Op::Relu { max: None });
    let nodes = vec![node("Relu", &["x"], "r"), node("PRelu", &["r", "slopes"], "y")];
    let model = check_by_runtime(13, &graph(&[3, 4, 5], vec![slopes(&[1], &[1.0])], nodes));
    assert!(model.nodes.len() == 1, "{model:?}");
}
