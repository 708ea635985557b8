//! A graph as it was written becomes a [`Model`] that holds its invariants.

use std::collections::HashSet;

use crate::model::{Conv, Model, Node, Op, ValueId, View};

/// Folds channel-wise scaling into the convolution before it, joins views, lets a convolution pad
/// its own input, and drops what the output does not need. None of it changes what the network
/// computes, but for rounding. Also tells where each value is found after it, `None` for those that
/// were dropped.
pub(super) fn simplify(model: Model) -> (Model, Vec<Option<ValueId>>) {
    let uses = uses(&model);
    let output = model.output;
    let mut new = Model { nodes: Vec::with_capacity(model.nodes.len()), ..model };
    // Where each value of the old model is found in the new one.
    let mut moved = vec![ValueId::INPUT];
    // Values of the new model that stand for more than one of the old: their uses are not all in
    // `uses`.
    let mut shared = HashSet::new();
    for mut node in model.nodes {
        // A layer may be changed only for all of its readers: for the only one, that is, of a value
        // that stands for itself alone.
        let sole_use = uses[node.inputs[0].0] == 1 && !shared.contains(&moved[node.inputs[0].0]);
        for input in &mut node.inputs {
            *input = moved[input.0];
        }
        let is_view = matches!(node.op, Op::View(_) | Op::Reorder(_));
        let value = append(&mut new, node, sole_use);
        // A view that changes nothing is an older value: not the one just appended.
        if is_view && value.0 < new.nodes.len() {
            shared.insert(value);
        }
        moved.push(value);
    }
    new.output = moved[output.0];
    let (new, kept) = drop_unused(new);
    (new, moved.into_iter().map(|value| kept[value.0]).collect())
}

/// Appends a node, or changes the model so that a value already has what the node would compute.
fn append(model: &mut Model, node: Node, sole_use: bool) -> ValueId {
    let input = node.inputs[0];
    let previous = input.producer().filter(|_| sole_use && is_affine(&node.op));
    if let (Some(previous), Op::Conv(scale)) = (previous, &node.op)
        && let Op::Conv(conv) = &mut model.nodes[previous].op
    {
        fold(conv, scale);
        return input;
    }
    let node = join_views(model, node);
    let shape = model.shape(node.inputs[0]);
    let idle = match &node.op {
        Op::View(view) => view.is_identity(shape),
        Op::Reorder(order) => order.is_identity(shape),
        Op::Conv(_)
        | Op::Relu { .. }
        | Op::PartRelu(_)
        | Op::Function(_)
        | Op::Add
        | Op::Mul
        | Op::MaxPool(_)
        | Op::AvgPool(_)
        | Op::Concat => false,
    };
    if idle {
        return node.inputs[0];
    }
    let output = ValueId(model.nodes.len() + 1);
    model.nodes.push(Node { output, ..node });
    output
}

/// Whether it scales and shifts each channel, and nothing else.
fn is_affine(op: &Op) -> bool {
    let Op::Conv(Conv { geometry: g, .. }) = op else {
        return false;
    };
    let padding = g.pad_top + g.pad_left + g.pad_bottom + g.pad_right;
    let pointwise = g.kernel_h * g.kernel_w * g.stride_h * g.stride_w == 1 && padding == 0;
    pointwise && g.groups == g.in_channels && g.out_channels == g.in_channels
}

fn fold(conv: &mut Conv, scale: &Conv) {
    let fan_in = conv.fan_in();
    for (k, (&factor, &shift)) in scale.weight.iter().zip(&scale.bias).enumerate() {
        for weight in &mut conv.weight[k * fan_in..(k + 1) * fan_in] {
            *weight *= factor;
        }
        conv.bias[k] = (f64::from(conv.bias[k]) * f64::from(factor) + f64::from(shift)) as f32;
    }
}

/// Reads through a view or an order: another one becomes one with it, a convolution takes over
/// zeros around its rows and columns.
fn join_views(model: &Model, mut node: Node) -> Node {
    let Some(source) = node.inputs[0].producer().map(|i| &model.nodes[i]) else {
        return node;
    };
    let joined = match (&source.op, &mut node.op) {
        (Op::View(first), Op::View(view)) => {
            *view = first.then(view);
            true
        }
        (Op::View(first), Op::Conv(conv)) => pad(conv, first, model.shape(source.inputs[0])),
        (Op::Reorder(first), Op::Reorder(order)) => {
            first.then(order).map(|both| *order = both).is_some()
        }
        _ => false,
    };
    if joined {
        node.inputs[0] = source.inputs[0];
    }
    node
}

/// Moves the view's padding into the convolution, if it does nothing but pad rows and columns of
/// `input`.
fn pad(conv: &mut Conv, view: &View, input: [usize; 3]) -> bool {
    let only_pads = view.axes.iter().zip(input).all(|(axis, n)| axis.only_pads(n));
    let [channels, rows, columns] = &view.axes;
    if !only_pads || channels.out() != input[0] || conv.is_fully_connected() {
        return false;
    }
    let g = &mut conv.geometry;
    [_, g.in_h, g.in_w] = input;
    g.pad_top += rows.before;
    g.pad_bottom += rows.after;
    g.pad_left += columns.before;
    g.pad_right += columns.after;
    true
}

/// How many operands each value is; being the output counts.
fn uses(model: &Model) -> Vec<usize> {
    let mut uses = vec![0; model.nodes.len() + 1];
    uses[model.output.0] += 1;
    for input in model.nodes.iter().flat_map(|node| &node.inputs) {
        uses[input.0] += 1;
    }
    uses
}

fn drop_unused(model: Model) -> (Model, Vec<Option<ValueId>>) {
    let mut needed = HashSet::from([model.output]);
    for node in model.nodes.iter().rev() {
        if needed.contains(&node.output) {
            needed.extend(&node.inputs);
        }
    }
    let mut moved = vec![None; model.nodes.len() + 1];
    moved[0] = Some(ValueId::INPUT);
    let mut nodes: Vec<Node> = Vec::with_capacity(needed.len());
    for mut node in model.nodes {
        if !needed.contains(&node.output) {
            continue;
        }
        let output = ValueId(nodes.len() + 1);
        moved[node.output.0] = Some(output);
        for input in &mut node.inputs {
            *input = place(&moved, *input);
        }
        nodes.push(Node { output, ..node });
    }
    let output = place(&moved, model.output);
    (Model { output, nodes, ..model }, moved)
}

/// Where a value has gone to.
fn place(moved: &[Option<ValueId>], value: ValueId) -> ValueId {
    moved[value.0].expect("invariant: what a needed node reads is needed")
}
