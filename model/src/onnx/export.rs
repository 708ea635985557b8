//! Writing a [`Model`] as ONNX.

use prost::Message;

use super::nodes::{OPSET, convolution_attributes, long, order_nodes, pool_attributes, view_nodes};
use super::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::model::{Conv, Function, Mask, Model, Node, Op, ValueId};

/// The first that has GELU by the hyperbolic tangent.
const OPSET_OF_GELU: i64 = 20;

/// The bytes of an ONNX file (operator set 13, or 20 where GELU by the hyperbolic tangent needs it)
/// that computes what the model computes: input `input` `[N, C, H, W]`, output `logits` `[N,
/// classes]`.
///
/// Importing them gives the model back, as far as it holds the invariants that the importer
/// establishes.
#[must_use]
pub fn export(model: &Model) -> Vec<u8> {
    let mut graph = GraphProto {
        name: model.name.clone(),
        input: vec![ValueInfoProto::batch("input", &model.input)],
        output: vec![ValueInfoProto::batch("logits", &[model.classes()])],
        ..GraphProto::default()
    };
    for node in &model.nodes {
        write(&mut graph, model, node);
    }
    graph
        .node
        .push(NodeProto::new("Flatten", "", &[&value(model.output)], &["logits"]).int("axis", 1));
    let opset =
        if model.nodes.iter().any(|node| matches!(node.op, Op::Function(Function::GeluTanh))) {
            OPSET_OF_GELU
        } else {
            OPSET
        };
    ModelProto::new(opset, graph).encode_to_vec()
}

fn value(id: ValueId) -> String {
    if id == ValueId::INPUT { "input".into() } else { format!("v{}", id.0) }
}

/// The name of a value that is only met on the way to `output`.
fn part(output: &str, name: &str) -> String {
    format!("{output}.{name}")
}

fn write(graph: &mut GraphProto, model: &Model, node: &Node) {
    let inputs: Vec<String> = node.inputs.iter().map(|&id| value(id)).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let output = value(node.output);
    let plain = |op: &str| NodeProto::new(op, &node.name, &inputs, &[&output]);
    let written = match &node.op {
        Op::Conv(conv) => convolution(graph, conv, &node.name, inputs[0], &output),
        Op::Relu { max: None } => plain("Relu"),
        Op::Relu { max: Some(max) } => clip(graph, &node.name, inputs[0], &output, [0.0, *max]),
        Op::PartRelu(mask) => part_relu(graph, mask, node, inputs[0], &output),
        Op::Function(function) => function_nodes(graph, function, node, inputs[0], &output),
        Op::Add => plain("Add"),
        Op::Mul => plain("Mul"),
        Op::MaxPool(window) => pool_attributes(plain("MaxPool"), window),
        Op::AvgPool(window) => {
            pool_attributes(plain("AveragePool"), window).int("count_include_pad", 1)
        }
        Op::Reorder(order) => order_nodes(graph, order, &node.name, inputs[0], &output),
        Op::Concat => plain("Concat").int("axis", 1),
        Op::View(view) => {
            view_nodes(graph, view, model.shape(node.inputs[0]), &node.name, inputs[0], &output)
        }
    };
    graph.node.push(written);
}

/// A PRelu whose slopes are 0 where the ReLU is and 1 elsewhere.
fn part_relu(
    graph: &mut GraphProto,
    mask: &Mask,
    node: &Node,
    input: &str,
    output: &str,
) -> NodeProto {
    let [channels, rows, columns] = node.shape;
    let slopes: Vec<f32> = mask.iter().map(|held| if held { 0.0 } else { 1.0 }).collect();
    let planes = slopes.chunks(rows * columns);
    // One number a channel, where that says all: a mask of elements may be larger than the weights.
    let firsts: Vec<f32> = planes.clone().map(|plane| plane[0]).collect();
    let is_by_channel = planes.zip(&firsts).all(|(plane, first)| plane.iter().all(|s| s == first));
    let (shape, slopes) = match is_by_channel {
        true => ([channels, 1, 1], firsts),
        false => ([channels, rows, columns], slopes),
    };
    let name = part(output, "slope");
    graph.initializer.push(TensorProto::floats(&name, &long(shape), &slopes));
    NodeProto::new("PRelu", &node.name, &[input, &name], &[output])
}

fn clip(
    graph: &mut GraphProto,
    name: &str,
    input: &str,
    output: &str,
    limits: [f32; 2],
) -> NodeProto {
    let bounds = [part(output, "min"), part(output, "max")];
    for (bound, limit) in bounds.iter().zip(limits) {
        graph.initializer.push(TensorProto::floats(bound, &[], &[limit]));
    }
    NodeProto::new("Clip", name, &[input, &bounds[0], &bounds[1]], &[output])
}

fn convolution(
    graph: &mut GraphProto,
    conv: &Conv,
    name: &str,
    input: &str,
    output: &str,
) -> NodeProto {
    let g = &conv.geometry;
    let dims = long([g.out_channels, g.in_channels / g.groups, g.kernel_h, g.kernel_w]);
    let constants = [format!("{output}.weight"), format!("{output}.bias")];
    graph.initializer.push(TensorProto::floats(&constants[0], &dims, &conv.weight));
    graph.initializer.push(TensorProto::floats(&constants[1], &dims[..1], &conv.bias));
    convolution_attributes(
        NodeProto::new("Conv", name, &[input, &constants[0], &constants[1]], &[output]),
        g,
    )
}

/// One node where the operator set has one, the nodes that importing joins elsewhere.
fn function_nodes(
    graph: &mut GraphProto,
    function: &Function,
    node: &Node,
    input: &str,
    output: &str,
) -> NodeProto {
    let one = |op: &str| NodeProto::new(op, &node.name, &[input], &[output]);
    let gate = format!("{output}.gate");
    match *function {
        Function::Sigmoid => one("Sigmoid"),
        Function::Tanh => one("Tanh"),
        Function::HardSigmoid { alpha, beta } => {
            one("HardSigmoid").float("alpha", alpha).float("beta", beta)
        }
        Function::LeakyRelu { alpha } => one("LeakyRelu").float("alpha", alpha),
        Function::Elu { alpha } => one("Elu").float("alpha", alpha),
        Function::Softplus => one("Softplus"),
        Function::Clip { low, high } => clip(graph, &node.name, input, output, [low, high]),
        Function::Square => NodeProto::new("Mul", &node.name, &[input, input], &[output]),
        Function::HardSwish => {
            let sigmoid = NodeProto::new("HardSigmoid", &gate, &[input], &[&gate]);
            graph.node.push(sigmoid.float("alpha", 1.0 / 6.0).float("beta", 0.5));
            NodeProto::new("Mul", &node.name, &[input, &gate], &[output])
        }
        Function::Silu => {
            graph.node.push(NodeProto::new("Sigmoid", &gate, &[input], &[&gate]));
            NodeProto::new("Mul", &node.name, &[input, &gate], &[output])
        }
        Function::Gelu => gelu_nodes(graph, node, input, output),
        Function::GeluTanh => one("Gelu").string("approximate", "tanh"),
        Function::Truncate => {
            graph.node.push(NodeProto::new("Cast", &gate, &[input], &[&gate]).int("to", 6));
            NodeProto::new("Cast", &node.name, &[&gate], &[output]).int("to", 1)
        }
    }
}

/// `x (erf(x / sqrt 2) + 1) / 2`: all nodes but the last, which is returned.
fn gelu_nodes(graph: &mut GraphProto, node: &Node, input: &str, output: &str) -> NodeProto {
    let constants = [("root", std::f32::consts::SQRT_2), ("one", 1.0), ("half", 0.5)];
    for (name, value) in constants {
        graph.initializer.push(TensorProto::floats(&part(output, name), &[], &[value]));
    }
    let steps: [(&str, [&str; 2], &str); 4] = [
        ("Div", [input, "root"], "scaled"),
        ("Erf", ["scaled", ""], "erf"),
        ("Add", ["erf", "one"], "sum"),
        ("Mul", [input, "sum"], "product"),
    ];
    for (op, operands, result) in steps {
        let names: Vec<String> = operands
            .iter()
            .filter(|name| !name.is_empty())
            .map(|name| if *name == input { input.to_owned() } else { part(output, name) })
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        graph.node.push(NodeProto::new(
            op,
            &part(output, result),
            &names,
            &[&part(output, result)],
        ));
    }
    NodeProto::new("Mul", &node.name, &[&part(output, "product"), &part(output, "half")], &[output])
}
