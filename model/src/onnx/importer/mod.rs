//! The walk over a graph's nodes, in order.

mod append;
mod dispatch;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use protocols::plan::{CORRELATIONS, KEYS};

use super::constant::{Constant, Grid};
use super::ends;
use super::error::{ImportError, Problem, Unsupported};
use super::layout::Layout;
use super::name;
use super::proto::{GraphProto, NodeProto};
use super::qdq::import::Pending;
use super::qdq::{Quantized, Quantizer};
use super::separate::separate;
use super::simplify::simplify;
use crate::model::{Model, Node, ValueId};

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
