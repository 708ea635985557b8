//! Networks with blocks replaced.

use std::collections::HashSet;

use model::{Conv, Model, Node, Op, ValueId};

use super::block::Block;

/// What becomes of a block.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// One convolution stands for it.
    Merge(Conv),
    /// What is added to its result is the result.
    Drop,
}

/// A network with blocks replaced, and where the values of the first one are in it.
pub(super) struct Changed {
    pub(super) model: Model,
    /// By value of the first network; none of what is inside of blocks.
    places: Vec<Option<ValueId>>,
}

impl Changed {
    /// Replaces blocks of a network.
    pub(super) fn of(model: &Model, changes: &[(&Block, Change)]) -> Self {
        let mut changed = Self {
            model: Model { nodes: Vec::new(), ..model.clone() },
            places: vec![None; model.nodes.len() + 1],
        };
        changed.places[0] = Some(ValueId::INPUT);
        for (index, node) in model.nodes.iter().enumerate() {
            let change = changes.iter().find(|(block, _)| block.nodes.contains(&index));
            let place = match change {
                Some((block, Change::Merge(conv))) if block.last() == index => {
                    Some(changed.merged(model, block, conv))
                }
                Some(_) => None,
                None => Some(changed.kept(model, node)),
            };
            changed.places[index + 1] = place;
        }
        changed.model.output = changed.place(model.output);
        changed
    }

    /// Where a value is that is not inside of a block.
    pub(super) fn place(&self, value: ValueId) -> ValueId {
        self.places[value.0].expect("invariant: nothing outside of a block reads what is inside")
    }

    fn merged(&mut self, model: &Model, block: &Block, conv: &Conv) -> ValueId {
        let taken: HashSet<&str> = model.nodes.iter().map(|node| node.name.as_str()).collect();
        let mut name = format!("{}.merged", model.nodes[block.nodes[0]].name);
        while taken.contains(name.as_str()) {
            name.push('_');
        }
        let shape = model.nodes[block.last()].shape;
        let inputs = vec![self.place(block.entry)];
        self.push(Node { name, op: Op::Conv(conv.clone()), inputs, output: ValueId(0), shape })
    }

    /// A node that stays: but for sums that have lost a term, and ReLUs that have nothing to do any
    /// more.
    fn kept(&mut self, model: &Model, node: &Node) -> ValueId {
        let inputs: Vec<ValueId> =
            node.inputs.iter().filter_map(|&input| self.places[input.0]).collect();
        if inputs.len() < node.inputs.len() {
            return inputs[0];
        }
        let lost = node.inputs[0].producer().is_some_and(|producer| {
            let operands = model.nodes[producer].inputs.iter();
            matches!(model.nodes[producer].op, Op::Add)
                && operands.clone().any(|operand| self.places[operand.0].is_none())
        });
        if lost && matches!(node.op, Op::Relu { max: None }) && self.is_positive(inputs[0]) {
            return inputs[0];
        }
        self.push(Node { inputs, ..node.clone() })
    }

    /// Whether no element of a value is below zero.
    fn is_positive(&self, value: ValueId) -> bool {
        let Some(node) = value.producer().map(|node| &self.model.nodes[node]) else { return false };
        match &node.op {
            Op::Relu { .. } => true,
            Op::Function(function) => !function.is_signed(),
            Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::View(_)
            | Op::Reorder(_)
            | Op::Concat
            | Op::Add
            | Op::Mul => node.inputs.iter().all(|&input| self.is_positive(input)),
            Op::Conv(_) | Op::PartRelu(_) => false,
        }
    }

    fn push(&mut self, node: Node) -> ValueId {
        let output = ValueId(self.model.nodes.len() + 1);
        self.model.nodes.push(Node { output, ..node });
        output
    }
}
