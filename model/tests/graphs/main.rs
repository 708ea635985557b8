//! Small odd graphs: what we make of them is what ONNX's specification says, and what onnxruntime
//! says where there is one.

#![allow(clippy::unwrap_used)]

mod activations;
mod cases;
mod enlarge;
mod files;
mod hostile;
mod products;
mod random;
mod reference;
mod requant_shift;
mod shapes;
#[path = "../support/mod.rs"]
mod support;
mod unsupported;

use model::float::{self, Edit};
use model::onnx::export;
use model::onnx::proto::{
    GraphProto, ModelProto, NodeProto, TensorProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use model::{Model, Tensor, ValueId, import};
use prost::Message;
use support::reference_runtime;

/// A graph with one input `x` of this shape per image; the last node's first result is the output.
fn graph(input: &[usize], constants: Vec<TensorProto>, nodes: Vec<NodeProto>) -> GraphProto {
    let tensor_type = Some(TensorTypeProto { elem_type: 1, shape: None });
    let output = ValueInfoProto {
        name: nodes.last().unwrap().output[0].clone(),
        r#type: Some(TypeProto { tensor_type }),
    };
    GraphProto {
        node: nodes,
        name: "odd".into(),
        initializer: constants,
        input: vec![ValueInfoProto::batch("x", input)],
        output: vec![output],
        ..GraphProto::default()
    }
}

fn node(op: &str, input: &[&str], output: &str) -> NodeProto {
    NodeProto::new(op, &format!("{op}_{output}"), input, &[output])
}

/// Floats between -1 and 1 that look random.
fn noise(seed: usize, len: usize) -> Vec<f32> {
    let mut state = seed as u32 ^ 0x9e37_79b9;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn weights(name: &str, dims: &[i64]) -> TensorProto {
    let len: i64 = dims.iter().product();
    TensorProto::floats(name, dims, &noise(name.len() + len as usize, len as usize))
}

fn ints(name: &str, data: &[i64]) -> TensorProto {
    TensorProto::ints(name, &[data.len() as i64], data)
}

fn bytes(opset: i64, graph: GraphProto) -> Vec<u8> {
    ModelProto::new(opset, graph).encode_to_vec()
}

fn batch(model: &Model, images: usize) -> Tensor {
    let [c, h, w] = model.input;
    Tensor::new([images, c, h, w], noise(7, images * c * h * w)).unwrap()
}

fn assert_close(what: &str, a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "{what}: number of elements");
    let difference = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-4, "{what}: differs by {difference}");
}

/// Imports a graph and compares its evaluation with the reference, and with all that must be the
/// same.
fn check(opset: i64, graph: &GraphProto) -> Model {
    let bytes = bytes(opset, graph.clone());
    let model = import(&bytes).unwrap_or_else(|error| panic!("{error}"));
    let batch = batch(&model, 3);
    let ours = float::evaluate(&model, &batch).unwrap();
    let mut dims = vec![3];
    dims.extend(graph.input[0].r#type.iter().flat_map(|t| t.tensor_type.iter()).flat_map(|t| {
        t.shape.iter().flat_map(|s| s.dim[1..].iter().map(|d| d.dim_value.unwrap() as usize))
    }));
    let input = reference::Array { dims, data: batch.data.iter().map(|&x| x.into()).collect() };
    let expected: Vec<f32> = reference::run(graph, input).data.iter().map(|&x| x as f32).collect();
    assert_close("reference", &ours.data, &expected);
    check_model(&model, &batch, &ours, &bytes);
    model
}

/// Imports a graph whose operators only onnxruntime says the meaning of.
fn check_by_runtime(opset: i64, graph: &GraphProto) -> Model {
    let bytes = bytes(opset, graph.clone());
    let model = import(&bytes).unwrap_or_else(|error| panic!("{error}"));
    let batch = batch(&model, 3);
    let ours = float::evaluate(&model, &batch).unwrap();
    check_model(&model, &batch, &ours, &bytes);
    model
}

/// What holds for every model: it is evaluated alike from anywhere on, it survives export,
/// onnxruntime agrees.
fn check_model(model: &Model, batch: &Tensor, logits: &Tensor, bytes: &[u8]) {
    model.check().unwrap();
    let kept = float::activations(model, batch).unwrap();
    assert_eq!(float::reevaluate(model, &kept, &[]).unwrap(), *logits);
    for id in (0..=model.nodes.len()).map(ValueId) {
        let edit = Edit::Value { id, tensor: kept.value(id).unwrap() };
        assert_eq!(float::reevaluate(model, &kept, &[edit]).unwrap(), *logits);
    }
    for (node, conv) in model.layers() {
        let edit = Edit::Weights { node, weight: &conv.weight, bias: &conv.bias };
        assert_eq!(float::reevaluate(model, &kept, &[edit]).unwrap(), *logits);
    }
    let exported = export(model);
    let again = import(&exported).unwrap();
    assert_eq!(float::evaluate(&again, batch).unwrap().data, logits.data);
    if let Some(reference_runtime) = reference_runtime() {
        for (what, bytes) in [("the graph", bytes), ("its export", &exported)] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, bytes).unwrap();
            let theirs = reference_runtime
                .run(file.path(), batch)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_close(what, &logits.data, &theirs.data);
        }
    }
}
