//! Sums of sums become one sum: the requantization that follows takes in all terms, so that a skip
//! joins in the accumulator, exactly.
//!
//! `((a << i) + b) << j + c` is `a << (i + j) + b << j + c`. Assumes only that shifts stay within
//! what a term can have. A sum that others read stays for them.

use protocols::plan::Term;

use super::{Pass, Patch};
use crate::{Graph, Op, WireId};

/// Largest shift that merging may make: well within what a term can have.
const MAX_SHIFT: u8 = 40;

pub(super) struct ResidualIntoAccumulator;

impl Pass for ResidualIntoAccumulator {
    fn name(&self) -> &'static str {
        "residual_into_accumulator"
    }

    fn find(&self, graph: &Graph) -> Option<Patch> {
        (0..graph.nodes().len()).find_map(|id| flattened(graph, id))
    }
}

fn flattened(graph: &Graph, id: WireId) -> Option<Patch> {
    let Op::Add { terms } = &graph.node(id).op else { return None };
    let mut flat = Vec::new();
    let mut found = false;
    for &outer in terms {
        match &graph.node(outer.wire).op {
            Op::Add { terms }
                if terms.iter().all(|inner| inner.shift + outer.shift <= MAX_SHIFT) =>
            {
                flat.extend(
                    terms.iter().map(|inner| Term { shift: inner.shift + outer.shift, ..*inner }),
                );
                found = true;
            }
            Op::Add { .. }
            | Op::Input { .. }
            | Op::Linear(_)
            | Op::Relu { .. }
            | Op::Requant { .. }
            | Op::Lookup(_)
            | Op::Product { .. }
            | Op::MaxPool { .. }
            | Op::SumPool { .. }
            | Op::View { .. }
            | Op::Reorder { .. }
            | Op::Concat { .. }
            | Op::Output { .. } => flat.push(outer),
        }
    }
    let op = Op::Add { terms: flat };
    found.then(|| Patch::replace(graph, id, vec![(graph.node(id).name.clone(), op)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::testing::{after, network};

    #[test]
    fn sums_of_sums_become_one() {
        let graph = network(|b, acc| {
            let skip = b.requant("skip", acc, 1, 4, false)?;
            let coarse = b.requant("coarse", acc, 3, 4, true)?;
            let inner = b.add("inner", &[(skip, 0), (coarse, 2)])?;
            let outer = b.add("outer", &[(acc, 0), (inner, 1)])?;
            b.requant("y", outer, 2, 4, false)
        });
        let expected = [
            "skip = requant acc >>1 u4",
            "coarse = requant acc >>3 s4",
            "outer = add acc skip<<1 coarse<<3",
            "y = requant outer >>2 u4",
            "out = output y",
        ];
        assert_eq!(after(&graph, ResidualIntoAccumulator), expected);
    }
}
