//! What makes images larger: transposed convolutions, repeated elements, and pooling to more pixels
//! than there are. onnxruntime says what it means.

use model::onnx::proto::{GraphProto, NodeProto, TensorProto};
use model::onnx::survey;
use proptest::prelude::*;

use super::{bytes, check_by_runtime, graph, ints, node, weights};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn transposed_convolutions_equal_the_reference(
        (groups, per_group, outputs) in (1..3_i64, 1..4_i64, 1..4_i64),
        size in [2..6_usize, 2..6_usize],
        kernel in [1..5_i64, 1..5_i64],
        strides in [1..4_i64, 1..4_i64],
        dilations in [1..3_i64, 1..3_i64],
        pads in [0..3_i64, 0..3_i64, 0..3_i64, 0..3_i64],
        more in [0..3_i64, 0..3_i64],
    ) {
        let more = [0, 1].map(|axis| more[axis].min(strides[axis] - 1));
        let length = |axis: usize| {
            strides[axis] * (size[axis] as i64 - 1) + more[axis] + 1
                + (kernel[axis] - 1) * dilations[axis]
                - pads[axis]
                - pads[axis + 2]
        };
        prop_assume!(length(0) > 0 && length(1) > 0);
        let conv = node("ConvTranspose", &["x", "w", "b"], "y")
            .int("group", groups)
            .ints("strides", &strides)
            .ints("dilations", &dilations)
            .ints("output_padding", &more)
            .ints("pads", &pads);
        let dims = [groups * per_group, outputs, kernel[0], kernel[1]];
        let constants = vec![weights("w", &dims), weights("b", &[groups * outputs])];
        let [h, w] = size;
        check_by_runtime(13, &graph(&[dims[0] as usize, h, w], constants, vec![conv]));
    }

    #[test]
    fn any_indices_are_gathered(
        axis in 1..4_i64,
        base in prop::collection::vec(-3..3_i64, 1..6),
        times in 1..4_usize,
    ) {
        let places: Vec<i64> = base.iter().flat_map(|&at| vec![at; times]).collect();
        let dims = [base.len() as i64, times as i64];
        for dims in [&dims[..], &[places.len() as i64]] {
            let constants = vec![TensorProto::ints("i", dims, &places)];
            let nodes = vec![
                node("Gather", &["x", "i"], "g").int("axis", axis),
                node("Flatten", &["g"], "y"),
            ];
            check_by_runtime(13, &graph(&[3, 3, 3], constants, nodes));
        }
    }

    #[test]
    fn windows_of_several_sizes_are_pooled(
        size in [1..5_usize, 1..5_usize], wanted in [1..8_usize, 1..8_usize],
    ) {
        let (constants, nodes) = adaptive(size, wanted);
        let [h, w] = size;
        let model = check_by_runtime(18, &graph(&[3, h, w], constants, nodes));
        let shape = model.shape(model.output);
        prop_assert_eq!(shape, [3, wanted[0], wanted[1]]);
    }
}

/// Adaptive average pooling as PyTorch's exporter writes it.
fn adaptive(size: [usize; 2], wanted: [usize; 2]) -> (Vec<TensorProto>, Vec<NodeProto>) {
    let windows: [Vec<Vec<usize>>; 2] = [0, 1].map(|axis| {
        let (from, to) = (size[axis], wanted[axis]);
        (0..to).map(|i| (i * from / to..((i + 1) * from).div_ceil(to)).collect()).collect()
    });
    let taps = [0, 1].map(|axis| windows[axis].iter().map(Vec::len).max().unwrap());
    let place =
        |axis: usize, at: usize, tap: usize| (windows[axis][at][0] + tap).min(size[axis] - 1);
    let mut places = Vec::new();
    for (y, a) in (0..wanted[0]).flat_map(|y| (0..taps[0]).map(move |a| (y, a))) {
        for (x, b) in (0..wanted[1]).flat_map(|x| (0..taps[1]).map(move |b| (x, b))) {
            places.extend([place(0, y, a) as i64, place(1, x, b) as i64]);
        }
    }
    let [h, w, a, b] = [wanted[0], wanted[1], taps[0], taps[1]].map(|n| n as i64);
    let mut constants = vec![TensorProto::ints("places", &[h, a, w, b, 2], &places)];
    let mut nodes = vec![
        node("Transpose", &["x"], "pixels").ints("perm", &[2, 3, 0, 1]),
        node("GatherND", &["pixels", "places"], "taken"),
        node("Transpose", &["taken"], "windows").ints("perm", &[4, 5, 0, 1, 2, 3]),
    ];
    if windows.iter().all(|axis| axis.iter().all(|window| window.len() == axis[0].len())) {
        constants.push(ints("both", &[-3, -1]));
        nodes.push(node("ReduceMean", &["windows", "both"], "y").int("keepdims", 0));
        return (constants, nodes);
    }
    let mut from = "windows".to_owned();
    constants.push(TensorProto::floats("none", &[], &[0.0]));
    for (axis, dims) in [(0, &[h, a, 1, 1][..]), (1, &[w, b])] {
        let lacks = (0..wanted[axis] * taps[axis])
            .map(|at| u8::from(at % taps[axis] >= windows[axis][at / taps[axis]].len()));
        let (name, output) = (format!("lacks{axis}"), format!("masked{axis}"));
        let raw_data = lacks.collect();
        let dims = dims.to_vec();
        constants.push(TensorProto { name, dims, data_type: 9, raw_data, ..Default::default() });
        nodes.push(node("Where", &[&format!("lacks{axis}"), "none", &from], &output));
        from = output;
    }
    let sum = sum_of_taps(&from, taps, &mut constants, &mut nodes);
    let counts: Vec<f32> = (0..wanted[0] * wanted[1])
        .map(|at| windows[0][at / wanted[1]].len() * windows[1][at % wanted[1]].len())
        .map(|count| count as f32)
        .collect();
    constants.push(TensorProto::floats("counts", &[h, w], &counts));
    nodes.push(node("Div", &[&sum, "counts"], "y"));
    (constants, nodes)
}

/// The sum of all taps of windows, `[N, C, rows, taps, columns, taps]`; its name.
fn sum_of_taps(
    from: &str,
    taps: [usize; 2],
    constants: &mut Vec<TensorProto>,
    nodes: &mut Vec<NodeProto>,
) -> String {
    let mut sum = String::new();
    for i in 0..taps[0] {
        let row = format!("row{i}");
        constants.push(TensorProto::ints(&format!("row.{i}"), &[], &[i as i64]));
        nodes.push(node("Gather", &[from, &format!("row.{i}")], &row).int("axis", 3));
        for j in 0..taps[1] {
            let (tap, index, total) =
                (format!("tap{i}.{j}"), format!("column{i}.{j}"), format!("sum{i}.{j}"));
            constants.push(TensorProto::ints(&index, &[], &[j as i64]));
            nodes.push(node("Gather", &[&row, &index], &tap).int("axis", 4));
            if sum.is_empty() {
                sum = tap;
            } else {
                nodes.push(node("Add", &[&sum, &tap], &total));
                sum = total;
            }
        }
    }
    sum
}

#[test]
fn a_pooling_that_is_another_one_is_refused_by_its_nodes() {
    let broken: [fn(&mut GraphProto); 4] = [
        |graph| {
            let counts = graph.initializer.iter_mut().find(|t| t.name == "counts").unwrap();
            *counts = TensorProto::floats("counts", &[7, 7], &[3.0; 49]);
        },
        |graph| {
            let none = graph.initializer.iter_mut().find(|t| t.name == "none").unwrap();
            *none = TensorProto::floats("none", &[], &[1.0]);
        },
        |graph| {
            let add = graph.node.iter_mut().find(|node| node.op_type == "Add").unwrap();
            add.input[1] = add.input[0].clone();
        },
        |graph| graph.output[0].name = "windows".into(),
    ];
    for change in broken {
        let (constants, nodes) = adaptive([2, 2], [7, 7]);
        let mut graph = graph(&[3, 2, 2], constants, nodes);
        change(&mut graph);
        let report = survey(&bytes(18, graph)).unwrap();
        assert!(report.model.is_none());
        assert!(report.unsupported.iter().any(|node| node.operator == "GatherND"));
    }
}

#[test]
fn transposed_lines_are_read_and_sizes_of_outputs_are_refused() {
    let constants = || vec![weights("w", &[3, 2, 4]), weights("v", &[3, 2, 2, 2])];
    let line = node("ConvTranspose", &["x", "w"], "y").ints("strides", &[2]).ints("pads", &[1, 0]);
    check_by_runtime(13, &graph(&[3, 5], constants(), vec![line]));
    for (odd, reason) in [
        (
            node("ConvTranspose", &["x", "v"], "y").ints("output_shape", &[8, 8]),
            "size of its output",
        ),
        (node("ConvTranspose", &["x", "v"], "y").string("auto_pad", "SAME_UPPER"), "size of its"),
        (node("ConvTranspose", &["x", "v"], "y").ints("pads", &[4, 4, 4, 4]), "takes all away"),
        (node("ConvTranspose", &["x", "v"], "y").int("group", 2), "2 groups"),
        (node("ConvTranspose", &["x", "v"], "y").ints("strides", &[0, 1]), "stride is 0"),
        (node("ConvTranspose", &["x", "v"], "y").ints("strides", &[1 << 20, 1 << 20]), "expected"),
    ] {
        let report = survey(&bytes(13, graph(&[3, 4, 4], constants(), vec![odd]))).unwrap();
        let found = report.unsupported.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(found.len() == 1 && found[0].contains(reason), "{found:?} for {reason}");
    }
}
