//! Activations that exporters write as several nodes become one: `x Sigmoid(x)`, `x HardSigmoid(x)`
//! and the error function's GELU, `x (1 + Erf(x / sqrt(2))) / 2` in any order of its factors.
//!
//! A node that anything else reads is left as it is, and so is what it is part of.

use std::collections::{HashMap, HashSet};

use super::constant::Constant;
use super::proto::{GraphProto, NodeProto};

/// How far constants may be from what they stand for: exporters write four digits and more.
const TOLERANCE: f32 = 1e-3;

/// The graph with one node for each such activation.
pub(super) fn join(mut graph: GraphProto) -> GraphProto {
    let (mut gone, mut joined) = (HashSet::new(), Vec::new());
    let seen = Seen::of(&graph);
    for (index, node) in graph.node.iter().enumerate() {
        let Some(found) = seen.gated(node).or_else(|| seen.gelu(node)) else { continue };
        gone.extend(found.inner);
        let output = node.output.first().map_or("", String::as_str);
        joined.push((index, NodeProto::new(found.op, &node.name, &[&found.input], &[output])));
    }
    for (index, node) in joined {
        graph.node[index] = node;
    }
    let mut index = 0;
    graph.node.retain(|_| {
        index += 1;
        !gone.contains(&(index - 1))
    });
    graph
}

/// An activation: its operator, its input, and the nodes that it makes superfluous.
struct Found {
    op: &'static str,
    input: String,
    inner: Vec<usize>,
}

/// What computes each name, what is constant, and how often each is read.
struct Seen<'a> {
    nodes: &'a [NodeProto],
    producer: HashMap<&'a str, usize>,
    uses: HashMap<&'a str, usize>,
    numbers: HashMap<&'a str, f32>,
}

impl<'a> Seen<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let mut uses = HashMap::new();
        let read = graph.node.iter().flat_map(|node| &node.input);
        for name in read.chain(graph.output.iter().map(|output| &output.name)) {
            *uses.entry(name.as_str()).or_insert(0) += 1;
        }
        let outputs = graph.node.iter().enumerate();
        let producer =
            outputs.flat_map(|(at, node)| node.output.iter().map(move |name| (name.as_str(), at)));
        // Larger tensors are not looked at.
        let small =
            graph.initializer.iter().filter(|tensor| tensor.dims.iter().all(|&length| length == 1));
        let stored = small.filter_map(|tensor| {
            Some((tensor.name.as_str(), number(&Constant::read(tensor).ok()?)?))
        });
        let constants = graph.node.iter().filter(|node| node.op_type == "Constant");
        let written = constants.filter_map(|node| {
            Some((node.output.first()?.as_str(), number(&node.constant().ok()?)?))
        });
        Self {
            nodes: &graph.node,
            producer: producer.collect(),
            uses,
            numbers: stored.chain(written).collect(),
        }
    }

    /// The node that computes a name which nothing else reads.
    fn sole(&self, name: &str, op: &str) -> Option<(usize, &'a NodeProto)> {
        let index = *self.producer.get(name).filter(|_| self.uses.get(name) == Some(&1))?;
        let node = &self.nodes[index];
        (node.op_type == op && node.domain.is_empty()).then_some((index, node))
    }

    fn is(&self, name: &str, wanted: f32) -> bool {
        self.numbers.get(name).is_some_and(|number| (number / wanted - 1.0).abs() < TOLERANCE)
    }

    /// `x Sigmoid(x)` or `x HardSigmoid(x)`.
    fn gated(&self, node: &NodeProto) -> Option<Found> {
        let [a, b] = operands(node, "Mul")?;
        [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
            if let Some((inner, curve)) = self.sole(gate, "Sigmoid")
                && reads(curve, x)
            {
                return Some(Found { op: "Swish", input: x.to_owned(), inner: vec![inner] });
            }
            let (inner, hard) = self.sole(gate, "HardSigmoid")?;
            let wanted = [("alpha", 0.2, 1.0 / 6.0), ("beta", 0.5, 0.5)];
            let swish = wanted.iter().all(|&(name, default, wanted)| {
                hard.float_or(name, default).is_ok_and(|found| (found - wanted).abs() < TOLERANCE)
            });
            (reads(hard, x) && swish).then(|| Found {
                op: "HardSwish",
                input: x.to_owned(),
                inner: vec![inner],
            })
        })
    }

    fn gelu(&self, node: &NodeProto) -> Option<Found> {
        let (mut factors, mut inner, mut half) =
            (operands(node, "Mul")?.to_vec(), Vec::new(), false);
        let mut names = Vec::new();
        // All factors of the product, through products that nothing else reads: a half, `x`, and
        // `1 + Erf`.
        while let Some(name) = factors.pop() {
            if !half && self.is(name, 0.5) {
                half = true;
            } else if let Some((index, product)) = self.sole(name, "Mul") {
                inner.push(index);
                factors.extend(operands(product, "Mul")?);
            } else {
                names.push(name);
            }
            if names.len() > 2 {
                return None;
            }
        }
        let [a, b] = names[..] else { return None };
        let (x, nodes) = self
            .one_and_erf(a, b)
            .map(|nodes| (a, nodes))
            .or_else(|| self.one_and_erf(b, a).map(|nodes| (b, nodes)))?;
        inner.extend(nodes);
        half.then(|| Found { op: "Gelu", input: x.to_owned(), inner })
    }

    /// Whether `name` is `1 + Erf(x / sqrt(2))`: its nodes.
    fn one_and_erf(&self, x: &str, name: &str) -> Option<[usize; 3]> {
        let (added, sum) = self.sole(name, "Add")?;
        let [a, b] = operands(sum, "Add")?;
        let of = if self.is(b, 1.0) { a } else { Some(b).filter(|_| self.is(a, 1.0))? };
        let (erf, curve) = self.sole(of, "Erf")?;
        let scaled = curve.input.first()?;
        if let Some((divided, node)) = self.sole(scaled, "Div") {
            let [a, b] = operands(node, "Div")?;
            return (a == x && self.is(b, std::f32::consts::SQRT_2))
                .then_some([added, erf, divided]);
        }
        let (times, node) = self.sole(scaled, "Mul")?;
        let [a, b] = operands(node, "Mul")?;
        [(a, b), (b, a)]
            .iter()
            .any(|&(of, root)| of == x && self.is(root, std::f32::consts::FRAC_1_SQRT_2))
            .then_some([added, erf, times])
    }
}

/// The element of a float tensor that has one.
fn number(constant: &Constant) -> Option<f32> {
    match constant.as_floats() {
        Ok(&[number]) => Some(number),
        Ok(_) | Err(_) => None,
    }
}

/// Whether a node's first input is this value.
fn reads(node: &NodeProto, value: &str) -> bool {
    node.input.first().is_some_and(|input| input == value)
}

/// The operands of a node of two, if it is this one.
fn operands<'a>(node: &'a NodeProto, op: &str) -> Option<[&'a str; 2]> {
    match &node.input[..] {
        [a, b] if node.op_type == op && node.domain.is_empty() => Some([a, b]),
        _ => None,
    }
}
