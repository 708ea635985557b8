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
    let mut producer = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if producer.insert(name.as_str(), at).is_some() {
                let field = format!("graph.node {:?}", name::shown(&node.name));
                let found = format!("{:?} again", name::shown(name));
                return Err(ImportError::field(field, "results of new names", found));
            }
        }
    }
    let sources = |at: usize| {
        let inputs = graph.node[at].input.iter();
        inputs.filter_map(|name| producer.get(name.as_str()).copied())
    };
    let mut needed = vec![false; graph.node.len()];
    let mut due: Vec<usize> = producer.get(output).copied().into_iter().collect();
    while let Some(at) = due.pop() {
        if !std::mem::replace(&mut needed[at], true) {
            due.extend(sources(at).filter(|&source| !needed[source]));
        }
    }
    // Kahn's algorithm, the first of the file first among those that are ready.
    let mut readers = vec![Vec::new(); graph.node.len()];
    let mut waits = vec![0; graph.node.len()];
    for at in (0..graph.node.len()).filter(|&at| needed[at]) {
        for source in sources(at) {
            readers[source].push(at);
            waits[at] += 1;
        }
    }
    let ready = (0..graph.node.len()).filter(|&at| needed[at] && waits[at] == 0);
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
    if let Some(at) = (0..graph.node.len()).find(|&at| needed[at] && waits[at] > 0) {
        let field = format!("graph.node {:?}", name::shown(&graph.node[at].name));
        return Err(ImportError::field(
            field,
            "nodes that do not read their own results",
            "a circle",
        ));
    }
    let mut nodes: Vec<Option<NodeProto>> =
        std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.into_iter().filter_map(|at| nodes[at].take()).collect();
    drop_unread(graph, output);
    Ok(())
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
