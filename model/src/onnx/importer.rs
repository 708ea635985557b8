//! The walk over a graph's nodes, in order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use protocols::plan::{CORRELATIONS, KEYS};

use super::constant::{Constant, Grid, Int};
use super::error::{ImportError, Problem, Unsupported};
use super::fold;
use super::name;
use super::proto::{GraphProto, NodeProto, ValueInfoProto};
use super::qdq::import::Pending;
use super::qdq::{Quantized, Quantizer};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) id: ValueId,
    /// `[N, C * H * W]` rather than `[N, C, H, W]`.
    pub(super) flat: bool,
}

/// The state of an import: the network so far.
pub(super) struct Importer {
    name: String,
    input: [usize; 3],
    /// The number of images, if the file fixes it.
    pub(super) batch: Option<i64>,
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
    unsupported: Vec<Unsupported>,
}

impl Importer {
    /// An importer of a graph from a file of so many bytes.
    pub(super) fn new(graph: &GraphProto, bytes: usize) -> Result<Self, ImportError> {
        let mut unsupported = Vec::new();
        let mut entries = HashMap::new();
        for tensor in &graph.initializer {
            let entry = match Constant::read(tensor) {
                Ok(constant) => Entry::Constant(Rc::new(constant)),
                Err(problem) => {
                    unsupported.push(problem.of(&tensor.name, "initializer"));
                    Entry::Unknown
                }
            };
            entries.insert(tensor.name.clone(), entry);
        }
        let inputs: Vec<_> =
            graph.input.iter().filter(|input| !entries.contains_key(&input.name)).collect();
        let [input] = inputs[..] else {
            return Err(ImportError::field("graph.input", "one input", inputs.len().to_string()));
        };
        let (batch, shape, flat) = input_shape(input)?;
        entries.insert(input.name.clone(), Entry::Value(Value { id: ValueId::INPUT, flat }));
        Ok(Self {
            name: name::shown(&graph.name),
            input: shape,
            batch,
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
            unsupported,
        })
    }

    /// The network if everything is supported, and everything that is not.
    pub(super) fn run(
        mut self,
        graph: &GraphProto,
    ) -> Result<(Option<Quantized>, Vec<Unsupported>), ImportError> {
        for node in &graph.node {
            let entry = self.node(node).unwrap_or_else(|problem| {
                self.unsupported.push(problem.of(label(node), &operator(node)));
                Entry::Unknown
            });
            if let Some(output) = node.output.first() {
                self.entries.insert(output.clone(), entry);
            }
            for output in node.output.iter().skip(1).filter(|name| !name.is_empty()) {
                self.entries.entry(output.clone()).or_insert(Entry::Unknown);
            }
        }
        let [output] = &graph.output[..] else {
            return Err(ImportError::field(
                "graph.output",
                "one output",
                graph.output.len().to_string(),
            ));
        };
        let output = match self.entries.get(&output.name) {
            Some(Entry::Value(value)) => value.id,
            Some(Entry::Unknown) if !self.unsupported.is_empty() => {
                return Ok((None, self.unsupported));
            }
            Some(Entry::Unknown | Entry::Constant(_) | Entry::Quantized(_)) | None => {
                let found = format!("{:?}, which is not", output.name);
                return Err(ImportError::field(
                    "graph.output",
                    "a value computed from the input",
                    found,
                ));
            }
        };
        if !self.unsupported.is_empty() {
            return Ok((None, self.unsupported));
        }
        let nodes = std::mem::take(&mut self.nodes);
        let (model, moved) = simplify(Model { name: self.name, input: self.input, nodes, output });
        model.check()?;
        // Of values that became one, the last is what is left of them; of layers, the first, which
        // took the others in.
        let values = BTreeMap::from_iter(self.quantizers).into_iter();
        let values = values.filter_map(|(id, quantizer)| Some((moved[id.0]?, quantizer))).collect();
        let grids = BTreeMap::from_iter(self.grids).into_iter().rev();
        let weights =
            grids.filter_map(|(id, grid)| Some((moved[id.0]?.producer()?, grid.into()))).collect();
        Ok((Some(Quantized { model, values, weights }), self.unsupported))
    }

    /// What a node's first result is.
    fn node(&mut self, node: &NodeProto) -> Result<Entry, Problem> {
        if !node.domain.is_empty() && node.domain != "ai.onnx" {
            return Err(unsupported(node));
        }
        let inputs: Vec<Option<Entry>> =
            node.input.iter().map(|name| self.entry(name)).collect::<Result<_, _>>()?;
        if !is_known(&node.op_type) {
            return Err(unsupported(node));
        }
        if inputs.iter().flatten().any(|entry| matches!(entry, Entry::Unknown)) {
            return Ok(Entry::Unknown);
        }
        let inputs = Inputs(inputs);
        match node.op_type.as_str() {
            "Constant" => {
                let constant = node.constant()?;
                self.spend(constant.len())?;
                Ok(constant.into())
            }
            "Identity" | "Dropout" if inputs.is_value(0) => Ok(Entry::Value(inputs.value(0)?)),
            "Cast" if inputs.is_value(0) => self.cast(node, inputs.value(0)?).map(Entry::Value),
            "Shape" if inputs.is_value(0) => self.shape_of(node, inputs.value(0)?),
            "QuantizeLinear" if inputs.is_value(0) => self.quantize(node, &inputs),
            "Identity" if let Some(pending) = inputs.quantized() => Ok(Entry::Quantized(pending)),
            "Clip" if let Some(pending) = inputs.quantized() => self.narrow(&inputs, pending),
            "DequantizeLinear" if let Some(pending) = inputs.quantized() => {
                self.dequantize(node, &inputs, pending).map(Entry::Value)
            }
            _ if inputs.all_constant() => {
                let constants = inputs.constants()?;
                let budget = self.budget;
                let result = fold::evaluate(node, &constants, budget)?;
                self.spend(result.len())?;
                Ok(result.into())
            }
            _ => self.operation(node, &inputs).map(Entry::Value),
        }
    }

    fn operation(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        match node.op_type.as_str() {
            "Conv" => self.convolution(node, inputs),
            "Gemm" => self.gemm(node, inputs),
            "MatMul" => self.matmul(node, inputs),
            "BatchNormalization" => self.batch_norm(node, inputs),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(node, inputs),
            "Relu" => self.relu(node, inputs.value(0)?, None),
            "Clip" => self.clip(node, inputs),
            "Pow" => self.power(node, inputs),
            "Sigmoid" | "Tanh" | "HardSigmoid" | "HardSwish" | "Swish" | "Gelu" | "LeakyRelu"
            | "Elu" | "Softplus" => self.function(node, inputs.value(0)?),
            "MaxPool" => self.max_pool(node, inputs.value(0)?),
            "AveragePool" => self.average_pool(node, inputs.value(0)?),
            "GlobalAveragePool" => self.global_pool(node, inputs.value(0)?, Op::AvgPool),
            "GlobalMaxPool" => self.global_pool(node, inputs.value(0)?, Op::MaxPool),
            "ReduceMean" => self.reduce_mean(node, inputs),
            "Flatten" => self.flatten(node, inputs.value(0)?),
            "Reshape" => self.reshape(inputs),
            "Squeeze" => self.squeeze(node, inputs),
            "Unsqueeze" => self.unsqueeze(node, inputs),
            "Pad" => self.pad(node, inputs),
            "Slice" => self.slice(node, inputs),
            _ => Err(unsupported(node)),
        }
    }

    fn entry(&self, name: &str) -> Result<Option<Entry>, Problem> {
        if name.is_empty() {
            return Ok(None);
        }
        self.entries.get(name).cloned().map(Some).ok_or_else(|| {
            Problem::malformed(format!("no earlier node computes its input {name:?}"))
        })
    }

    /// Appends an operation.
    pub(super) fn push(
        &mut self,
        node: &NodeProto,
        op: Op,
        inputs: &[Value],
    ) -> Result<Value, Problem> {
        let (first, last) = (inputs[0], inputs[inputs.len() - 1]);
        let shape = op.output_shape(label(node), self.shape(first), self.shape(last))?;
        check_shape(label(node), shape)?;
        let output = ValueId(self.nodes.len() + 1);
        let name = self.unique(label(node));
        let inputs: Vec<ValueId> = inputs.iter().map(|value| value.id).collect();
        self.non_negative.push(match op {
            Op::Relu { .. } => true,
            Op::Conv(_) | Op::Function(_) => false,
            Op::Add | Op::MaxPool(_) | Op::AvgPool(_) | Op::View(_) => {
                inputs.iter().all(|input| self.non_negative[input.0])
            }
        });
        self.nodes.push(Node { name, op, inputs, output, shape });
        Ok(Value { id: output, flat: first.flat })
    }

    /// The shape of one image of a value, flat or not.
    pub(super) fn shape(&self, value: Value) -> [usize; 3] {
        value.id.producer().map_or(self.input, |node| self.nodes[node].shape)
    }

    /// The operand as `[C, H, W]`, which it has to be in the graph, too.
    pub(super) fn image(&self, value: Value) -> Result<[usize; 3], Problem> {
        if value.flat {
            return Err(Problem::new(
                "it is applied to a flat vector",
                "remove the Flatten before it",
            ));
        }
        Ok(self.shape(value))
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

    fn shape_of(&self, node: &NodeProto, value: Value) -> Result<Entry, Problem> {
        let shape = self.shape(value);
        let lengths = if value.flat { vec![shape.iter().product()] } else { shape.to_vec() };
        let mut dims = vec![Int::Batch];
        dims.extend(lengths.into_iter().map(|d| Int::Known(d as i64)));
        fold::part_of_shape(node, &dims).map(Entry::from)
    }
}

impl From<Constant> for Entry {
    fn from(constant: Constant) -> Self {
        Self::Constant(Rc::new(constant))
    }
}

impl Problem {
    fn of(self, node: &str, operator: &str) -> Unsupported {
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

/// The operands of a node; `None` for those that are left out.
pub(super) struct Inputs(Vec<Option<Entry>>);

impl Inputs {
    fn get(&self, i: usize) -> Option<&Entry> {
        self.0.get(i)?.as_ref()
    }

    pub(super) fn is_value(&self, i: usize) -> bool {
        matches!(self.get(i), Some(Entry::Value(_)))
    }

    pub(super) fn value(&self, i: usize) -> Result<Value, Problem> {
        match self.get(i) {
            Some(Entry::Value(value)) => Ok(*value),
            Some(Entry::Constant(_)) => Err(Problem::new(
                format!("input {i} is a constant"),
                "exchange the operands, or compute it when exporting",
            )),
            Some(Entry::Quantized(_)) => Err(Problem::new(
                format!("input {i} is quantized"),
                "put the operator between DequantizeLinear and QuantizeLinear (the format QDQ)",
            )),
            Some(Entry::Unknown) | None => Err(Problem::malformed(format!("input {i} is missing"))),
        }
    }

    /// A constant operand, `None` if it is left out.
    pub(super) fn optional(&self, i: usize) -> Result<Option<&Rc<Constant>>, Problem> {
        match self.get(i) {
            Some(Entry::Constant(constant)) => Ok(Some(constant)),
            Some(Entry::Value(_) | Entry::Quantized(_)) => Err(Problem::new(
                format!("input {i} depends on the network's input"),
                "only constants are supported there",
            )),
            Some(Entry::Unknown) | None => Ok(None),
        }
    }

    pub(super) fn constant(&self, i: usize) -> Result<&Rc<Constant>, Problem> {
        self.optional(i)?.ok_or_else(|| Problem::malformed(format!("input {i} is missing")))
    }

    /// The first operand, where it is between QuantizeLinear and DequantizeLinear.
    fn quantized(&self) -> Option<Pending> {
        if let Some(Entry::Quantized(pending)) = self.get(0) { Some(*pending) } else { None }
    }

    fn all_constant(&self) -> bool {
        self.0.iter().flatten().next().is_some()
            && self.0.iter().flatten().all(|entry| matches!(entry, Entry::Constant(_)))
    }

    fn constants(&self) -> Result<Vec<Option<&Constant>>, Problem> {
        (0..self.0.len()).map(|i| Ok(self.optional(i)?.map(|constant| &**constant))).collect()
    }
}

/// The number of images if it is fixed, the shape of one, and whether it is a flat vector.
fn input_shape(input: &ValueInfoProto) -> Result<(Option<i64>, [usize; 3], bool), ImportError> {
    let field = format!("graph.input {:?}", input.name);
    let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let shape = tensor.and_then(|t| t.shape.as_ref());
    let shape =
        shape.ok_or_else(|| ImportError::field(&*field, "a tensor with a shape", "none"))?;
    let dims: Vec<Option<i64>> = shape.dim.iter().map(|d| d.dim_value.filter(|&d| d > 0)).collect();
    let expected =
        "[N, C, H, W] or [N, C], all but N fixed and of a sane size: export with fixed sizes";
    let sizes: Vec<Option<usize>> =
        dims.iter().map(|d| d.and_then(|d| usize::try_from(d).ok())).collect();
    let (image, flat) = match sizes[..] {
        [_, c, h, w] => (c.zip(h).zip(w).map(|((c, h), w)| [c, h, w]), false),
        [_, c] => (c.map(|c| [c, 1, 1]), true),
        _ => (None, false),
    };
    let image = image.ok_or_else(|| ImportError::field(&*field, expected, format!("{dims:?}")))?;
    check_shape("input", image)?;
    Ok((dims[0], image, flat))
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

fn is_known(operator: &str) -> bool {
    const KNOWN: &[&str] = &[
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Conv",
        "DequantizeLinear",
        "Div",
        "Dropout",
        "Elu",
        "Flatten",
        "Gather",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "MatMul",
        "MaxPool",
        "Mul",
        "Pad",
        "Pow",
        "QuantizeLinear",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Shape",
        "Sigmoid",
        "Slice",
        "Softplus",
        "Squeeze",
        "Sub",
        "Swish",
        "Tanh",
        "Transpose",
        "Unsqueeze",
    ];
    KNOWN.contains(&operator)
}

fn unsupported(node: &NodeProto) -> Problem {
    let advice = match node.op_type.as_str() {
        "Softmax" | "LogSoftmax" => {
            "export the network without it: pq computes the probabilities from the logits"
        }
        "PRelu" | "Selu" | "Mish" | "Erf" => {
            "train the network with ReLU, SiLU, GELU, hard-swish or another supported activation \
             instead"
        }
        "Concat" => "use a residual addition instead, or pad channels and add",
        "InstanceNormalization" | "LayerNormalization" | "GroupNormalization" | "LRN" => {
            "train the network with batch normalization instead"
        }
        "QuantizeLinear" | "DequantizeLinear" => {
            "quantize values, and dequantize what was quantized"
        }
        "QLinearConv"
        | "QLinearMatMul"
        | "QLinearAdd"
        | "ConvInteger"
        | "MatMulInteger"
        | "DynamicQuantizeLinear" => {
            "quantize statically, in the format QDQ (QuantizeLinear and DequantizeLinear)"
        }
        _ => {
            "replace it by supported layers (convolution, fully connected, ReLU, addition, \
             pooling) and train again"
        }
    };
    Problem::new("the operator is not supported", advice)
}
