//! Slices, orders and sum pooling of a sum become a sum of those of its terms, so that the sum
//! meets its requantization.
//!
//! All three are linear and local on shares. Assumes that nothing else reads the sum, or its terms
//! would be taken apart for no gain.

use protocols::plan::Term;

use super::{Pass, Patch};
use crate::{Graph, Op, WireId};

pub(super) struct SumsOutward;

impl Pass for SumsOutward {
    fn name(&self) -> &'static str {
        "sums_outward"
    }

    fn find(&self, graph: &Graph) -> Option<Patch> {
        (0..graph.nodes().len()).find_map(|id| distributed(graph, id))
    }
}

fn distributed(graph: &Graph, id: WireId) -> Option<Patch> {
    let node = graph.node(id);
    let (Op::View { input, .. } | Op::Reorder { input, .. } | Op::SumPool { input, .. }) = node.op
    else {
        return None;
    };
    let Op::Add { terms } = &graph.node(input).op else { return None };
    if graph.consumers(input) != [id] {
        return None;
    }
    let mut nodes: Vec<(String, Op)> = terms
        .iter()
        .enumerate()
        .map(|(index, term)| {
            (format!("{}.{index}", node.name), node.op.clone().map_inputs(|_| term.wire))
        })
        .collect();
    let first = graph.nodes().len();
    let terms = terms
        .iter()
        .enumerate()
        .map(|(index, term)| Term { wire: first + index, ..*term })
        .collect();
    nodes.push((node.name.clone(), Op::Add { terms }));
    Some(Patch::replace(graph, id, nodes))
}

#[cfg(test)]
mod tests {
    use protocols::plan::Window;

    use super::*;
    use crate::pass::testing::{after, network};

    #[test]
    fn pooling_a_sum_sums_pooled_terms() {
        let graph = network(|b, acc| {
            let skip = b.requant("skip", acc, 1, 4, true)?;
            let sum = b.add("sum", &[(acc, 0), (skip, 1)])?;
            let pool =
                b.sum_pool("pool", sum, Window { kernel: [3, 3], stride: [1, 1], pad: [0; 4] })?;
            b.requant("y", pool, 2, 4, false)
        });
        let expected = [
            "skip = requant acc >>1 s4",
            "pool.0 = sum_pool acc 3x3 stride 1,1",
            "pool.1 = sum_pool skip 3x3 stride 1,1",
            "pool = add pool.0 pool.1<<1",
            "y = requant pool >>2 u4",
            "out = output y",
        ];
        assert_eq!(after(&graph, SumsOutward), expected);
    }

    #[test]
    fn terms_get_names_that_no_other_node_has() {
        let graph = network(|b, acc| {
            let skip = b.requant("pool.1", acc, 1, 4, true)?;
            let sum = b.add("sum", &[(acc, 0), (skip, 1)])?;
            let pool =
                b.sum_pool("pool", sum, Window { kernel: [3, 3], stride: [1, 1], pad: [0; 4] })?;
            b.requant("y", pool, 2, 4, false)
        });
        let expected = [
            "pool.1 = requant acc >>1 s4",
            "pool.0 = sum_pool acc 3x3 stride 1,1",
            "pool.1+ = sum_pool pool.1 3x3 stride 1,1",
            "pool = add pool.0 pool.1+<<1",
            "y = requant pool >>2 u4",
            "out = output y",
        ];
        assert_eq!(after(&graph, SumsOutward), expected);
    }
}
