//! Operators on integers as floats between QuantizeLinear and DequantizeLinear: the format
//! QOperator becomes the format QDQ, which says the same of every value.
//!
//! `QLinearConv(x, w, b) = y` is `Conv` of all three dequantized, quantized to `y`; the scale of
//! `b` is that of `x` times that of `w`. So are the others of ONNX, and those of onnxruntime's own
//! domain that its quantizer writes.

use std::collections::{HashMap, HashSet};

use super::constant::Constant;
use super::proto::{GraphProto, NodeProto, TensorProto};

/// Names of a tensor of integers, of its scale and of its zero point.
type Triple<'a> = [&'a str; 3];

/// The graph in the format QDQ. What cannot be written so is left as it is.
pub(super) fn dequantize(mut graph: GraphProto) -> GraphProto {
    if !graph.node.iter().any(|node| is_of_integers(&node.op_type)) {
        return graph;
    }
    let scales = scales(&graph);
    let mut writer = Writer {
        constants: std::mem::take(&mut graph.initializer),
        nodes: Vec::with_capacity(graph.node.len()),
        scales,
        quantized: HashMap::new(),
    };
    for node in graph.node {
        // Whatever stays is read as it is, or refused by its name.
        if writer.written(&node).is_none() {
            writer.note(&node);
            writer.nodes.push(node);
        }
    }
    GraphProto { node: writer.nodes, initializer: writer.constants, ..graph }
}

/// Whether an operator is one of those that read and write integers.
fn is_of_integers(op: &str) -> bool {
    op.starts_with("QLinear") || op == "QGemm"
}

/// The constants of floats that are scales of such operators, stored or written in nodes.
fn scales(graph: &GraphProto) -> HashMap<String, Vec<f32>> {
    let nodes = graph.node.iter().filter(|node| is_of_integers(&node.op_type));
    let names: HashSet<&str> = nodes.flat_map(|node| &node.input).map(String::as_str).collect();
    let stored = graph.initializer.iter().filter(|tensor| names.contains(tensor.name.as_str()));
    let stored = stored.filter_map(|tensor| Some((&tensor.name, Constant::read(tensor).ok()?)));
    let written = graph.node.iter().filter(|node| node.op_type == "Constant");
    let written = written.filter_map(|node| Some((node.output.first()?, node.constant().ok()?)));
    let floats = stored.chain(written.filter(|(name, _)| names.contains(name.as_str())));
    let floats = floats
        .filter_map(|(name, constant)| Some((name.clone(), constant.as_floats().ok()?.to_vec())));
    floats.collect()
}

/// The first of some operands, if it is there.
fn given<'a>(operands: &[&'a str]) -> Option<&'a str> {
    operands.first().copied().filter(|name| !name.is_empty())
}

/// A graph under construction.
struct Writer {
    constants: Vec<TensorProto>,
    nodes: Vec<NodeProto>,
    /// Constants of floats that scale integers, by name.
    scales: HashMap<String, Vec<f32>>,
    /// Scale and zero point of every value between QuantizeLinear and DequantizeLinear.
    quantized: HashMap<String, [String; 2]>,
}

impl Writer {
    /// Notes what a node that stays quantizes.
    fn note(&mut self, node: &NodeProto) {
        let quantizer = match (node.op_type.as_str(), &node.input[..]) {
            ("QuantizeLinear", [_, scale]) => Some([scale.clone(), String::new()]),
            ("QuantizeLinear", [_, scale, zero]) => Some([scale.clone(), zero.clone()]),
            ("Reshape" | "Flatten" | "Transpose" | "Squeeze" | "Unsqueeze" | "Identity", _) => {
                node.input.first().and_then(|input| self.quantized.get(input)).cloned()
            }
            _ => None,
        };
        if let (Some(quantizer), Some(output)) = (quantizer, node.output.first()) {
            self.quantized.insert(output.clone(), quantizer);
        }
    }

    /// Writes an operator on integers, if the node is one.
    fn written(&mut self, node: &NodeProto) -> Option<()> {
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).collect();
        let ours = node.domain.is_empty() || node.domain == "ai.onnx";
        match (node.op_type.as_str(), node.domain.as_str(), &inputs[..]) {
            ("QLinearConv", _, &[x, xs, xz, w, ws, wz, ys, yz, ref bias @ ..]) if ours => {
                let (x, w) = (self.float(node, [x, xs, xz], 0), self.float(node, [w, ws, wz], 0));
                let mut operands = vec![x, w];
                if let Some(bias) = given(bias) {
                    operands.push(self.bias(node, bias, [xs, ws], 1.0)?);
                }
                self.quantized_result(node, "Conv", &operands, Some([ys, yz]))
            }
            ("QLinearMatMul", _, &[a, scale_a, zero_a, b, scale_b, zero_b, ys, yz]) if ours => {
                let a = self.float(node, [a, scale_a, zero_a], 0);
                let b = self.float(node, [b, scale_b, zero_b], 1);
                self.quantized_result(node, "MatMul", &[a, b], Some([ys, yz]))
            }
            ("MaxPool", _, [x]) if ours => {
                let [scale, zero] = self.quantized.get(*x)?.clone();
                let x = self.float(node, [x, &scale, &zero], 0);
                self.quantized_result(node, "MaxPool", &[x], Some([&scale, &zero]))
            }
            (op, "com.microsoft", inputs) => self.of_onnxruntime(node, op, inputs),
            _ => None,
        }
    }

    /// Writes an operator of onnxruntime's domain.
    fn of_onnxruntime(&mut self, node: &NodeProto, op: &str, inputs: &[&str]) -> Option<()> {
        match (op, inputs) {
            ("QGemm", &[a, scale_a, zero_a, b, scale_b, zero_b, ref rest @ ..]) => {
                // Scales of weights are those of outputs, whichever axis these are.
                let transposed = node.int_or("transB", 0).is_ok_and(|set| set != 0);
                let a = self.float(node, [a, scale_a, zero_a], 0);
                let w = self.float(node, [b, scale_b, zero_b], i64::from(!transposed));
                let alpha = node.float_or("alpha", 1.0).ok()?;
                let mut operands = vec![a, w];
                if let Some(bias) = given(rest) {
                    operands.push(self.bias(node, bias, [scale_a, scale_b], alpha)?);
                }
                let quantizer = match rest {
                    [_, scale, zero] => Some([*scale, *zero]),
                    _ => None,
                };
                self.quantized_result(node, "Gemm", &operands, quantizer)
            }
            ("QLinearAdd" | "QLinearMul", &[a, scale_a, zero_a, b, scale_b, zero_b, ys, yz]) => {
                let a = self.float(node, [a, scale_a, zero_a], 0);
                let b = self.float(node, [b, scale_b, zero_b], 0);
                self.quantized_result(node, &op["QLinear".len()..], &[a, b], Some([ys, yz]))
            }
            (
                "QLinearSigmoid"
                | "QLinearLeakyRelu"
                | "QLinearAveragePool"
                | "QLinearGlobalAveragePool",
                &[x, xs, xz, ys, yz],
            ) => {
                if node.int_or("channels_last", 0).ok()? != 0 {
                    return None;
                }
                let x = self.float(node, [x, xs, xz], 0);
                self.quantized_result(node, &op["QLinear".len()..], &[x], Some([ys, yz]))
            }
            ("QLinearConcat", [ys, yz, parts @ ..]) => {
                let parts = parts.as_chunks::<3>().0.iter();
                let parts: Vec<String> = parts.map(|&part| self.float(node, part, 0)).collect();
                self.quantized_result(node, "Concat", &parts, Some([*ys, *yz]))
            }
            _ => None,
        }
    }

    /// Dequantizes a tensor of integers, whose scales are along an axis if there are several.
    fn float(&mut self, node: &NodeProto, [ints, scale, zero]: Triple<'_>, axis: i64) -> String {
        let name = self.fresh(node, "float");
        let mut inputs = vec![ints, scale];
        inputs.extend(Some(zero).filter(|zero| !zero.is_empty()));
        let written = NodeProto::new("DequantizeLinear", &name, &inputs, &[&name]);
        // A constant of fewer axes than that has one scale.
        let by_channel = self.scales.get(scale).is_some_and(|scales| scales.len() > 1);
        self.nodes.push(if by_channel { written.int("axis", axis) } else { written });
        name
    }

    /// Dequantizes a bias, whose scale is the product of its operands'.
    fn bias(
        &mut self,
        node: &NodeProto,
        bias: &str,
        scales: [&str; 2],
        factor: f32,
    ) -> Option<String> {
        let [Some([one]), Some(many)] = scales.map(|scale| self.scales.get(scale).map(|s| &s[..]))
        else {
            return None;
        };
        // A bias counts in products of both steps.
        let products: Vec<f32> = many.iter().map(|scale| one * scale * factor).collect();
        let name = self.fresh(node, "scale");
        let dims: &[i64] = if products.len() == 1 { &[] } else { &[products.len() as i64] };
        self.constants.push(TensorProto::floats(&name, dims, &products));
        self.scales.insert(name.clone(), products);
        Some(self.float(node, [bias, &name, ""], 0))
    }

    /// Writes the operator on floats with the node's attributes, and quantizes its result.
    fn quantized_result(
        &mut self,
        node: &NodeProto,
        op: &str,
        inputs: &[String],
        quantizer: Option<[&str; 2]>,
    ) -> Option<()> {
        let output = node.output.first()?;
        // Without a quantizer of its own the result is what the node gave: floats.
        let float = match quantizer {
            Some(_) => self.fresh(node, "result"),
            None => output.clone(),
        };
        self.nodes.push(NodeProto {
            op_type: op.to_owned(),
            domain: String::new(),
            input: inputs.to_vec(),
            output: vec![float.clone()],
            ..node.clone()
        });
        if let Some([scale, zero]) = quantizer {
            let mut inputs = vec![float.as_str(), scale];
            inputs.extend(Some(zero).filter(|zero| !zero.is_empty()));
            let name = self.fresh(node, "quantized");
            self.nodes.push(NodeProto::new("QuantizeLinear", &name, &inputs, &[output]));
            self.quantized.insert(output.clone(), [scale, zero].map(str::to_owned));
        }
        Some(())
    }

    /// A name that no exporter gives, for something of a node's.
    fn fresh(&self, node: &NodeProto, what: &str) -> String {
        let output = node.output.first().map_or("", String::as_str);
        format!("{output}.{what}.{}", self.nodes.len() + self.constants.len())
    }
}
