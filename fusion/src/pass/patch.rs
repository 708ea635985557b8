//! A patch: one node replaced by others.

use std::collections::HashSet;

use crate::{Error, Graph, Op, WireId};

/// Replaces a node: all that read its wire read `result` instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// The node replaced.
    pub node: WireId,
    /// New nodes; wire `graph.nodes().len() + i` is the `i`-th of them. One may have the name of a
    /// node that nothing reads any more; those with the name of one that stays get another.
    pub nodes: Vec<(String, Op)>,
    /// The wire that takes the place of the node's.
    pub result: WireId,
}

impl Patch {
    /// A node replaced by an existing wire.
    pub(super) const fn bypass(node: WireId, result: WireId) -> Self {
        Self { node, nodes: Vec::new(), result }
    }

    /// A node replaced by new ones, the last of which is the result.
    pub(super) fn replace(graph: &Graph, node: WireId, nodes: Vec<(String, Op)>) -> Self {
        let result = graph.nodes().len() + nodes.len() - 1;
        Self { node, nodes, result }
    }

    /// The graph with the patch, without dead nodes, every wire checked again. The wire that takes
    /// the node's place must have its shape and scale, and no linear layer may see values that it
    /// did not see before.
    pub fn apply(self, graph: &Graph) -> Result<Graph, Error> {
        let count = graph.nodes().len();
        let added = count..count + self.nodes.len();
        // New nodes stand where the replaced one stood: behind all that it can read, and before all
        // that reads it. Indices are those of `ops`, where they come last.
        let mut order: Vec<WireId> = (0..self.node).collect();
        order.extend(added);
        order.extend(self.node..count);
        let mut ops: Vec<(&str, Op)> = Vec::with_capacity(order.len());
        for node in graph.nodes() {
            ops.push((&node.name, node.op.clone().map_inputs(|wire| self.follow(wire))));
        }
        ops.extend(self.nodes.iter().map(|(name, op)| (name.as_str(), op.clone())));
        let (patched, places) = rebuild(graph, &order, &ops, self.follow(graph.output()))?;
        check_linear_inputs(graph, &patched)?;
        if let Some(Some(result)) = places.get(self.result) {
            check_replacement(graph, self.node, &patched, *result)?;
        }
        Ok(patched)
    }

    /// The wire that stands for a wire of the graph.
    const fn follow(&self, wire: WireId) -> WireId {
        if wire == self.node { self.result } else { wire }
    }
}

/// The graph without the nodes that its output does not depend on.
pub(super) fn prune(graph: &Graph) -> Result<Graph, Error> {
    let order: Vec<WireId> = (0..graph.nodes().len()).collect();
    let ops: Vec<(&str, Op)> =
        graph.nodes().iter().map(|node| (node.name.as_str(), node.op.clone())).collect();
    Ok(rebuild(graph, &order, &ops, graph.output())?.0)
}

/// Builds anew, in the given order, the nodes that `output` depends on, and the input; also each
/// node's new place.
fn rebuild(
    graph: &Graph,
    order: &[WireId],
    ops: &[(&str, Op)],
    output: WireId,
) -> Result<(Graph, Vec<Option<WireId>>), Error> {
    // From the output back, in the reverse of the order of building: readers are seen before what
    // they read. The input stays, read or not.
    let mut live = vec![false; ops.len()];
    live[output] = true;
    live[graph.input()] = true;
    for &id in order.iter().rev() {
        if live[id] {
            ops[id].1.inputs().into_iter().for_each(|input| live[input] = true);
        }
    }
    // Networks have names of their own: some look like those that passes make.
    let stay = (0..graph.nodes().len()).filter(|&id| live[id]).map(|id| ops[id].0.to_owned());
    let mut taken: HashSet<String> = stay.collect();
    let mut builder = Graph::builder(graph.name(), graph.preprocess().clone());
    let mut places = vec![None; ops.len()];
    for &id in order.iter().filter(|&&id| live[id]) {
        let (name, op) = &ops[id];
        // A wire without a place yet is none of the builder's: it reports it.
        let op = op.clone().map_inputs(|wire| places[wire].unwrap_or(WireId::MAX));
        let mut name = (*name).to_owned();
        while id >= graph.nodes().len() && !taken.insert(name.clone()) {
            name.push('+');
        }
        places[id] = Some(builder.push(name, op)?);
    }
    Ok((builder.finish()?, places))
}

fn check_replacement(before: &Graph, old: WireId, after: &Graph, new: WireId) -> Result<(), Error> {
    let (expected, found, node) =
        (before.wire(old), after.wire(new), before.node(old).name.clone());
    if expected.shape != found.shape {
        return Err(Error::Shape { node, expected: expected.shape, found: found.shape });
    }
    if (expected.scale - found.scale).abs() > 1e-6 * expected.scale {
        return Err(Error::Scale { node, expected: expected.scale, found: found.scale });
    }
    Ok(())
}

/// A linear layer's interval was derived for its input's: no pass may widen that.
fn check_linear_inputs(before: &Graph, after: &Graph) -> Result<(), Error> {
    for node in after.nodes() {
        let Op::Linear(linear) = &node.op else { continue };
        let Some(Op::Linear(old)) = before.find(&node.name).map(|id| &before.node(id).op) else {
            continue;
        };
        let (expected, found) = (before.wire(old.input).range, after.wire(linear.input).range);
        if !expected.contains(found) {
            let (expected, found) = (expected.to_string(), found.to_string());
            let what = "interval of the input after a pass";
            return Err(Error::Parameter { node: node.name.clone(), what, expected, found });
        }
    }
    Ok(())
}
