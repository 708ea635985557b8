//! The walk over a graph's nodes, in order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use protocols::plan::{CORRELATIONS, KEYS};

use super::constant::{Constant, Grid, Int};
use super::ends;
use super::error::{ImportError, Problem, Unsupported};
use super::fold;
use super::inputs::Inputs;
use super::layout::Layout;
use super::name;
use super::operators::{is_known, keeps_shape, unsupported};
use super::proto::{GraphProto, NodeProto};
use super::qdq::import::Pending;
use super::qdq::qonnx::is_qonnx;
use super::qdq::{Quantized, Quantizer};
use super::separate::separate;
use super::simplify::simplify;
use crate::model::{Model, Node, Op, ValueId, check_shape};

/// How a name of the graph is known.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// A value of the network.
    Value(Value),
    /// A constant.
    Constant(Rc<Constant>),
    /// A value between QuantizeLinear and DequantizeLinear.
    Quantized(Pending),
    /// The result of a node that is not supported, or that depends on one.
    Unknown,
}

/// A value of the network and the form in which the graph sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) id: ValueId,
    pub(super) layout: Rc<Layout>,
}

/// The state of an import: the network so far.
pub(super) struct Importer {
    name: String,
    input: [usize; 3],
    pub(super) opset: i64,
    /// The number of images, if the file fixes it.
    pub(super) batch: Option<i64>,
    /// Results of nodes at the end that turn logits into probabilities.
    probabilities: HashSet<String>,
    entries: HashMap<String, Entry>,
    pub(super) nodes: Vec<Node>,
    /// By value: whether it cannot be negative.
    pub(super) non_negative: Vec<bool>,
    /// Values that are another one divided by a number, and the number.
    pub(super) divisors: HashMap<ValueId, f32>,
    /// Those of them that are the network's input, quantized.
    pub(super) entered: HashSet<ValueId>,
    /// Values by the quantized tensor that they were.
    pub(super) dequantized: HashMap<String, Value>,
    pub(super) quantizers: HashMap<ValueId, Quantizer>,
    /// The integers of layers' weights.
    pub(super) grids: HashMap<ValueId, Grid>,
    names: HashMap<String, usize>,
    /// How many more elements may be copied from constants: a small file must not unfold into a
    /// large model.
    budget: usize,
    /// Shapes that the file says results have, the batch apart.
    said: HashMap<String, Vec<usize>>,
    pub(super) notes: Vec<String>,
    unsupported: Vec<Unsupported>,
}

impl Importer {
    /// An importer of a graph for one output, from files of so many bytes; it takes the constants
    /// out of the graph.
    pub(super) fn new(
        graph: &mut GraphProto,
        (opset, output): (i64, &str),
        bytes: usize,
    ) -> Result<Self, ImportError> {
        let input = ends::input(graph)?;
        let mut unsupported = Vec::new();
        let mut entries = HashMap::new();
        for tensor in std::mem::take(&mut graph.initializer) {
            let entry = match Constant::read(&tensor) {
                Ok(constant) => Entry::Constant(Rc::new(constant)),
                Err(problem) => {
                    unsupported.push(problem.of(&tensor.name, "initializer"));
                    Entry::Unknown
                }
            };
            entries.insert(tensor.name, entry);
        }
        let value = Value { id: ValueId::INPUT, layout: Rc::new(input.layout) };
        entries.insert(input.name, Entry::Value(value));
        Ok(Self {
            name: name::shown(&graph.name),
            input: input.shape,
            opset,
            batch: input.batch,
            probabilities: ends::softmax_at_the_end(graph, output),
            entries,
            nodes: Vec::new(),
            non_negative: vec![false],
            divisors: HashMap::new(),
            entered: HashSet::new(),
            dequantized: HashMap::new(),
            quantizers: HashMap::new(),
            grids: HashMap::new(),
            // A plan has a step of this name of its own.
            names: HashMap::from([CORRELATIONS, KEYS].map(|name| (name.to_owned(), 1))),
            // Eight elements a byte of the file, and a million: more than real networks copy, and
            // less than a file of a few bytes could ask for by sharing constants.
            budget: bytes.saturating_mul(8).saturating_add(1 << 20),
            said: said(graph),
            notes: Vec::new(),
            unsupported,
        })
    }

    /// The network if everything is supported, and everything that is not.
    pub(super) fn run(
        mut self,
        graph: &GraphProto,
        output: &str,
    ) -> Result<(Option<Quantized>, Vec<Unsupported>), ImportError> {
        for node in &graph.node {
            let entries = self.node(node).unwrap_or_else(|problem| {
                self.unsupported.push(problem.of(label(node), &operator(node)));
                // What follows is looked at with a stand-in: all blockers are named at once.
                vec![self.assumed(node)]
            });
            for (output, entry) in node.output.iter().zip(entries) {
                self.entries.insert(output.clone(), entry);
            }
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                self.entries.entry(output.clone()).or_insert(Entry::Unknown);
            }
        }
        let value = match self.entries.get(output) {
            _ if !self.unsupported.is_empty() => return Ok((None, self.unsupported)),
            Some(Entry::Value(value)) => value.clone(),
            Some(Entry::Unknown | Entry::Constant(_) | Entry::Quantized(_)) | None => {
                let expected = "a float value computed from the input";
                let found = format!("{:?}, which is not", name::shown(output));
                return Err(ImportError::field("graph.output", expected, found));
            }
        };
        let value = match self.in_order(output, &value) {
            Ok(value) => value,
            Err(problem) => return Ok((None, vec![problem.of(output, "output")])),
        };
        self.finish(value.id).map(|quantized| (Some(quantized), Vec::new()))
    }

    fn finish(self, output: ValueId) -> Result<Quantized, ImportError> {
        let model = Model { name: self.name, input: self.input, nodes: self.nodes, output };
        let (model, kept) = simplify(model);
        let (model, places) = separate(model);
        model.check()?;
        let moved: Vec<Option<ValueId>> =
            kept.into_iter().map(|value| Some(places[value?.0])).collect();
        // Of values that became one, the last is what is left of them; of layers, the first, which
        // took the others in.
        let values = BTreeMap::from_iter(self.quantizers).into_iter();
        let values = values.filter_map(|(id, quantizer)| Some((moved[id.0]?, quantizer))).collect();
        let grids = BTreeMap::from_iter(self.grids).into_iter().rev();
        let weights =
            grids.filter_map(|(id, grid)| Some((moved[id.0]?.producer()?, grid.into()))).collect();
        Ok(Quantized { model, values, weights, notes: self.notes })
    }

    /// What a node's results are: the first of them, or all.
    fn node(&mut self, node: &NodeProto) -> Result<Vec<Entry>, Problem> {
        let foreign = !node.domain.is_empty() && node.domain != "ai.onnx";
        if foreign && !is_qonnx(node) {
            return Err(unsupported(node));
        }
        let inputs: Vec<Option<Entry>> =
            node.input.iter().map(|name| self.entry(name)).collect::<Result<_, _>>()?;
        if !is_known(&node.op_type) {
            return Err(unsupported(node));
        }
        let inputs = Inputs(inputs);
        if inputs.any_unknown() {
            return Ok(vec![Entry::Unknown]);
        }
        if node.op_type == "Split" && inputs.is_value(0) {
            return Ok(self.split(node, &inputs)?.into_iter().map(Entry::Value).collect());
        }
        self.first(node, &inputs).map(|entry| vec![entry])
    }

    /// What a node's first result is.
    fn first(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Entry, Problem> {
        match node.op_type.as_str() {
            "Constant" => {
                let constant = node.constant()?;
                self.spend(constant.len())?;
                Ok(constant.into())
            }
            "Identity" if inputs.is_value(0) => Ok(Entry::Value(inputs.value(0)?)),
            "Cast" if inputs.is_value(0) => self.cast(node, inputs.value(0)?).map(Entry::Value),
            "Dropout" if inputs.is_value(0) => self.dropout(inputs).map(Entry::Value),
            "Softmax" | "LogSoftmax" if inputs.is_value(0) => {
                self.softmax(node, inputs.value(0)?).map(Entry::Value)
            }
            "Shape" if inputs.is_value(0) => self.shape_of(node, &inputs.value(0)?),
            "Quant" | "BipolarQuant" => self.qonnx(node, inputs),
            "QuantizeLinear" if inputs.is_value(0) => self.quantize(node, inputs),
            "Identity" if let Some(pending) = inputs.quantized() => Ok(Entry::Quantized(pending)),
            "Clip" if let Some(pending) = inputs.quantized() => self.narrow(inputs, pending),
            "DequantizeLinear" if let Some(pending) = inputs.quantized() => {
                self.dequantize(node, inputs, pending).map(Entry::Value)
            }
            "Reshape" | "Flatten" | "Transpose" | "Squeeze" | "Unsqueeze"
                if let Some(pending) = inputs.quantized() =>
            {
                let value = self.seen_otherwise(node, inputs, &pending.value)?;
                Ok(Entry::Quantized(Pending { value, ..pending }))
            }
            _ if inputs.all_constant() => {
                let constants = inputs.constants()?;
                let budget = self.budget;
                let result = fold::evaluate(node, &constants, budget)?;
                self.spend(result.len())?;
                Ok(result.into())
            }
            _ => self.operation(node, inputs).map(Entry::Value),
        }
    }

    fn operation(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        match node.op_type.as_str() {
            "Conv" => self.convolution(node, inputs),
            "ConvTranspose" => self.transposed_convolution(node, inputs),
            "Gemm" => self.gemm(node, inputs),
            "MatMul" => self.matmul(node, inputs),
            "BatchNormalization" => self.batch_norm(node, inputs),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(node, inputs),
            "Sum" | "Mean" => self.sum(node, inputs),
            "Neg" => self.negated(node, &inputs.value(0)?),
            "Max" | "Min" => self.bounded(node, inputs),
            "Relu" => self.push(node, Op::Relu { max: None }, &[&inputs.value(0)?]),
            "Clip" => self.clip(node, inputs),
            "PRelu" => self.prelu(node, inputs),
            "Pow" => self.power(node, inputs),
            "Sigmoid" | "Tanh" | "HardSigmoid" | "HardSwish" | "Swish" | "Gelu" | "LeakyRelu"
            | "Elu" | "Softplus" => self.function(node, &inputs.value(0)?),
            "MaxPool" => self.max_pool(node, &inputs.value(0)?),
            "AveragePool" => self.average_pool(node, &inputs.value(0)?),
            "GlobalAveragePool" => self.global_pool(node, &inputs.value(0)?, Op::AvgPool),
            "GlobalMaxPool" => self.global_pool(node, &inputs.value(0)?, Op::MaxPool),
            "ReduceMean" => self.reduce_mean(node, inputs),
            "Flatten" | "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" => {
                self.seen_otherwise(node, inputs, &inputs.value(0)?)
            }
            "Concat" => self.concat(node, inputs),
            "Pad" => self.pad(node, inputs),
            "RequantShift" => self.requant_shift(node, inputs),
            "Slice" => self.slice(node, inputs),
            "Gather" => self.gather(node, inputs),
            _ => Err(unsupported(node)),
        }
    }

    fn entry(&self, name: &str) -> Result<Option<Entry>, Problem> {
        if name.is_empty() {
            return Ok(None);
        }
        self.entries.get(name).cloned().map(Some).ok_or_else(|| {
            let shown = name::shown(name);
            Problem::malformed(format!("no node computes its input {shown:?}"))
        })
    }

    /// What stands in for the result of a node that is not supported, so that those behind it are
    /// looked at, too.
    fn assumed(&mut self, node: &NodeProto) -> Entry {
        let Some(name) = node.output.first() else { return Entry::Unknown };
        let first = node.input.first().and_then(|name| self.entries.get(name));
        let lengths = match (self.said.get(name), first) {
            (Some(said), _) => said.clone(),
            (None, Some(Entry::Value(value))) if keeps_shape(&node.op_type) => {
                value.layout.lengths()
            }
            (None, _) => return Entry::Unknown,
        };
        let shape = match lengths[..] {
            [c] => [c, 1, 1],
            [c, length] => [c, 1, length],
            [c, h, w] => [c, h, w],
            _ => [lengths.iter().product(), 1, 1],
        };
        // Any operation will do: a network with a stand-in is never given out.
        let layout = Rc::new(Layout::natural(&lengths));
        let id = ValueId(self.nodes.len() + 1);
        let (name, op) = (name::shown(label(node)), Op::Relu { max: None });
        self.non_negative.push(false);
        self.nodes.push(Node { name, op, inputs: vec![ValueId::INPUT], output: id, shape });
        Entry::Value(Value { id, layout })
    }

    /// Appends an operation that leaves every element where it is.
    pub(super) fn push(
        &mut self,
        node: &NodeProto,
        op: Op,
        inputs: &[&Value],
    ) -> Result<Value, Problem> {
        let ids: Vec<ValueId> = inputs.iter().map(|value| value.id).collect();
        let id = self.append(node, op, &ids)?;
        Ok(Value { id, layout: Rc::clone(&inputs[0].layout) })
    }

    /// Appends an operation whose result the graph sees as it is stored, as axes of these lengths.
    pub(super) fn push_as(
        &mut self,
        node: &NodeProto,
        op: Op,
        input: &Value,
        lengths: impl FnOnce([usize; 3]) -> Vec<usize>,
    ) -> Result<Value, Problem> {
        let id = self.append(node, op, &[input.id])?;
        let layout = Rc::new(Layout::natural(&lengths(self.stored(id))));
        Ok(Value { id, layout })
    }

    /// Appends an operation.
    pub(super) fn append(
        &mut self,
        node: &NodeProto,
        op: Op,
        inputs: &[ValueId],
    ) -> Result<ValueId, Problem> {
        let shapes: Vec<[usize; 3]> = inputs.iter().map(|&id| self.stored(id)).collect();
        let shape = op.output_shape(label(node), &shapes)?;
        check_shape(label(node), shape)?;
        let output = ValueId(self.nodes.len() + 1);
        let name = self.unique(label(node));
        self.non_negative.push(match op {
            Op::Relu { .. } => true,
            Op::Conv(_) | Op::PartRelu(_) | Op::Function(_) => false,
            Op::Add
            | Op::Mul
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::View(_)
            | Op::Reorder(_)
            | Op::Concat => inputs.iter().all(|input| self.non_negative[input.0]),
        });
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), output, shape });
        Ok(output)
    }

    /// The shape of one image of a value, as it is stored.
    pub(super) fn shape(&self, value: &Value) -> [usize; 3] {
        self.stored(value.id)
    }

    pub(super) fn stored(&self, id: ValueId) -> [usize; 3] {
        id.producer().map_or(self.input, |node| self.nodes[node].shape)
    }

    /// Takes so many elements from the budget for copies of constants.
    pub(super) fn spend(&mut self, elements: usize) -> Result<(), Problem> {
        self.budget = self.budget.checked_sub(elements).ok_or_else(|| {
            Problem::new(
                "the file unfolds into far more weights than it holds",
                "share fewer constants",
            )
        })?;
        Ok(())
    }

    fn unique(&mut self, name: &str) -> String {
        let mut unique = if name.is_empty() { "unnamed".to_owned() } else { name::shown(name) };
        while let Some(count) = self.names.get_mut(&unique) {
            *count += 1;
            unique = format!("{unique}.{count}");
        }
        self.names.insert(unique.clone(), 1);
        unique
    }

    fn shape_of(&self, node: &NodeProto, value: &Value) -> Result<Entry, Problem> {
        let mut dims = vec![Int::Batch];
        dims.extend(value.layout.lengths().into_iter().map(|d| Int::Known(d as i64)));
        fold::part_of_shape(node, &dims).map(Entry::from)
    }

    /// Whether a node's result is only probabilities of what it reads.
    pub(super) fn is_probability(&self, node: &NodeProto) -> bool {
        node.output.first().is_some_and(|output| self.probabilities.contains(output))
    }

    /// The output with its elements in the graph's order.
    fn in_order(&mut self, output: &str, value: &Value) -> Result<Value, Problem> {
        if value.layout.is_natural() {
            return Ok(value.clone());
        }
        let node = NodeProto::new("Identity", output, &[], &[output]);
        let (axes, elements) = (0..value.layout.rank(), self.shape(value).iter().product());
        self.arranged(&node, value, &axes.collect::<Vec<_>>(), [elements, 1, 1])
    }
}

/// Shapes that the file says values have, those that are fixed.
fn said(graph: &GraphProto) -> HashMap<String, Vec<usize>> {
    // Lengths of the batch may be anything; all others have to be numbers.
    let infos = graph.value_info.iter().filter_map(|info| {
        let dims = ends::dims(info)?;
        let lengths: Option<Vec<usize>> =
            dims.get(1..)?.iter().map(|d| d.and_then(|d| usize::try_from(d).ok())).collect();
        let lengths = lengths.filter(|lengths| !lengths.is_empty())?;
        let elements = lengths.iter().try_fold(1usize, |product, &d| product.checked_mul(d))?;
        (elements > 0).then_some((info.name.clone(), lengths))
    });
    infos.collect()
}

impl From<Constant> for Entry {
    fn from(constant: Constant) -> Self {
        Self::Constant(Rc::new(constant))
    }
}

impl Problem {
    pub(super) fn of(self, node: &str, operator: &str) -> Unsupported {
        // Reasons quote names, too.
        let reason = name::shortened(&self.reason, name::MAX_REASON);
        Unsupported {
            node: name::shown(node),
            operator: name::shown(operator),
            reason,
            advice: self.advice,
        }
    }
}

/// A node's name for people.
pub(super) fn label(node: &NodeProto) -> &str {
    let output = node.output.first().map_or("", String::as_str);
    if node.name.is_empty() { output } else { &node.name }
}

fn operator(node: &NodeProto) -> String {
    if node.domain.is_empty() {
        node.op_type.clone()
    } else {
        format!("{}::{}", node.domain, node.op_type)
    }
}
