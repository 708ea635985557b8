//! What concatenations join gets a scale of its own.
//!
//! Parts of a concatenation are rounded to one scale. Where a part has another that is given, as
//! pixels and ReLUs that are cut off have, a view of everything stands between: it is rounded
//! again. Averages over windows that are no power of two differ by no shift from what they are
//! averages of: a layer of ones stands between.

use std::collections::HashSet;

use protocols::linear::Geometry;

use crate::model::{Conv, Model, Node, Op, ValueId, View};

/// The model with such nodes; also tells where each value is found after it.
pub(super) fn separate(model: Model) -> (Model, Vec<ValueId>) {
    let mut names: HashSet<String> = model.nodes.iter().map(|node| node.name.clone()).collect();
    let output = model.output;
    let mut new = Model { nodes: Vec::with_capacity(model.nodes.len()), ..model };
    let mut moved = vec![ValueId::INPUT];
    for mut node in model.nodes {
        node.inputs.iter_mut().for_each(|input| *input = moved[input.0]);
        // Each reader gets one of its own: other concatenations may have other scales.
        if matches!(node.op, Op::Concat) {
            for input in &mut node.inputs {
                if let Some(op) = between(&new, *input) {
                    let name = unique(&mut names, &node.name);
                    *input = append(&mut new, name, op, vec![*input]);
                }
            }
        }
        moved.push(append(&mut new, node.name, node.op, node.inputs));
    }
    new.output = moved[output.0];
    (new, moved)
}

/// What has to stand between a value and a concatenation.
fn between(model: &Model, value: ValueId) -> Option<Op> {
    let shape = model.shape(value);
    if is_uneven_average(model, value) {
        let [c, in_h, in_w] = shape;
        let geometry = Geometry { in_h, in_w, groups: c, ..pointwise(c) };
        return Some(Op::Conv(Conv { geometry, weight: vec![1.0; c], bias: vec![0.0; c] }));
    }
    (!model.has_free_scale(value)).then(|| Op::View(View::all(shape)))
}

/// Whether a value is an average whose scale is no power of two from that of what it averages.
fn is_uneven_average(model: &Model, mut value: ValueId) -> bool {
    let mut area = 1usize;
    while let Some(node) = value.producer().map(|node| &model.nodes[node]) {
        match &node.op {
            Op::AvgPool(window) => area = area.saturating_mul(window.len()),
            Op::View(_) | Op::Reorder(_) | Op::MaxPool(_) => {}
            Op::Conv(_) | Op::Relu { .. } | Op::PartRelu(_) | Op::Function(_) => break,
            Op::Add | Op::Mul | Op::Concat => break,
        }
        value = node.inputs[0];
    }
    !area.is_power_of_two()
}

fn append(model: &mut Model, name: String, op: Op, inputs: Vec<ValueId>) -> ValueId {
    let shapes: Vec<[usize; 3]> = inputs.iter().map(|&input| model.shape(input)).collect();
    let shape = op.output_shape(&name, &shapes).expect("invariant: the node was checked before");
    let output = ValueId(model.nodes.len() + 1);
    model.nodes.push(Node { name, op, inputs, output, shape });
    output
}

/// A name like this one that no node has.
fn unique(names: &mut HashSet<String>, name: &str) -> String {
    let mut numbers = 0..;
    let free = numbers.find_map(|number: usize| {
        let name = format!("{name}.part.{number}");
        names.insert(name.clone()).then_some(name)
    });
    free.expect("invariant: a network's nodes are finitely many")
}

/// A convolution of one pixel, each channel to itself.
fn pointwise(channels: usize) -> Geometry {
    Geometry { groups: channels, ..Geometry::dense(channels, channels) }
}
