//! Max pooling moves behind ReLU, behind a shift (a sum of one term) and behind a requantization
//! that narrows: it then compares few bits, not accumulators.
//!
//! These functions are monotone, so the maximum of the results is the result of the maximum;
//! padding is never the maximum, before or after. Assumes that nothing else reads the pooled wire,
//! or it would be pooled twice.

use super::{Pass, Patch};
use crate::{Graph, Op, WireId};

pub(super) struct MaxPoolBehindRequant;

impl Pass for MaxPoolBehindRequant {
    fn name(&self) -> &'static str {
        "max_pool_behind_requant"
    }

    fn find(&self, graph: &Graph) -> Option<Patch> {
        (0..graph.nodes().len()).find_map(|id| swapped(graph, id))
    }
}

fn swapped(graph: &Graph, id: WireId) -> Option<Patch> {
    let node = graph.node(id);
    let pool = match node.op {
        Op::Relu { input } => input,
        Op::Add { ref terms } => match terms[..] {
            [only] => only.wire,
            _ => return None,
        },
        // Behind a ReLU of some elements each has its own function, which no window shares.
        Op::Requant { input, bits, linearized: None, .. } if bits < graph.wire(input).bits => input,
        Op::Requant { .. }
        | Op::Input { .. }
        | Op::Linear(_)
        | Op::MaxPool { .. }
        | Op::SumPool { .. }
        | Op::View { .. }
        | Op::Reorder { .. }
        | Op::Concat { .. }
        | Op::Lookup(_)
        | Op::Product { .. }
        | Op::Output { .. } => return None,
    };
    let Op::MaxPool { input, window } = graph.node(pool).op else { return None };
    if graph.consumers(pool) != [id] {
        return None;
    }
    let monotone = node.op.clone().map_inputs(|_| input);
    let pooled = Op::MaxPool { input: graph.nodes().len(), window };
    let nodes = vec![(node.name.clone(), monotone), (graph.node(pool).name.clone(), pooled)];
    Some(Patch::replace(graph, id, nodes))
}

#[cfg(test)]
mod tests {
    use protocols::plan::Window;

    use super::*;
    use crate::pass::testing::{after, network};

    const WINDOW: Window = Window { kernel: [2, 2], stride: [1, 1], pad: [0; 4] };

    #[test]
    fn pooling_of_accumulators_becomes_pooling_of_activations() {
        let graph = network(|b, acc| {
            let pool = b.max_pool("pool", acc, WINDOW)?;
            let relu = b.relu("relu", pool)?;
            b.requant("y", relu, 3, 4, false)
        });
        let expected = [
            "relu = relu acc",
            "y = requant relu >>3 u4",
            "pool = max_pool y 2x2 stride 1,1",
            "out = output pool",
        ];
        assert_eq!(after(&graph, MaxPoolBehindRequant), expected);
    }

    #[test]
    fn pooling_that_others_read_stays() {
        let graph = network(|b, acc| {
            let pool = b.max_pool("pool", acc, WINDOW)?;
            let y = b.requant("y", pool, 0, 4, false)?;
            b.add("sum", &[(pool, 0), (y, 0)])
        });
        assert_eq!(MaxPoolBehindRequant.find(&graph), None);
    }
}
