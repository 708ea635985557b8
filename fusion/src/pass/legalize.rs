//! What is left after simplification and is no step of a plan, expressed by a requantization that
//! drops nothing: exact, at the price of one.
//!
//! - `relu(x)` is `requant(x)` with `k = 0` and as many unsigned bits as the result needs.
//! - A sum that something other than a requantization reads is first requantized with `k = 0` to
//!   its own width; so is one that another sum reads, where they were not merged before.

use super::{Pass, Patch};
use crate::{Graph, Op, WireId};

pub(super) struct ReluAlone;

impl Pass for ReluAlone {
    fn name(&self) -> &'static str {
        "relu_alone"
    }

    fn find(&self, graph: &Graph) -> Option<Patch> {
        (0..graph.nodes().len()).find_map(|id| {
            let Op::Relu { input } = graph.node(id).op else { return None };
            let bits = graph.wire(id).bits;
            let op = Op::Requant { input, shift: 0, bits, low: 0, linearized: None };
            Some(Patch::replace(graph, id, vec![(graph.node(id).name.clone(), op)]))
        })
    }
}

pub(super) struct SumAlone;

impl Pass for SumAlone {
    fn name(&self) -> &'static str {
        "sum_alone"
    }

    fn find(&self, graph: &Graph) -> Option<Patch> {
        (0..graph.nodes().len()).find_map(|id| requantized(graph, id))
    }
}

fn requantized(graph: &Graph, id: WireId) -> Option<Patch> {
    let node = graph.node(id);
    let takes_sums = matches!(node.op, Op::Requant { .. });
    let sum =
        node.op.inputs().into_iter().find(|&input| matches!(graph.node(input).op, Op::Add { .. }));
    let sum = sum.filter(|_| !takes_sums)?;
    let wire = graph.wire(sum);
    let (bits, low) = (wire.bits, wire.low);
    let requant = Op::Requant { input: sum, shift: 0, bits, low, linearized: None };
    let reader =
        node.op.clone().map_inputs(|input| if input == sum { graph.nodes().len() } else { input });
    let nodes = vec![
        (format!("{}.{}", graph.node(sum).name, node.name), requant),
        (node.name.clone(), reader),
    ];
    Some(Patch::replace(graph, id, nodes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::testing::{after, network};

    #[test]
    fn a_relu_alone_is_a_requantization() {
        let graph = network(|b, acc| b.relu("relu", acc));
        let found = after(&graph, ReluAlone);
        assert!(found[0].starts_with("relu = requant acc >>0 u"), "{found:?}");
    }

    #[test]
    fn logits_that_are_a_sum_are_requantized_to_their_own_width() {
        let graph = network(|b, acc| b.add("sum", &[(acc, 1), (acc, 1), (acc, 1)]));
        let found = after(&graph, SumAlone);
        assert_eq!(found[0], "sum = add acc<<1 acc<<1 acc<<1");
        assert!(found[1].starts_with("sum.out = requant sum >>0 s"), "{found:?}");
        assert_eq!(found[2], "out = output sum.out");
    }
}
