//! A shift (a sum of one term) moves before a ReLU, so that the ReLU meets its requantization:
//! `relu(x) << j` is `relu(x << j)`. Accumulators coarser than the activations that they are
//! rounded to are shifted so.
//!
//! Assumes that nothing else reads the ReLU, or there would be two.

use protocols::plan::Term;

use super::{Pass, Patch};
use crate::{Graph, Op, WireId};

pub(super) struct ReluBehindShift;

impl Pass for ReluBehindShift {
    fn name(&self) -> &'static str {
        "relu_behind_shift"
    }

    fn find(&self, graph: &Graph) -> Option<Patch> {
        (0..graph.nodes().len()).find_map(|id| swapped(graph, id))
    }
}

fn swapped(graph: &Graph, id: WireId) -> Option<Patch> {
    let node = graph.node(id);
    let Op::Add { terms } = &node.op else { return None };
    let [Term { wire: relu, shift }] = terms[..] else { return None };
    let Op::Relu { input } = graph.node(relu).op else { return None };
    if graph.consumers(relu) != [id] {
        return None;
    }
    let shifted = Op::Add { terms: vec![Term { wire: input, shift }] };
    let relu = (graph.node(relu).name.clone(), Op::Relu { input: graph.nodes().len() });
    Some(Patch::replace(graph, id, vec![(node.name.clone(), shifted), relu]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::testing::{after, network};

    #[test]
    fn a_relu_is_shifted_from_within() {
        let graph = network(|b, acc| {
            let relu = b.relu("relu", acc)?;
            let finer = b.add("finer", &[(relu, 2)])?;
            b.requant("y", finer, 0, 8, false)
        });
        let expected = [
            "finer = add acc<<2",
            "relu = relu finer",
            "y = requant relu >>0 u8",
            "out = output y",
        ];
        assert_eq!(after(&graph, ReluBehindShift), expected);
    }
}
