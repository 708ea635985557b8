//! Building a graph node by node; every node is checked as it comes.

use std::collections::HashSet;

use protocols::plan::{self, Order, Preprocess, Term, View, Window};
use protocols::steps::Linearized;

use super::infer::infer;
use super::{Graph, Linear, Lookup, Node, Op, Wire, WireId};
use crate::Error;

/// A graph under construction. Each method adds a node, and computes and checks its wire.
#[derive(Clone, Debug)]
pub struct Builder {
    name: String,
    preprocess: Preprocess,
    nodes: Vec<Node>,
    names: HashSet<String>,
}

impl Builder {
    pub(super) fn new(name: String, preprocess: Preprocess) -> Self {
        Self { name, preprocess, nodes: Vec::new(), names: HashSet::new() }
    }

    /// Adds a node; returns its wire.
    pub fn push(&mut self, name: impl Into<String>, op: Op) -> Result<WireId, Error> {
        let node = name.into();
        if self.names.contains(&node) {
            return Err(Error::DuplicateName { node });
        }
        let inputs = op.inputs().into_iter().map(|wire| self.readable(&node, wire));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let wire = infer(&node, &op, &inputs)?;
        self.names.insert(node.clone());
        self.nodes.push(Node { name: node, op, wire });
        Ok(self.nodes.len() - 1)
    }

    /// The network's input, from zero on or two's complement.
    pub fn input(
        &mut self,
        name: impl Into<String>,
        shape: [usize; 3],
        bits: u8,
        signed: bool,
        scale: f64,
    ) -> Result<WireId, Error> {
        let low = plan::Wire::least(bits, signed);
        self.push(name, Op::Input { shape, bits, low, scale })
    }

    /// A linear layer.
    pub fn linear(&mut self, name: impl Into<String>, linear: Linear) -> Result<WireId, Error> {
        self.push(name, Op::Linear(linear))
    }

    /// A sum of wires, each with its left shift.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        terms: &[(WireId, u8)],
    ) -> Result<WireId, Error> {
        let terms = terms.iter().map(|&(wire, shift)| Term { wire, shift }).collect();
        self.push(name, Op::Add { terms })
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, name: impl Into<String>, input: WireId) -> Result<WireId, Error> {
        self.push(name, Op::Relu { input })
    }

    /// A requantization that drops `shift` bits and saturates to `bits`, from zero on or two's
    /// complement.
    pub fn requant(
        &mut self,
        name: impl Into<String>,
        input: WireId,
        shift: u8,
        bits: u8,
        signed: bool,
    ) -> Result<WireId, Error> {
        let low = plan::Wire::least(bits, signed);
        self.push(name, Op::Requant { input, shift, bits, low, linearized: None })
    }

    /// A requantization behind a ReLU of some elements, to a signed result of `bits`.
    pub fn linearized(
        &mut self,
        name: impl Into<String>,
        input: WireId,
        (shift, bits): (u8, u8),
        linearized: Linearized,
    ) -> Result<WireId, Error> {
        let low = plan::Wire::least(bits, true);
        let linearized = Some(linearized);
        self.push(name, Op::Requant { input, shift, bits, low, linearized })
    }

    /// A function of one value, by its table.
    pub fn lookup(&mut self, name: impl Into<String>, lookup: Lookup) -> Result<WireId, Error> {
        self.push(name, Op::Lookup(lookup))
    }

    /// The maximum over windows.
    pub fn max_pool(
        &mut self,
        name: impl Into<String>,
        input: WireId,
        window: Window,
    ) -> Result<WireId, Error> {
        self.push(name, Op::MaxPool { input, window })
    }

    /// The sum over windows, whose scale is that of the average.
    pub fn sum_pool(
        &mut self,
        name: impl Into<String>,
        input: WireId,
        window: Window,
    ) -> Result<WireId, Error> {
        self.push(name, Op::SumPool { input, window })
    }

    /// A strided slice with zero padding.
    pub fn view(
        &mut self,
        name: impl Into<String>,
        input: WireId,
        view: View,
    ) -> Result<WireId, Error> {
        self.push(name, Op::View { input, view })
    }

    /// The same elements in another order and shape.
    pub fn reorder(
        &mut self,
        name: impl Into<String>,
        input: WireId,
        order: Order,
    ) -> Result<WireId, Error> {
        self.push(name, Op::Reorder { input, order })
    }

    /// Channels of wires of one scale, one after the other.
    pub fn concat(&mut self, name: impl Into<String>, inputs: &[WireId]) -> Result<WireId, Error> {
        self.push(name, Op::Concat { inputs: inputs.to_vec() })
    }

    /// The product of a wire and another of its shape, or of `[channels, 1, 1]`.
    pub fn product(
        &mut self,
        name: impl Into<String>,
        input: WireId,
        gate: WireId,
    ) -> Result<WireId, Error> {
        self.push(name, Op::Product { input, gate })
    }

    /// The network's output.
    pub fn output(&mut self, name: impl Into<String>, input: WireId) -> Result<WireId, Error> {
        self.push(name, Op::Output { input })
    }

    /// A wire added before.
    ///
    /// # Panics
    /// Where there is no such wire.
    pub fn wire(&self, id: WireId) -> &Wire {
        &self.nodes[id].wire
    }

    /// The graph, which has one input and one output.
    pub fn finish(self) -> Result<Graph, Error> {
        let input = self.only("input", |op| matches!(op, Op::Input { .. }))?;
        let output = self.only("output", |op| matches!(op, Op::Output { .. }))?;
        let Self { name, preprocess, nodes, .. } = self;
        Ok(Graph { name, preprocess, nodes, input, output })
    }

    fn readable(&self, node: &str, wire: WireId) -> Result<&Wire, Error> {
        let source = self.nodes.get(wire).filter(|source| !matches!(source.op, Op::Output { .. }));
        source
            .map(|source| &source.wire)
            .ok_or_else(|| Error::UnknownWire { node: node.to_owned(), wire })
    }

    fn only(&self, what: &'static str, is: impl Fn(&Op) -> bool) -> Result<WireId, Error> {
        let found: Vec<WireId> =
            (0..self.nodes.len()).filter(|&id| is(&self.nodes[id].op)).collect();
        match found[..] {
            [id] => Ok(id),
            _ => Err(Error::Count { graph: self.name.clone(), what, found: found.len() }),
        }
    }
}
