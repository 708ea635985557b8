//! Which nodes an output needs, in topological order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::error::ImportError;
use super::name;
use super::proto::{GraphProto, NodeProto};

/// The output of this name; the first, if none is named.
///
/// # Errors
/// There is no such output; then those that there are are named.
pub(super) fn output(graph: &GraphProto, wanted: Option<&str>) -> Result<String, ImportError> {
    let names: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let found = match wanted {
        Some(wanted) => names.iter().find(|name| **name == wanted),
        None => names.first(),
    };
    found.map(|name| (*name).to_owned()).ok_or_else(|| {
        let shown: Vec<String> = names.iter().map(|name| name::shown(name)).collect();
        match wanted {
            Some(wanted) => {
                let expected = format!("one of {}", shown.join(", "));
                ImportError::field("output", expected, name::shown(wanted))
            }
            None => ImportError::field("graph.output", "an output", "none"),
        }
    })
}

/// Leaves the nodes that the output needs, each behind those that it reads; nodes that come so
/// already keep their order.
///
/// # Errors
/// Nodes read each other in a circle, or two compute one name.
pub(super) fn sort(graph: &mut GraphProto, output: &str) -> Result<(), ImportError> {
    let producers = producers(graph)?;
    // By node: those whose results it reads.
    let sources: Vec<Vec<usize>> = graph
        .node
        .iter()
        .map(|node| node.input.iter().filter_map(|name| producers.get(&**name).copied()).collect())
        .collect();
    let mut needed = vec![false; graph.node.len()];
    // From the output back: what it does not reach is not looked at, whatever it is.
    let mut due: Vec<usize> = producers.get(output).copied().into_iter().collect();
    while let Some(at) = due.pop() {
        if !std::mem::replace(&mut needed[at], true) {
            due.extend(sources[at].iter().filter(|&&source| !needed[source]));
        }
    }
    let order = ordered(&sources, &needed);
    let placed: HashSet<usize> = order.iter().copied().collect();
    let missing = (0..graph.node.len()).find(|at| needed[*at] && !placed.contains(at));
    if let Some(at) = missing {
        let field = format!("graph.node {:?}", name::shown(&graph.node[at].name));
        let expected = "nodes that do not read their own results";
        return Err(ImportError::field(field, expected, "a circle"));
    }
    let mut nodes: Vec<Option<NodeProto>> =
        std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.into_iter().filter_map(|at| nodes[at].take()).collect();
    drop_unread(graph, output);
    Ok(())
}

/// The node that computes each name.
fn producers(graph: &GraphProto) -> Result<HashMap<&str, usize>, ImportError> {
    let mut producers = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if producers.insert(name.as_str(), at).is_some() {
                let field = format!("graph.node {:?}", name::shown(&node.name));
                let found = format!("{:?} again", name::shown(name));
                return Err(ImportError::field(field, "results of new names", found));
            }
        }
    }
    Ok(producers)
}

/// The needed nodes that are not in a circle, in topological order.
fn ordered(sources: &[Vec<usize>], needed: &[bool]) -> Vec<usize> {
    let mut readers = vec![Vec::new(); sources.len()];
    let mut waits = vec![0; sources.len()];
    for at in (0..sources.len()).filter(|&at| needed[at]) {
        for &source in &sources[at] {
            readers[source].push(at);
            waits[at] += 1;
        }
    }
    // Kahn's algorithm: of those that are ready, the first of the file first.
    let ready = (0..sources.len()).filter(|&at| needed[at] && waits[at] == 0);
    let mut ready: BinaryHeap<Reverse<usize>> = ready.map(Reverse).collect();
    let mut order = Vec::new();
    while let Some(Reverse(at)) = ready.pop() {
        order.push(at);
        for &reader in &readers[at] {
            waits[reader] -= 1;
            if waits[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    order
}

/// Leaves the constants and the inputs that a node reads. Older files name constants as inputs,
/// too.
fn drop_unread(graph: &mut GraphProto, output: &str) {
    let GraphProto { node, initializer, input, .. } = graph;
    let mut read: HashSet<&str> =
        node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    read.insert(output);
    let stored: HashSet<&str> = initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    input.retain(|input| !stored.contains(input.name.as_str()) && read.contains(&*input.name));
    initializer.retain(|tensor| read.contains(tensor.name.as_str()));
}
