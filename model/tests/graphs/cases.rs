//! One property of import a test.

use model::Op;
use model::onnx::proto::{GraphProto, NodeProto, TensorProto};
use model::{float, import};

use super::{assert_close, batch, bytes, check, check_model, graph, ints, node, weights};

fn kinds(model: &model::Model) -> Vec<&'static str> {
    model.nodes.iter().map(|node| node.op.kind()).collect()
}

#[test]
fn convolutions_of_every_geometry() {
    let conv = |output| node("Conv", &["x", "w", "b"], output);
    let constants = |dims: &[i64]| vec![weights("w", dims), weights("b", &dims[..1])];
    let asymmetric = conv("y").ints("pads", &[0, 0, 1, 1]).ints("strides", &[2, 2]);
    check(13, &graph(&[3, 8, 8], constants(&[4, 3, 3, 3]), vec![asymmetric]));
    let odd =
        conv("y").ints("pads", &[3, 0, 1, 2]).ints("strides", &[1, 3]).ints("dilations", &[2, 1]);
    check(13, &graph(&[2, 7, 9], constants(&[3, 2, 3, 2]), vec![odd]));
    let grouped =
        conv("y").int("group", 2).ints("pads", &[1, 1, 1, 1]).ints("kernel_shape", &[3, 3]);
    check(13, &graph(&[4, 5, 6], constants(&[6, 2, 3, 3]), vec![grouped]));
    let depthwise = conv("y").int("group", 4).ints("strides", &[2, 1]);
    check(13, &graph(&[4, 5, 6], constants(&[4, 1, 3, 3]), vec![depthwise]));
    check(
        13,
        &graph(&[5, 4, 4], constants(&[2, 5, 1, 1]), vec![conv("y").ints("strides", &[2, 2])]),
    );
}

#[test]
fn automatic_padding() {
    for auto in ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"] {
        for stride in [1, 2, 3] {
            let conv = node("Conv", &["x", "w"], "c")
                .string("auto_pad", auto)
                .ints("strides", &[stride; 2]);
            let pool = node("MaxPool", &["c"], "y")
                .ints("kernel_shape", &[2, 2])
                .string("auto_pad", auto)
                .ints("strides", &[1, 1]);
            check(13, &graph(&[2, 10, 9], vec![weights("w", &[3, 2, 3, 4])], vec![conv, pool]));
        }
    }
}

fn norm(channels: i64) -> Vec<TensorProto> {
    let variance: Vec<f32> = (0..channels).map(|c| 0.5 + c as f32).collect();
    let mut parts = ["gamma", "beta", "mean"].map(|name| weights(name, &[channels])).to_vec();
    parts.push(TensorProto::floats("var", &[channels], &variance));
    parts
}

fn norm_node(input: &str, output: &str) -> NodeProto {
    node("BatchNormalization", &[input, "gamma", "beta", "mean", "var"], output)
        .float("epsilon", 1e-3)
}

#[test]
fn batch_normalization_is_folded_into_the_layer_before_it() {
    let constants = || [vec![weights("w", &[4, 3, 3, 3])], norm(4)].concat();
    let conv = || node("Conv", &["x", "w"], "c");
    let folded = check(13, &graph(&[3, 5, 5], constants(), vec![conv(), norm_node("c", "y")]));
    assert_eq!(kinds(&folded), ["conv"]);
    // The convolution's own result is used, too: it must not be changed.
    let add = node("Add", &["n", "c"], "y");
    let kept = check(13, &graph(&[3, 5, 5], constants(), vec![conv(), norm_node("c", "n"), add]));
    assert_eq!(kinds(&kept), ["conv", "conv", "add"]);
    let first = check(
        13,
        &graph(
            &[4, 5, 5],
            [vec![weights("w", &[2, 4, 3, 3])], norm(4)].concat(),
            vec![norm_node("x", "n"), node("Conv", &["n", "w"], "y").ints("pads", &[1, 1, 1, 1])],
        ),
    );
    assert_eq!(kinds(&first), ["conv", "conv"]);
    let flat = vec![
        node("Flatten", &["x"], "f"),
        node("Gemm", &["f", "w"], "g"),
        norm_node("g", "n"),
        node("Relu", &["n"], "y"),
    ];
    let fc = check(13, &graph(&[3, 2, 2], [vec![weights("w", &[12, 4])], norm(4)].concat(), flat));
    assert_eq!(kinds(&fc), ["fc", "relu"]);
}

#[test]
fn a_value_that_a_view_left_as_it_was_is_not_changed_by_folding() {
    // Pad and crop cancel, so that the normalized value is the convolution's own, which is added,
    // too.
    let constants = [
        vec![
            weights("w", &[4, 3, 1, 1]),
            ints("out", &[0, 0, 1, 1, 0, 0, 1, 1]),
            ints("in", &[0, 0, -1, -1, 0, 0, -1, -1]),
        ],
        norm(4),
    ];
    let nodes = vec![
        node("Conv", &["x", "w"], "c"),
        node("Pad", &["c", "out"], "o"),
        node("Pad", &["o", "in"], "i"),
        norm_node("i", "n"),
        node("Add", &["n", "c"], "y"),
    ];
    let model = check(13, &graph(&[3, 4, 4], constants.concat(), nodes));
    assert_eq!(kinds(&model), ["conv", "conv", "add"]);
}

#[test]
fn clip_in_all_its_forms() {
    let scalar = |name: &str, x: f32| TensorProto::floats(name, &[], &[x]);
    let bounds = || vec![scalar("lo", 0.0), scalar("hi", 0.5)];
    let model =
        check(13, &graph(&[2, 3, 3], bounds(), vec![node("Clip", &["x", "lo", "hi"], "y")]));
    assert_eq!(model.nodes[0].op, Op::Relu { max: Some(0.5) });
    let model = check(13, &graph(&[2, 3, 3], bounds(), vec![node("Clip", &["x", "lo"], "y")]));
    assert_eq!(model.nodes[0].op, Op::Relu { max: None });
    let attributes = node("Clip", &["x"], "y").float("min", 0.0).float("max", 0.25);
    let model = check(10, &graph(&[2, 3, 3], vec![], vec![attributes]));
    assert_eq!(model.nodes[0].op, Op::Relu { max: Some(0.25) });
}

#[test]
fn slices_and_pads_become_one_view() {
    let constants = || {
        vec![
            ints("starts", &[1, -7]),
            ints("ends", &[i64::MAX, -1]),
            ints("axes", &[2, -1]),
            ints("steps", &[2, 3]),
            ints("pads", &[0, 1, 0, 2, 0, 3, 1, 0]),
            ints("crop", &[0, -1, 0, 0, 0, 0, -1, -1]),
        ]
    };
    let nodes = || {
        vec![
            node("Slice", &["x", "starts", "ends", "axes", "steps"], "s"),
            node("Pad", &["s", "pads"], "p").string("mode", "constant"),
            node("Pad", &["p", "crop"], "y"),
        ]
    };
    let model = check(13, &graph(&[2, 6, 8], constants(), nodes()));
    assert_eq!(kinds(&model), ["view"]);
}

#[test]
fn a_convolution_takes_over_the_padding_of_its_input() {
    let pads = ints("pads", &[0, 0, 1, 0, 0, 0, 2, 3]);
    let conv = |input| {
        node("Conv", &[input, "w"], "y").ints("strides", &[2, 2]).ints("pads", &[1, 0, 0, 0])
    };
    let nodes = vec![node("Pad", &["x", "pads"], "p"), conv("p")];
    let model = check(13, &graph(&[2, 6, 8], vec![pads, weights("w", &[3, 2, 3, 3])], nodes));
    assert_eq!(kinds(&model), ["conv"]);
}

#[test]
fn pooling_with_padding_and_ceil_mode() {
    let average = node("AveragePool", &["x"], "y")
        .ints("kernel_shape", &[3, 2])
        .ints("pads", &[1, 0, 2, 1])
        .ints("strides", &[2, 2])
        .int("count_include_pad", 1);
    check(13, &graph(&[2, 7, 8], vec![], vec![average]));
    for size in 5..9 {
        for (pads, stride) in [([0; 4], 2), ([1; 4], 2), ([1; 4], 3), ([0, 0, 1, 1], 2)] {
            let max = node("MaxPool", &["x"], "y")
                .ints("kernel_shape", &[3, 3])
                .ints("pads", &pads)
                .ints("strides", &[stride; 2])
                .int("ceil_mode", 1);
            check(13, &graph(&[2, size, 7], vec![], vec![max]));
        }
    }
}

#[test]
fn averages_of_elements_that_are_apart() {
    let average = |kernel: &[i64], apart: &[i64]| {
        node("AveragePool", &["x"], "y").ints("kernel_shape", kernel).ints("dilations", apart)
    };
    for (pool, kind) in [
        (average(&[2, 3], &[3, 2]).ints("strides", &[1, 2]), "conv"),
        (average(&[3, 2], &[2, 4]).ints("pads", &[2, 1, 1, 1]).int("count_include_pad", 1), "conv"),
        (average(&[2, 2], &[4, 1]).string("auto_pad", "VALID"), "conv"),
        (average(&[2, 2], &[1, 1]), "avg-pool"),
    ] {
        assert_eq!(kinds(&check(19, &graph(&[3, 9, 8], vec![], vec![pool]))), [kind]);
    }
}

#[test]
fn casts_to_integers_lose_the_fraction_and_others_nothing() {
    let scaled = || node("Mul", &["x", "five"], "m");
    let constants = || vec![TensorProto::floats("five", &[], &[5.0])];
    for (there, back, expected) in
        [(6, 1, vec!["conv", "truncate"]), (7, 11, vec!["conv", "truncate"]), (10, 1, vec!["conv"])]
    {
        let there = node("Cast", &["m"], "i").int("to", there);
        let back = node("Cast", &["i"], "y").int("to", back);
        let nodes = vec![scaled(), there, back];
        let model = import(&bytes(13, graph(&[2, 3, 4], constants(), nodes))).unwrap();
        assert_eq!(kinds(&model), expected);
    }
    let nodes = vec![
        scaled(),
        node("Cast", &["m"], "i").int("to", 6),
        node("Cast", &["i"], "y").int("to", 1),
    ];
    check(13, &graph(&[2, 3, 4], constants(), nodes));
}

#[test]
fn global_means_of_every_spelling() {
    let gemm = |input| node("Gemm", &[input, "w"], "y");
    let constants = || vec![weights("w", &[3, 5])];
    let flatten = || node("Flatten", &["m"], "f");
    let mean = |axes: &[i64], keep| {
        node("ReduceMean", &["x"], "m").ints("axes", axes).int("keepdims", keep)
    };
    check(13, &graph(&[3, 4, 5], constants(), vec![mean(&[2, 3], 0), gemm("m")]));
    check(13, &graph(&[3, 4, 5], constants(), vec![mean(&[-1, -2], 1), flatten(), gemm("f")]));
    let pool = node("GlobalAveragePool", &["x"], "m");
    let model = check(13, &graph(&[3, 4, 5], constants(), vec![pool, flatten(), gemm("f")]));
    assert_eq!(kinds(&model), ["avg-pool", "fc"]);
}

#[test]
fn fully_connected_layers_after_flattening_keep_the_order_of_elements() {
    let constants = || {
        vec![
            weights("w", &[24, 5]),
            weights("b", &[5]),
            weights("v", &[6, 5]),
            weights("c", &[1, 6]),
        ]
    };
    let nodes = vec![
        node("Flatten", &["x"], "f").int("axis", 1),
        node("Relu", &["f"], "r"),
        node("MatMul", &["r", "w"], "m"),
        node("Add", &["b", "m"], "a"),
        node("Gemm", &["a", "v", "c"], "y").int("transB", 1).float("alpha", 0.5).float("beta", 2.0),
    ];
    let model = check(13, &graph(&[2, 3, 4], constants(), nodes));
    assert_eq!(kinds(&model), ["relu", "fc", "fc"]);
    assert_eq!(model.parameters(), 24 * 5 + 5 + 5 * 6 + 6);
    check(13, &graph(&[24], constants(), vec![node("Gemm", &["x", "w", "b"], "y")]));
}

#[test]
fn constants_per_channel_fold() {
    let per_channel = weights("c", &[3, 1, 1]);
    let one = TensorProto::floats("s", &[], &[0.5]);
    let nodes = vec![
        node("Sub", &["x", "c"], "a"),
        node("Div", &["a", "s"], "b"),
        node("Conv", &["b", "w"], "d"),
        node("Mul", &["d", "s"], "e"),
        node("Add", &["e", "c"], "f"),
        node("Sub", &["s", "f"], "g"),
        node("Add", &["g", "g"], "y"),
    ];
    let model =
        check(13, &graph(&[3, 4, 4], vec![per_channel, one, weights("w", &[3, 3, 1, 1])], nodes));
    assert_eq!(kinds(&model), ["conv", "conv", "add"]);
}

/// Two graphs that must be the same network; the first is what the reference understands.
fn check_same(opset: i64, plain: &GraphProto, written: GraphProto) {
    let plain = check(opset, plain);
    let bytes = bytes(opset, written);
    let model = import(&bytes).unwrap_or_else(|error| panic!("{error}"));
    let batch = batch(&model, 3);
    let logits = float::evaluate(&model, &batch).unwrap();
    assert_close("plain form", &logits.data, &float::evaluate(&plain, &batch).unwrap().data);
    check_model(&model, &batch, &logits, &bytes);
}

#[test]
fn the_view_of_x_size_0_is_a_flatten() {
    let gemm = |input| node("Gemm", &[input, "w"], "y");
    let scalar = |name: &str, i| TensorProto::ints(name, &[], &[i]);
    let plain = graph(
        &[2, 3, 4],
        vec![weights("w", &[24, 5])],
        vec![node("Flatten", &["x"], "f"), gemm("f")],
    );
    let constants =
        vec![weights("w", &[24, 5]), scalar("zero", 0), ints("axes", &[0]), ints("rest", &[-1])];
    let nodes = vec![
        node("Shape", &["x"], "shape"),
        node("Gather", &["shape", "zero"], "n").int("axis", 0),
        node("Unsqueeze", &["n", "axes"], "n1"),
        node("Concat", &["n1", "rest"], "target").int("axis", 0),
        node("Reshape", &["x", "target"], "f"),
        gemm("f"),
    ];
    check_same(13, &plain, graph(&[2, 3, 4], constants, nodes));
    let constant =
        node("Constant", &[], "target").tensor("value", TensorProto::ints("", &[2], &[-1, 24]));
    let nodes = vec![constant, node("Reshape", &["x", "target"], "f"), gemm("f")];
    check_same(13, &plain, graph(&[2, 3, 4], vec![weights("w", &[24, 5])], nodes));
}

#[test]
fn padding_as_pytorch_exports_it_is_computed() {
    // F.pad(x, (0, 0, 0, 0, 2, 1)): the pairs of the last axes first, extended by zeros, reversed
    // and transposed.
    let plain = graph(
        &[2, 3, 4],
        vec![ints("pads", &[0, 2, 0, 0, 0, 1, 0, 0])],
        vec![node("Pad", &["x", "pads"], "y")],
    );
    let constants = vec![
        ints("pairs", &[0, 0, 0, 0, 2, 1]),
        TensorProto::ints("rank", &[], &[4]),
        TensorProto::ints("two", &[], &[2]),
        ints("first", &[0]),
        ints("shape", &[-1, 2]),
        ints("minus", &[-1]),
        ints("far", &[-i64::MAX]),
        TensorProto::floats("zero", &[], &[0.0]),
    ];
    let nodes = vec![
        node("Shape", &["pairs"], "len1"),
        node("Gather", &["len1", "first"], "len").int("axis", 0),
        node("Mul", &["rank", "two"], "full"),
        node("Sub", &["full", "len"], "missing"),
        node("ConstantOfShape", &["missing"], "zeros")
            .tensor("value", TensorProto::ints("", &[1], &[0])),
        node("Concat", &["pairs", "zeros"], "all").int("axis", 0),
        node("Reshape", &["all", "shape"], "table"),
        node("Slice", &["table", "minus", "far", "first", "minus"], "reversed"),
        node("Transpose", &["reversed"], "columns").ints("perm", &[1, 0]),
        node("Reshape", &["columns", "minus"], "flat"),
        node("Cast", &["flat"], "pads").int("to", 7),
        node("Pad", &["x", "pads", "zero"], "y").string("mode", "constant"),
    ];
    check_same(13, &plain, graph(&[2, 3, 4], constants, nodes));
}

#[test]
fn identities_vanish() {
    let constants = || vec![weights("w", &[2, 3, 1, 1])];
    let nodes = vec![
        node("Identity", &["x"], "i"),
        node("Dropout", &["i"], "d"),
        node("Identity", &["w"], "w2"),
        node("Conv", &["d", "w2"], "c"),
        node("Identity", &["c"], "y"),
    ];
    let model = check(13, &graph(&[3, 2, 2], constants(), nodes));
    assert_eq!(kinds(&model), ["conv"]);
}

#[test]
fn weights_of_every_float_type() {
    let values = [0.5_f32, -1.25, 3.0, 0.0078125];
    let as_f16 = |x: f32| half::f16::from_f32(x).to_bits();
    let as_bf16 = |x: f32| half::bf16::from_f32(x).to_bits();
    let tensor = |data_type| TensorProto {
        dims: vec![1, 4, 1, 1],
        data_type,
        name: "w".into(),
        ..Default::default()
    };
    let typed = |bits: fn(f32) -> u16| values.iter().map(|&x| bits(x).into()).collect();
    let raw = |bits: fn(f32) -> u16| values.iter().flat_map(|&x| bits(x).to_le_bytes()).collect();
    let tensors = [
        TensorProto { float_data: values.to_vec(), ..tensor(1) },
        TensorProto { double_data: values.map(f64::from).to_vec(), ..tensor(11) },
        TensorProto {
            raw_data: values.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect(),
            ..tensor(11)
        },
        TensorProto { int32_data: typed(as_f16), ..tensor(10) },
        TensorProto { raw_data: raw(as_f16), ..tensor(10) },
        TensorProto { int32_data: typed(as_bf16), ..tensor(16) },
        TensorProto { raw_data: raw(as_bf16), ..tensor(16) },
    ];
    for tensor in tensors {
        let model = import(&bytes(
            13,
            graph(&[4, 2, 2], vec![tensor], vec![node("Conv", &["x", "w"], "y")]),
        ))
        .unwrap();
        let (_, conv) = model.layers().next().unwrap();
        assert_eq!(conv.weight, values);
    }
}

#[test]
fn names_are_unique_and_unnamed_nodes_get_their_outputs_name() {
    let mut nodes =
        vec![node("Relu", &["x"], "a"), node("Relu", &["a"], "b"), node("Relu", &["b"], "c")];
    nodes.push(node("Relu", &["c"], "d"));
    nodes[0].name = "r".into();
    nodes[1].name = "r".into();
    nodes[2].name = String::new();
    // A plan's own step has this name.
    nodes[3].name = "correlations".into();
    let model = import(&bytes(13, graph(&[1, 2, 2], vec![], nodes))).unwrap();
    let names: Vec<&str> = model.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["r", "r.2", "c", "correlations.2"]);
}

#[test]
fn a_fixed_batch_is_no_obstacle() {
    let constants = vec![weights("w", &[24, 5]), ints("target", &[1, 24])];
    let nodes = vec![node("Reshape", &["x", "target"], "f"), node("Gemm", &["f", "w"], "y")];
    let mut written = graph(&[2, 3, 4], constants, nodes);
    for tensor in written.input[0].r#type.iter_mut().flat_map(|t| &mut t.tensor_type) {
        let batch = &mut tensor.shape.as_mut().unwrap().dim[0];
        (batch.dim_value, batch.dim_param) = (Some(1), None);
    }
    let nodes = vec![node("Flatten", &["x"], "f"), node("Gemm", &["f", "w"], "y")];
    check_same(13, &graph(&[2, 3, 4], vec![weights("w", &[24, 5])], nodes), written);
}

#[test]
fn later_operator_sets_give_axes_as_inputs() {
    let plain = node("ReduceMean", &["x"], "m").ints("axes", &[2, 3]).int("keepdims", 1);
    let squeezed = vec![
        node("ReduceMean", &["x", "axes"], "m").int("keepdims", 1),
        node("Squeeze", &["m", "axes"], "s"),
        node("Unsqueeze", &["s", "axes"], "y"),
    ];
    let constants = vec![ints("axes", &[2, 3])];
    check(13, &graph(&[3, 4, 5], vec![], vec![plain.clone()]));
    let bytes = bytes(18, graph(&[3, 4, 5], constants, squeezed));
    let model = import(&bytes).unwrap();
    let batch = batch(&model, 2);
    check_model(&model, &batch, &float::evaluate(&model, &batch).unwrap(), &bytes);
}
