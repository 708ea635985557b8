//! Files as exporters write them: weights beside them, nodes in any order, several outputs.

use std::path::Path;

use model::onnx::Source;
use model::onnx::proto::{GraphProto, StringStringEntryProto, TensorProto};
use model::{Model, float, import, import_file};

use super::{assert_close, batch, bytes, graph, ints, node, noise, support, weights};

fn layer() -> GraphProto {
    let constants = vec![weights("w", &[2, 3, 3, 3]), weights("b", &[2])];
    graph(&[3, 5, 5], constants, vec![node("Conv", &["x", "w", "b"], "y")])
}

/// The same with its weights at an offset of a file beside it.
fn outside(location: &str, offset: usize) -> (GraphProto, Vec<u8>) {
    let mut graph = layer();
    let mut file = vec![7; offset];
    for tensor in &mut graph.initializer {
        let raw = std::mem::take(&mut tensor.raw_data);
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
        tensor.external_data = vec![
            entry("location", location.into()),
            entry("offset", file.len().to_string()),
            entry("length", raw.len().to_string()),
        ];
        tensor.data_location = 1;
        file.extend(raw);
    }
    (graph, file)
}

fn logits(model: &Model) -> Vec<f32> {
    float::evaluate(model, &batch(model, 2)).unwrap().data
}

#[test]
fn weights_in_another_file_are_those_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let (graph, file) = outside("parts/model.onnx.data", 64);
    std::fs::create_dir(folder.path().join("parts")).unwrap();
    std::fs::write(folder.path().join("parts/model.onnx.data"), file).unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, bytes(13, graph)).unwrap();
    let model = import_file(&path).unwrap();
    let expected = import(&bytes(13, layer())).unwrap();
    assert_eq!(model, expected);
    if let Some(runtime) = support::reference_runtime() {
        let theirs = runtime.run(&path, &batch(&model, 2)).unwrap();
        assert_close("beside", &logits(&model), &theirs.data);
    }
}

#[test]
fn files_of_weights_that_are_missing_outside_or_short_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("inner/model.onnx");
    std::fs::create_dir(folder.path().join("inner")).unwrap();
    std::fs::write(folder.path().join("secret"), vec![0; 1000]).unwrap();
    std::fs::write(folder.path().join("inner/short"), vec![0; 100]).unwrap();
    let message = |location: &str| {
        std::fs::write(&model, bytes(13, outside(location, 0).0)).unwrap();
        import_file(&model).unwrap_err().to_string()
    };
    let missing = message("model.onnx.data");
    for part in ["inner/model.onnx.data", "\"w\"", "No such file"] {
        assert!(missing.contains(part), "{part} is missing in: {missing}");
    }
    let secret = folder.path().join("secret");
    for outside in ["../secret", secret.to_str().unwrap(), "", "."] {
        assert!(message(outside).contains("own folder"), "{}", message(outside));
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&secret, folder.path().join("inner/link")).unwrap();
        assert!(message("link").contains("own folder"), "{}", message("link"));
    }
    let short = message("short");
    assert!(short.contains("100 bytes") && short.contains("short"), "{short}");
    let alone = import(&bytes(13, outside("data", 0).0)).unwrap_err().to_string();
    assert!(alone.contains("in the file itself"), "{alone}");
}

#[test]
fn nodes_may_come_in_any_order_and_need_not_all_be_read() {
    let constants = || vec![weights("w", &[3, 3, 1, 1]), weights("v", &[2, 3, 3, 3])];
    let nodes = || {
        vec![
            node("Conv", &["x", "w"], "a"),
            node("Relu", &["a"], "b"),
            node("Add", &["b", "x"], "c"),
            node("Conv", &["c", "v"], "y"),
        ]
    };
    let expected = import(&bytes(13, graph(&[3, 6, 6], constants(), nodes()))).unwrap();
    let mut odd = graph(&[3, 6, 6], constants(), nodes());
    odd.node.reverse();
    odd.node.push(node("LRN", &["b"], "unused"));
    odd.input.push(model::onnx::proto::ValueInfoProto::batch("unread", &[4]));
    odd.initializer.push(TensorProto { data_type: 8, ..weights("text", &[1]) });
    assert_eq!(import(&bytes(13, odd)).unwrap(), expected);
    let mut circle = graph(&[3, 6, 6], constants(), nodes());
    circle.node[0].input[0] = "c".into();
    let message = import(&bytes(13, circle)).unwrap_err().to_string();
    assert!(message.contains("circle"), "{message}");
    let mut twice = graph(&[3, 6, 6], constants(), nodes());
    twice.node[1].output[0] = "a".into();
    let message = import(&bytes(13, twice)).unwrap_err().to_string();
    assert!(message.contains("again"), "{message}");
}

#[test]
fn the_first_output_is_taken_or_the_one_that_is_named() {
    let constants = vec![weights("w", &[3, 3, 1, 1])];
    let nodes = vec![
        node("Relu", &["x"], "features"),
        node("Conv", &["features", "w"], "logits"),
        node("Selu", &["features"], "odd"),
    ];
    let mut file = graph(&[3, 4, 4], constants, nodes);
    let output = |name: &str| {
        let mut output = file.output[0].clone();
        output.name = name.into();
        output
    };
    let outputs = [output("logits"), output("features"), output("odd")];
    file.output = outputs.to_vec();
    let source = |name: Option<&str>| {
        Source::new(bytes(13, file.clone())).with_output(name.map(str::to_owned)).survey()
    };
    let first = source(None).unwrap();
    assert_eq!(first.model.unwrap().nodes.len(), 2);
    assert!(first.notes[0].contains("logits is taken"), "{:?}", first.notes);
    let named = source(Some("features")).unwrap();
    assert_eq!((named.model.unwrap().nodes.len(), named.notes.len()), (1, 0));
    assert_eq!(source(Some("odd")).unwrap().unsupported.len(), 1);
    let message = source(Some("nothing")).unwrap_err().to_string();
    assert!(message.contains("logits, features, odd"), "{message}");
}

#[test]
fn probabilities_at_the_end_are_left_out_and_that_is_said() {
    for (opset, op) in [(11, "Softmax"), (13, "Softmax"), (13, "LogSoftmax")] {
        let constants = || vec![weights("w", &[12, 4]), ints("shape", &[-1, 4])];
        let logits = || vec![node("Flatten", &["x"], "f"), node("MatMul", &["f", "w"], "l")];
        let mut nodes = logits();
        nodes.push(node(op, &["l"], "p").int("axis", 1));
        nodes.push(node("Reshape", &["p", "shape"], "y"));
        let file = bytes(opset, graph(&[3, 2, 2], constants(), nodes));
        let report = Source::new(file).survey().unwrap();
        assert!(report.notes[0].contains(op) && report.notes.len() == 1, "{:?}", report.notes);
        let expected = import(&bytes(opset, graph(&[3, 2, 2], constants(), logits()))).unwrap();
        assert_eq!(report.model.unwrap(), expected);
    }
}

#[test]
fn weights_of_four_bits_and_booleans_are_read() {
    let packed = TensorProto {
        dims: vec![1, 3, 1, 1],
        data_type: 22,
        name: "q".into(),
        // -8, 7 and 3; the last half is unused.
        raw_data: vec![0x78, 0x03],
        ..TensorProto::default()
    };
    let flag = TensorProto {
        data_type: 9,
        name: "flag".into(),
        raw_data: vec![0],
        ..TensorProto::default()
    };
    let constants = vec![packed, flag, TensorProto::floats("s", &[], &[0.5])];
    let nodes = vec![
        node("DequantizeLinear", &["q", "s"], "w"),
        node("Dropout", &["x", "", "flag"], "d"),
        node("Conv", &["d", "w"], "y"),
    ];
    let model = import(&bytes(21, graph(&[3, 2, 2], constants, nodes))).unwrap();
    let (_, conv) = model.layers().next().unwrap();
    assert_eq!(conv.weight, [-4.0, 3.5, 1.5]);
    let x = noise(7, 12);
    let expected: Vec<f32> = (0..4).map(|i| 3.5 * x[4 + i] - 4.0 * x[i] + 1.5 * x[8 + i]).collect();
    let found = float::evaluate(&model, &batch(&model, 1)).unwrap();
    assert_close("four bits", &found.data, &expected);
}

#[test]
fn the_table_of_operators_is_sorted_and_in_the_documents() {
    let names: Vec<&str> = model::onnx::OPERATORS.iter().map(|known| known.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operators.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let rows = model::onnx::OPERATORS
        .iter()
        .map(|known| format!("| `{}` | {} |", known.name, known.forms));
    let table = rows.collect::<Vec<_>>().join("\n");
    let wanted = format!("| operator | in which forms |\n| --- | --- |\n{table}\n");
    assert!(document.contains(&wanted), "{} has to hold:\n{wanted}", path.display());
}
