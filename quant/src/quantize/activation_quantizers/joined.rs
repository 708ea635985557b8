//! Values that are rounded alike.

use model::{Model, Op, ValueId};

use super::ties::Ties;

/// Values that are rounded alike: concatenations with their parts.
pub(super) struct Joined {
    /// The class of every value that is in one: the least of it.
    pub(super) class: Vec<Option<usize>>,
    /// By class: whether any of its values can be negative.
    pub(super) signed: Vec<bool>,
    /// By class: its concatenation of the most elements.
    pub(super) largest: Vec<ValueId>,
    /// By value: whether it is a concatenation with parts that no larger one of its class has.
    pub(super) observed: Vec<bool>,
}

impl Joined {
    pub(super) fn of(model: &Model, signed_input: bool) -> Self {
        let values = model.nodes.len() + 1;
        let mut joined: Vec<&model::Node> =
            model.nodes.iter().filter(|node| matches!(node.op, Op::Concat)).collect();
        let mut ties = Ties::new((0..values).map(|_| None));
        for (node, &input) in
            joined.iter().flat_map(|node| node.inputs.iter().map(move |i| (node, i)))
        {
            ties.join(node.output.0, input.0, 0.0);
            sliced_from(model, input)
                .iter()
                .for_each(|value| ties.join(node.output.0, value.0, 0.0));
        }
        let roots: Vec<usize> = joined.iter().map(|node| ties.root(node.output.0)).collect();
        let class: Vec<Option<usize>> = (0..values)
            .map(|value| Some(ties.root(value)).filter(|root| roots.contains(root)))
            .collect();
        let mut signed = vec![false; values];
        for (value, negative) in can_be_negative(model, signed_input).into_iter().enumerate() {
            if let Some(class) = class[value] {
                signed[class] |= negative;
            }
        }
        // The largest concatenations first: those whose parts they have, too, tell nothing more.
        joined.sort_by_key(|node| std::cmp::Reverse(node.elements()));
        let mut largest = vec![ValueId::INPUT; values];
        let (mut observed, mut covered) = (vec![false; values], vec![false; values]);
        for node in joined {
            let root = ties.root(node.output.0);
            if largest[root] == ValueId::INPUT {
                largest[root] = node.output;
            }
            observed[node.output.0] = node.inputs.iter().any(|input| !covered[input.0]);
            node.inputs.iter().for_each(|input| covered[input.0] = true);
        }
        Self { class, signed, largest, observed }
    }
}

/// By value: whether it can be negative.
fn can_be_negative(model: &Model, signed_input: bool) -> Vec<bool> {
    let mut negative = vec![signed_input];
    for node in &model.nodes {
        negative.push(match &node.op {
            Op::Relu { .. } => false,
            Op::Function(function) => function.is_signed(),
            Op::Conv(_) | Op::PartRelu(_) | Op::Add => true,
            Op::Mul
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::View(_)
            | Op::Reorder(_)
            | Op::Concat => node.inputs.iter().any(|input| negative[input.0]),
        });
    }
    negative
}

/// The values that a part of a concatenation is a slice of, if they are rounded anyway, as finely
/// as it is.
fn sliced_from(model: &Model, part: ValueId) -> Vec<ValueId> {
    let (mut value, mut passed) = (part, Vec::new());
    while let Some(node) = value.producer().map(|node| &model.nodes[node]) {
        passed.push(value);
        match node.op {
            Op::View(_) | Op::Reorder(_) => value = node.inputs[0],
            Op::Relu { max: None } | Op::Function(_) | Op::Concat => return passed,
            Op::Conv(_) | Op::Relu { max: Some(_) } | Op::PartRelu(_) | Op::Add | Op::Mul => break,
            Op::MaxPool(_) | Op::AvgPool(_) => break,
        }
    }
    Vec::new()
}
