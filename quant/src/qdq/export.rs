//! Writing a plan and its weights as a quantized network in ONNX.

use model::onnx::nodes::{OPSET, convolution_attributes, order_nodes, pool_attributes, view_nodes};
use model::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use prost::Message;
use protocols::plan::{Algorithm, Op, Plan, Step, Term, WireId};
use protocols::steps::{
    Concat, Input, Linear, MaxPool, Output, Product, Reorder, Requant, Slice, SumPool,
};
use protocols::weights::{LayerWeights, Weights};
use zeroize::Zeroizing;

use super::scales;

/// A quantized network as an ONNX file.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The file.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Steps whose sums may leave what floats hold exactly, with the bits that they may need: the
    /// integers of a runtime that computes in floats may there differ from ours.
    pub wide: Vec<(String, u32)>,
}

/// A plan that cannot be written as ONNX.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: {what}: expected {expected}, found {found}; {advice}")]
pub struct ExportError {
    /// The step.
    pub step: String,
    /// The field.
    pub what: &'static str,
    /// What can be written.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// What to do.
    pub advice: &'static str,
}

/// What is added to every sum before it is rounded, in its steps. ONNX rounds halves to even,
/// requantizations round them up: with a quarter more there are no halves, and nothing else
/// changes.
const QUARTER: f64 = 0.25;
/// Bits of a sum, its sign among them, that floats hold exactly together with the quarter that is
/// added to it.
pub const EXACT_BITS: u32 = 23;

/// Writes a plan and weights that were checked against each other, operator set 13: input `input`
/// `[N, C, H, W]`, preprocessed, output `logits` `[N, classes]`. A runtime that computes
/// convolutions in floats or integers arrives at the plan's integers.
///
/// # Errors
/// A step that this form has no nodes for.
pub fn export_quantized(plan: &Plan, weights: &Weights) -> Result<Exported, ExportError> {
    let scales = scales::of(plan).map_err(|step| ExportError {
        step: step.to_owned(),
        what: "shifts",
        expected: "those of one scale a wire".into(),
        found: "others".into(),
        advice: "export a plan that pq search has written",
    })?;
    let graph = GraphProto {
        name: plan.name.clone(),
        input: vec![ValueInfoProto::batch("input", &plan.input_wire().shape)],
        output: vec![ValueInfoProto::batch("logits", &[plan.output_wire().elements()])],
        ..GraphProto::default()
    };
    let wires = plan.wires.len();
    let mut writer = Writer {
        plan,
        weights,
        scales,
        graph,
        names: vec![String::new(); wires],
        readers: readers(plan),
        layers: vec![false; wires],
        ranges: plan
            .wires
            .iter()
            .map(|wire| (wire.range().0.into(), wire.range().1.into()))
            .collect(),
        wide: Vec::new(),
    };
    for step in &plan.steps {
        writer.step(step)?;
    }
    Ok(Exported {
        bytes: ModelProto::new(OPSET, writer.graph).encode_to_vec().into(),
        wide: writer.wide,
    })
}

/// The number of steps that read each wire.
fn readers(plan: &Plan) -> Vec<usize> {
    let mut readers = vec![0; plan.wires.len()];
    plan.steps.iter().flat_map(|step| step.op.inputs()).for_each(|wire| readers[wire] += 1);
    readers
}

/// A step that this form has no nodes for.
fn without_form(step: &Step, expected: &str, found: &str, advice: &'static str) -> ExportError {
    let (expected, found) = (expected.into(), found.into());
    ExportError { step: step.name.clone(), what: "operation", expected, found, advice }
}

struct Writer<'a> {
    plan: &'a Plan,
    weights: &'a Weights,
    scales: Vec<f64>,
    graph: GraphProto,
    /// By wire: the tensor of its real values.
    names: Vec<String>,
    readers: Vec<usize>,
    /// By wire: whether a linear layer makes it.
    layers: Vec<bool>,
    /// By wire: the interval of its integers.
    ranges: Vec<(i128, i128)>,
    wide: Vec<(String, u32)>,
}

impl Writer<'_> {
    fn step(&mut self, step: &Step) -> Result<(), ExportError> {
        if let Some(output) = step.op.output() {
            self.names[output] = format!("{}.value", step.name);
        }
        match &step.op {
            Op::Input(Input { output }) => self.input(step, *output)?,
            Op::Linear(Linear { input, output, .. }) => self.linear(step, *input, *output)?,
            Op::Requant(Requant { linearized: Some(_), .. }) => {
                let (expected, found) = ("a ReLU of all elements", "a ReLU of some");
                let advice = "export the float network that pq reshape has written";
                return Err(without_form(step, expected, found, advice));
            }
            Op::Requant(Requant { terms, output, shift, .. }) => {
                self.requant(step, terms, *output, *shift)?
            }
            Op::SumPool(SumPool { input, output, window }) => {
                let node = self.plain("AveragePool", step, *input, *output);
                self.node(pool_attributes(node, window).int("count_include_pad", 1));
                let (low, high) = self.ranges[*input];
                let count = window.len() as i128;
                self.ranges[*output] = (low.min(0) * count, high.max(0) * count);
            }
            Op::MaxPool(MaxPool { input, output, window, .. }) => {
                let node = self.plain("MaxPool", step, *input, *output);
                self.node(pool_attributes(node, window));
            }
            Op::View(Slice { input, output, view }) => {
                let (shape, names) = (self.plan.wires[*input].shape, [*input, *output]);
                let [from, to] = names.map(|wire| self.names[wire].clone());
                let node = view_nodes(&mut self.graph, view, shape, &step.name, &from, &to);
                self.node(node);
                let (low, high) = self.ranges[*input];
                self.ranges[*output] = (low.min(0), high.max(0));
            }
            Op::Reorder(Reorder { input, output, order }) => {
                let [from, to] = [*input, *output].map(|wire| self.names[wire].clone());
                let node = order_nodes(&mut self.graph, order, &step.name, &from, &to);
                self.node(node);
                self.ranges[*output] = self.ranges[*input];
            }
            Op::Concat(Concat { inputs, output }) => self.concat(step, inputs, *output),
            Op::Product(Product { input, gate, output, .. }) => {
                self.product(step, [*input, *gate], *output);
            }
            Op::Lookup(_) => {
                let advice = "replace the activation by a ReLU and train again";
                return Err(without_form(step, "a ReLU", "an activation by a table", advice));
            }
            Op::Argmax(_) => {
                let advice = "export the plan that reveals the logits";
                return Err(without_form(step, "logits as the output", "the label alone", advice));
            }
            Op::Output(Output { input }) => self.output(step, *input),
            // A new kind of step is refused until it has a form.
            #[allow(unreachable_patterns, clippy::wildcard_enum_match_arm)]
            other => {
                let advice = "search again without it";
                return Err(without_form(step, "a step that ONNX has", &other.protocol(), advice));
            }
        }
        Ok(())
    }

    /// The real input in steps, whose scale is one from here on: the scales of all values are
    /// powers of two.
    fn input(&mut self, step: &Step, wire: WireId) -> Result<(), ExportError> {
        let steps = format!("{}.steps", step.name);
        let scale = self.float(&format!("{}.step", step.name), self.plan.input.scale);
        self.node(NodeProto::new("Div", &steps, &["input", &scale], &[&steps]));
        self.stored(step, &steps, wire)
    }

    fn linear(&mut self, step: &Step, input: WireId, output: WireId) -> Result<(), ExportError> {
        let Some(layer) = step.op.layer() else { return Ok(()) };
        if layer.algorithm == Algorithm::Winograd {
            return Err(ExportError {
                step: step.name.clone(),
                what: "algorithm",
                expected: "a convolution".into(),
                found: "weights in Winograd's domain".into(),
                advice: "search with --winograd exact",
            });
        }
        let weights = self.weights.layers.get(&step.name).ok_or_else(|| ExportError {
            step: step.name.clone(),
            what: "weights",
            expected: "weight and bias".into(),
            found: "none".into(),
            advice: "export with the weights of this plan",
        })?;
        let (scale, g) = (self.scales[output], &layer.geometry);
        let dims =
            [g.out_channels, g.in_channels / g.groups, g.kernel_h, g.kernel_w].map(|n| n as i64);
        let weight = self.weight(step, weights, &dims, layer.weight_bits);
        let relative = |shift: u8| scale / self.scales[input] * f64::from(shift).exp2();
        let scales: Vec<f64> = match layer.shifts[..] {
            [] => vec![relative(0)],
            _ => layer.shifts.iter().map(|&shift| relative(shift)).collect(),
        };
        let weight = self.dequantized(&format!("{}.weight", step.name), &weight, &scales);
        let bias =
            weights.bias.iter().map(|&bias| i32::try_from(bias)).collect::<Result<Vec<_>, _>>();
        let bias = bias.map_err(|_| ExportError {
            step: step.name.clone(),
            what: "bias",
            expected: "32 bits".into(),
            found: "more".into(),
            advice: "search with fewer bits",
        })?;
        let ints = format!("{}.bias", step.name);
        self.graph.initializer.push(TensorProto::int32s(&ints, &dims[..1], &bias));
        let bias = self.dequantized(&ints, &ints, &[scale]);
        let [from, to] = [input, output].map(|wire| self.names[wire].clone());
        let node = NodeProto::new("Conv", &step.name, &[&from, &weight, &bias], &[&to]);
        self.node(convolution_attributes(node, g));
        self.layers[output] = true;
        self.ranges[output] = weights.range(&layer, self.ranges[input]);
        let (low, high) = self.ranges[output];
        self.bounded(step, low.min(0), high.max(0));
        Ok(())
    }

    /// The tensor of a layer's integers, cut off at their width where that is less than what they
    /// are stored in.
    fn weight(&mut self, step: &Step, weights: &LayerWeights, dims: &[i64], bits: u32) -> String {
        let name = format!("{}.weight", step.name);
        self.graph.initializer.push(TensorProto::int8s(&name, dims, &weights.weights));
        let half = 1i16 << (bits - 1);
        self.clipped(&name, &name, bits, (-half, half - 1), true)
    }

    fn requant(
        &mut self,
        step: &Step,
        terms: &[Term],
        output: WireId,
        shift: u8,
    ) -> Result<(), ExportError> {
        let unit = self.scales[output] * (-f64::from(shift)).exp2();
        let quarter = QUARTER * unit;
        let layer =
            terms.iter().position(|term| self.layers[term.wire] && self.readers[term.wire] == 1);
        let mut names: Vec<String> =
            terms.iter().map(|term| self.names[term.wire].clone()).collect();
        let mut sum = (0, 0);
        for term in terms {
            let (low, high) = self.ranges[term.wire];
            sum = (sum.0 + (low << term.shift), sum.1 + (high << term.shift));
        }
        self.bounded(step, sum.0, sum.1);
        let wire = &self.plan.wires[output];
        let (low, high) = (i128::from(wire.range().0), i128::from(wire.range().1));
        if wire.bits > 8 && shift == 0 && low <= sum.0 && sum.1 <= high {
            // Nothing is rounded and nothing cut off: a sum that is revealed, or read as it is.
            self.names[output] = self.sum(step, &names);
            self.ranges[output] = sum;
            return Ok(());
        }
        if let Some(at) = layer {
            names[at] = self.offset(step, &names[at].clone(), quarter);
        }
        let mut value = self.sum(step, &names);
        if layer.is_none() {
            value = self.offset(step, &value, quarter);
        }
        if !wire.signed() {
            let positive = format!("{}.positive", step.name);
            self.node(NodeProto::new("Relu", &step.name, &[&value], &[&positive]));
            value = positive;
        }
        self.stored(step, &value, output)
    }

    fn concat(&mut self, step: &Step, inputs: &[WireId], output: WireId) {
        let names: Vec<&str> = inputs.iter().map(|&wire| self.names[wire].as_str()).collect();
        let node = NodeProto::new("Concat", &step.name, &names, &[&self.names[output]]);
        self.node(node.int("axis", 1));
        let ranges = inputs.iter().map(|&wire| self.ranges[wire]);
        let hull = ranges.reduce(|(a, b), (low, high)| (a.min(low), b.max(high)));
        self.ranges[output] = hull.unwrap_or((0, 0));
    }

    /// The product of tensors; where its wire has another scale than theirs together, times the
    /// ratio of both.
    fn product(&mut self, step: &Step, factors: [WireId; 2], output: WireId) {
        let [a, b] = factors.map(|wire| self.names[wire].clone());
        let ratio = self.scales[output] / (self.scales[factors[0]] * self.scales[factors[1]]);
        let name = self.names[output].clone();
        let exact = if ratio == 1.0 { name.clone() } else { format!("{}.exact", step.name) };
        self.node(NodeProto::new("Mul", &step.name, &[&a, &b], &[&exact]));
        if ratio != 1.0 {
            let ratio = self.float(&format!("{}.ratio", step.name), ratio);
            let node =
                NodeProto::new("Mul", &format!("{name}.scaled"), &[&exact, &ratio], &[&name]);
            self.node(node);
        }
        let ((a, b), (c, d)) = (self.ranges[factors[0]], self.ranges[factors[1]]);
        let corners = [a * c, a * d, b * c, b * d];
        let (low, high) =
            corners.iter().fold((0, 0), |(low, high), &corner| (corner.min(low), corner.max(high)));
        self.ranges[output] = (low, high);
        self.bounded(step, low, high);
    }

    /// The sum of tensors.
    fn sum(&mut self, step: &Step, names: &[String]) -> String {
        let mut sum = names[0].clone();
        for (at, name) in names.iter().enumerate().skip(1) {
            let next = format!("{}.sum.{at}", step.name);
            self.node(NodeProto::new("Add", &next, &[&sum, name], &[&next]));
            sum = next;
        }
        sum
    }

    fn offset(&mut self, step: &Step, value: &str, offset: f64) -> String {
        let name = format!("{}.no_halves", step.name);
        let offset = self.float(&format!("{}.quarter", step.name), offset);
        self.node(NodeProto::new("Add", &name, &[value, &offset], &[&name]));
        name
    }

    /// A real value as a wire: rounded, cut off at its width, and real again.
    fn stored(&mut self, step: &Step, value: &str, output: WireId) -> Result<(), ExportError> {
        let wire = &self.plan.wires[output];
        let (low, high) = wire.range();
        let bits = u32::from(wire.bits);
        if bits > 8 {
            return Err(ExportError {
                step: step.name.clone(),
                what: "width of the values",
                expected: "at most 8 bits".into(),
                found: bits.to_string(),
                advice: "search with at most 8 bits for activations",
            });
        }
        let scale = self.float(&format!("{}.scale", step.name), self.scales[output]);
        // Two's complement is int8; all else is uint8, whose zero point makes the least value zero.
        let in_signed = wire.is_twos_complement();
        let point = if in_signed { 0 } else { -low };
        let zero = self.byte("zero", point as i16, in_signed);
        let quantized = format!("{}.quantized", step.name);
        let node =
            NodeProto::new("QuantizeLinear", &quantized, &[value, &scale, &zero], &[&quantized]);
        self.node(node);
        let bounds = ((low + point) as i16, (high + point) as i16);
        let clipped = self.clipped(&step.name, &quantized, bits, bounds, in_signed);
        let name = self.names[output].clone();
        self.node(NodeProto::new("DequantizeLinear", &name, &[&clipped, &scale, &zero], &[&name]));
        Ok(())
    }

    /// Integers cut off at a width that is less than eight bits.
    fn clipped(
        &mut self,
        name: &str,
        ints: &str,
        bits: u32,
        (low, high): (i16, i16),
        signed: bool,
    ) -> String {
        if bits >= 8 {
            return ints.to_owned();
        }
        let bounds =
            [("least", low), ("most", high)].map(|(what, bound)| self.byte(what, bound, signed));
        let clipped = format!("{name}.clipped");
        self.node(NodeProto::new("Clip", &clipped, &[ints, &bounds[0], &bounds[1]], &[&clipped]));
        clipped
    }

    /// Constant integers times their scale, or their channels' scales.
    fn dequantized(&mut self, name: &str, ints: &str, scales: &[f64]) -> String {
        let (scale, real) = (format!("{name}.scale"), format!("{name}.real"));
        let floats: Vec<f32> = scales.iter().map(|&scale| scale as f32).collect();
        let dims: &[i64] = if scales.len() == 1 { &[] } else { &[scales.len() as i64] };
        self.graph.initializer.push(TensorProto::floats(&scale, dims, &floats));
        let node = NodeProto::new("DequantizeLinear", &real, &[ints, &scale], &[&real]);
        self.node(if scales.len() == 1 { node } else { node.int("axis", 0) });
        real
    }

    fn output(&mut self, step: &Step, input: WireId) {
        let scale = self.plan.output.scale / self.scales[input];
        let scale = self.float(&format!("{}.scale", step.name), scale);
        let real = format!("{}.real", step.name);
        let from = self.names[input].clone();
        self.node(NodeProto::new("Mul", &real, &[&from, &scale], &[&real]));
        self.node(NodeProto::new("Flatten", &step.name, &[&real], &["logits"]).int("axis", 1));
    }

    fn plain(&self, op: &str, step: &Step, input: WireId, output: WireId) -> NodeProto {
        NodeProto::new(op, &step.name, &[&self.names[input]], &[&self.names[output]])
    }

    fn node(&mut self, node: NodeProto) {
        self.graph.node.push(node);
    }

    fn float(&mut self, name: &str, value: f64) -> String {
        self.graph.initializer.push(TensorProto::floats(name, &[], &[value as f32]));
        name.to_owned()
    }

    /// A constant of the type that values of this sign are stored in; equal ones are one tensor.
    fn byte(&mut self, what: &str, value: i16, signed: bool) -> String {
        let sign = if signed { 's' } else { 'u' };
        let name = format!("{sign}8.{what}.{value}");
        if !self.graph.initializer.iter().any(|tensor| tensor.name == name) {
            self.graph.initializer.push(TensorProto::byte(&name, value, signed));
        }
        name
    }

    /// Notes a step whose sums may be too wide for floats.
    fn bounded(&mut self, step: &Step, low: i128, high: i128) {
        let bits = fusion::ring_width(low, high);
        if bits > EXACT_BITS {
            self.wide.push((step.name.clone(), bits));
        }
    }
}
