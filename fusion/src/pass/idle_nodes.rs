//! Nodes that change nothing go: a ReLU of what is never negative, a sum of one unshifted term, a
//! view of everything.

use super::{Pass, Patch};
use crate::{Graph, Op, WireId};

pub(super) struct IdleNodes;

impl Pass for IdleNodes {
    fn name(&self) -> &'static str {
        "idle_nodes"
    }

    fn find(&self, graph: &Graph) -> Option<Patch> {
        (0..graph.nodes().len()).find_map(|id| Some(Patch::bypass(id, same(graph, id)?)))
    }
}

/// The wire that a node repeats.
fn same(graph: &Graph, id: WireId) -> Option<WireId> {
    match &graph.node(id).op {
        Op::Relu { input } => (graph.wire(*input).range.lo >= 0).then_some(*input),
        Op::Add { terms } => match terms[..] {
            [only] if only.shift == 0 => Some(only.wire),
            _ => None,
        },
        Op::View { input, view } => view.is_identity(graph.wire(*input).shape).then_some(*input),
        Op::Reorder { input, order } => {
            order.is_identity(graph.wire(*input).shape).then_some(*input)
        }
        Op::Concat { inputs } => match inputs[..] {
            [only] => Some(only),
            _ => None,
        },
        Op::Input { .. }
        | Op::Linear(_)
        | Op::Requant { .. }
        | Op::Lookup(_)
        | Op::Product { .. }
        | Op::MaxPool { .. }
        | Op::SumPool { .. }
        | Op::Output { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use protocols::plan::View;

    use super::*;
    use crate::pass::testing::{after, network};

    #[test]
    fn nodes_that_change_nothing_go() {
        let graph = network(|b, acc| {
            let y = b.requant("y", acc, 2, 4, false)?;
            let relu = b.relu("relu", y)?;
            let sum = b.add("sum", &[(relu, 0)])?;
            let all = View::all(b.wire(sum).shape);
            b.view("all", sum, all)
        });
        assert_eq!(after(&graph, IdleNodes), ["y = requant acc >>2 u4", "out = output y"]);
    }
}
