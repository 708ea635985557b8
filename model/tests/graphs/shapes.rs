//! Graphs that see values in other orders and shapes, several of them, and parts; onnxruntime says
//! what they mean.

use model::Model;
use model::onnx::proto::{NodeProto, TensorProto};

use super::{check_by_runtime, graph, ints, node, weights};

fn kinds(model: &Model) -> Vec<&'static str> {
    model.nodes.iter().map(|node| node.op.kind()).collect()
}

fn transpose(input: &str, output: &str, perm: &[i64]) -> NodeProto {
    node("Transpose", &[input], output).ints("perm", perm)
}

#[test]
fn channels_last_moves_once_at_the_input_and_never_before_a_dense_layer() {
    let constants = vec![weights("w", &[5, 3, 3, 2]), weights("fc", &[120, 4]), weights("b", &[5])];
    let nodes = vec![
        transpose("x", "t", &[0, 3, 1, 2]),
        node("Conv", &["t", "w"], "c").ints("pads", &[0, 0, 0, 0]),
        transpose("c", "back", &[0, 2, 3, 1]),
        node("Add", &["back", "b"], "biased"),
        node("Relu", &["biased"], "r"),
        node("Flatten", &["r"], "f"),
        node("MatMul", &["f", "fc"], "y"),
    ];
    let model = check_by_runtime(13, &graph(&[8, 5, 3], constants, nodes));
    assert_eq!(kinds(&model), ["reorder", "conv", "relu", "fc"]);
}

#[test]
fn means_and_dense_layers_over_axes_that_are_stored_elsewhere() {
    let constants = vec![weights("w", &[6, 4]), weights("fc", &[4, 3]), ints("axes", &[1, 2])];
    let dense = node("MatMul", &["x", "w"], "d");
    let mean = node("ReduceMean", &["d"], "m").ints("axes", &[1, 2]).int("keepdims", 0);
    let nodes = vec![dense, mean, node("MatMul", &["m", "fc"], "y")];
    check_by_runtime(13, &graph(&[5, 3, 6], constants, nodes));
}

#[test]
fn channels_are_shuffled_as_shufflenet_does() {
    let constants = vec![
        weights("w", &[6, 4, 1, 1]),
        weights("w2", &[2, 6, 1, 1]),
        ints("split", &[-1, 2, 3, 4, 5]),
        ints("join", &[-1, 6, 4, 5]),
    ];
    let nodes = vec![
        node("Conv", &["x", "w"], "c"),
        node("Reshape", &["c", "split"], "s"),
        transpose("s", "t", &[0, 2, 1, 3, 4]),
        node("Reshape", &["t", "join"], "j"),
        node("Conv", &["j", "w2"], "y"),
    ];
    let model = check_by_runtime(13, &graph(&[4, 4, 5], constants, nodes));
    assert_eq!(kinds(&model), ["conv", "reorder", "conv"]);
}

#[test]
fn reshapes_of_all_kinds_keep_every_element_in_its_place() {
    let constants = vec![
        ints("lines", &[0, 6, -1]),
        ints("across", &[-1, 8, 3, 2]),
        ints("axes", &[1, 4]),
        ints("image", &[-1, 4, 3, 4]),
        weights("w", &[2, 4, 2, 2]),
    ];
    let nodes = vec![
        node("Reshape", &["x", "lines"], "a"),
        transpose("a", "b", &[0, 2, 1]),
        node("Reshape", &["b", "across"], "c"),
        transpose("c", "d", &[0, 2, 3, 1]),
        node("Unsqueeze", &["d", "axes"], "e"),
        node("Squeeze", &["e", "axes"], "f"),
        node("Reshape", &["f", "image"], "g"),
        node("Conv", &["g", "w"], "y"),
    ];
    check_by_runtime(13, &graph(&[2, 3, 8], constants, nodes));
    // The output itself is out of order.
    let nodes = vec![node("Relu", &["x"], "r"), transpose("r", "y", &[0, 3, 1, 2])];
    check_by_runtime(13, &graph(&[2, 3, 4], vec![], nodes));
}

#[test]
fn values_are_joined_along_every_axis_and_split_again() {
    for axis in [1, 2, 3, -1] {
        let lengths = [2_i64, 4, 6];
        let halves = lengths[if axis < 0 { 2 } else { axis as usize - 1 }];
        let constants = vec![weights("w", &[2, 2, 1, 1]), ints("sizes", &[1, 2 * halves - 1])];
        let split = NodeProto::new("Split", "split", &["j", "sizes"], &["first", "rest"]);
        let nodes = vec![
            node("Conv", &["x", "w"], "c"),
            node("Relu", &["x"], "r"),
            node("Concat", &["c", "r"], "j").int("axis", axis),
            split.int("axis", axis),
            node("Concat", &["rest", "first"], "k").int("axis", axis),
            node("Relu", &["k"], "y"),
        ];
        check_by_runtime(13, &graph(&[2, 4, 6], constants, nodes));
    }
    let constants = vec![weights("w", &[12, 3]), weights("v", &[12, 2])];
    let nodes = vec![
        node("Flatten", &["x"], "f"),
        node("MatMul", &["f", "w"], "a"),
        node("MatMul", &["f", "v"], "b"),
        node("Concat", &["a", "f", "b"], "y").int("axis", 1),
    ];
    check_by_runtime(13, &graph(&[3, 2, 2], constants, nodes));
}

#[test]
fn what_is_joined_has_a_scale_of_its_own() {
    let bound = |name: &str, x: f32| TensorProto::floats(name, &[], &[x]);
    let constants = vec![bound("lo", 0.0), bound("hi", 0.75), weights("w", &[2, 2, 1, 1])];
    let nodes = vec![
        node("Conv", &["x", "w"], "c"),
        node("Clip", &["c", "lo", "hi"], "six"),
        node("AveragePool", &["six"], "a")
            .ints("kernel_shape", &[3, 3])
            .ints("pads", &[1; 4])
            .int("count_include_pad", 1),
        node("Concat", &["x", "six", "a"], "y").int("axis", 1),
    ];
    let model = check_by_runtime(13, &graph(&[2, 4, 4], constants, nodes));
    // Neither pixels nor what is cut off nor uneven averages are joined as they are.
    assert_eq!(kinds(&model)[3..], ["view", "view", "conv", "concat"]);
}

#[test]
fn lines_are_images_of_one_row() {
    let constants = vec![weights("w", &[6, 3, 4]), weights("b", &[6]), weights("fc", &[6, 2])];
    let nodes = vec![
        node("Conv", &["x", "w", "b"], "c")
            .ints("strides", &[2])
            .ints("pads", &[2, 1])
            .ints("dilations", &[2]),
        node("Relu", &["c"], "r"),
        node("MaxPool", &["r"], "m").ints("kernel_shape", &[2]).ints("strides", &[2]),
        node("GlobalAveragePool", &["m"], "g"),
        node("Flatten", &["g"], "f"),
        node("MatMul", &["f", "fc"], "y"),
    ];
    let model = check_by_runtime(13, &graph(&[3, 19], constants, nodes));
    assert_eq!(model.input, [3, 1, 19]);
}

#[test]
fn gray_images_get_their_axis_of_channels_in_the_graph() {
    let constants = vec![ints("axis", &[1]), weights("w", &[2, 1, 3, 3])];
    let nodes = vec![node("Unsqueeze", &["x", "axis"], "u"), node("Conv", &["u", "w"], "y")];
    let model = check_by_runtime(13, &graph(&[6, 7], constants, nodes));
    assert_eq!((model.input, kinds(&model)), ([1, 6, 7], vec!["conv"]));
}

#[test]
fn averages_count_what_is_inside() {
    for (pads, ceil) in [([1, 1, 1, 1], 0), ([0, 1, 1, 0], 0), ([0, 0, 0, 0], 1), ([1, 0, 0, 1], 1)]
    {
        for include in [0, 1] {
            let pool = node("AveragePool", &["x"], "y")
                .ints("kernel_shape", &[3, 2])
                .ints("strides", &[2, 2])
                .ints("pads", &pads)
                .int("ceil_mode", ceil)
                .int("count_include_pad", include);
            check_by_runtime(19, &graph(&[2, 6, 7], vec![], vec![pool]));
        }
    }
}

#[test]
fn sums_differences_and_means_of_values() {
    let constants = vec![weights("w", &[3, 3, 1, 1]), weights("image", &[3, 4, 5])];
    let nodes = vec![
        node("Conv", &["x", "w"], "c"),
        node("Sub", &["x", "c"], "d"),
        node("Neg", &["d"], "n"),
        node("Sum", &["n", "c", "image", "x"], "s"),
        node("Mean", &["s", "x", "d"], "m"),
        node("Mul", &["m", "image"], "y"),
    ];
    check_by_runtime(13, &graph(&[3, 4, 5], constants, nodes));
    let shuffled = vec![
        transpose("x", "t", &[0, 1, 3, 2]),
        node("Relu", &["x"], "r"),
        node("Add", &["t", "r"], "y"),
    ];
    check_by_runtime(13, &graph(&[3, 4, 4], vec![], shuffled));
}

#[test]
fn activations_with_slopes_and_limits() {
    let scalar = |name: &str, x: f32| TensorProto::floats(name, &[], &[x]);
    let slopes = TensorProto::floats("slopes", &[3, 1, 1], &[0.25, -0.5, 2.0]);
    let constants =
        || vec![slopes.clone(), scalar("slope", 0.25), scalar("low", -0.5), scalar("high", 0.25)];
    for last in [
        node("PRelu", &["x", "slopes"], "y"),
        node("PRelu", &["x", "slope"], "y"),
        node("Clip", &["x", "low", "high"], "y"),
        node("Clip", &["x", "low"], "y"),
        node("Clip", &["x", "", "high"], "y"),
        node("Max", &["low", "x"], "y"),
        node("Min", &["x", "high"], "y"),
    ] {
        let model = check_by_runtime(13, &graph(&[3, 4, 5], constants(), vec![last]));
        assert!(!model.nodes.is_empty());
    }
}

#[test]
fn one_element_along_an_axis() {
    for (axis, index) in [(1, 2), (2, -1), (3, 0)] {
        let index = TensorProto::ints("i", &[], &[index]);
        let gather = node("Gather", &["x", "i"], "y").int("axis", axis);
        check_by_runtime(13, &graph(&[3, 4, 5], vec![index], vec![gather]));
    }
}

#[test]
fn weights_are_computed_from_constants() {
    let constants = vec![
        weights("half", &[2, 3, 3, 3]),
        weights("scale", &[4, 1, 1, 1]),
        ints("ones", &[4, 3, 3, 3]),
        TensorProto::floats("bias", &[2], &[0.5, -1.0]),
        ints("twice", &[2]),
    ];
    let nodes = vec![
        node("Concat", &["half", "half"], "both").int("axis", 0),
        node("Expand", &["scale", "ones"], "wide"),
        node("Mul", &["both", "wide"], "product"),
        node("Sub", &["product", "scale"], "w"),
        node("Tile", &["bias", "twice"], "b"),
        node("Conv", &["x", "w", "b"], "y"),
    ];
    check_by_runtime(13, &graph(&[3, 6, 6], constants, nodes));
}

#[test]
fn shapes_are_computed_as_tensorflow_and_pytorch_do() {
    let constants = vec![
        TensorProto::ints("zero", &[], &[0]),
        ints("from", &[0]),
        ints("one", &[1]),
        ints("four", &[4]),
        ints("minus", &[-1]),
        weights("fc", &[48, 3]),
    ];
    let nodes = vec![
        node("Shape", &["x"], "s"),
        node("Gather", &["s", "zero"], "n").int("axis", 0),
        node("Unsqueeze", &["n", "from"], "first"),
        node("Cast", &["s"], "narrow").int("to", 6),
        node("Slice", &["narrow", "one", "four"], "rest"),
        node("Cast", &["rest"], "long").int("to", 7),
        node("ReduceProd", &["long"], "product").ints("axes", &[0]).int("keepdims", 1),
        node("Concat", &["first", "product"], "target").int("axis", 0),
        node("Reshape", &["x", "target"], "f"),
        node("MatMul", &["f", "fc"], "y"),
    ];
    check_by_runtime(13, &graph(&[3, 4, 4], constants, nodes));
}
