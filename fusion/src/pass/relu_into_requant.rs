//! ReLU and requantization become one: saturation at zero is the ReLU.
//!
//! - `requant_a(relu(x))`, unsigned: `requant_a(x)`. A negative `x` gives `floor((x + 2^(k-1)) /
//!   2^k) <= 0`: zero both ways.
//! - `requant_a(relu(x))`, two's complement: zero to `2^(a-1) - 1`: unsigned with `a - 1` bits.
//! - `relu(requant_a(x))`, two's complement: the same.
//!
//! Not behind a ReLU of some elements: the others reach below zero.
//!
//! Assumes nothing of other readers: a wire that is still read stays.

use super::{Pass, Patch};
use crate::{Graph, Interval, Op, WireId};

pub(super) struct ReluIntoRequant;

impl Pass for ReluIntoRequant {
    fn name(&self) -> &'static str {
        "relu_into_requant"
    }

    fn find(&self, graph: &Graph) -> Option<Patch> {
        (0..graph.nodes().len())
            .find_map(|id| requant_of_relu(graph, id).or_else(|| relu_of_requant(graph, id)))
    }
}

fn requant_of_relu(graph: &Graph, id: WireId) -> Option<Patch> {
    let Op::Requant { input, shift, bits, low, linearized: None } = graph.node(id).op else {
        return None;
    };
    let Op::Relu { input } = graph.node(input).op else { return None };
    fused(graph, id, input, shift, bits, low)
}

fn relu_of_requant(graph: &Graph, id: WireId) -> Option<Patch> {
    let Op::Relu { input } = graph.node(id).op else { return None };
    let Op::Requant { input, shift, bits, low, linearized: None } = graph.node(input).op else {
        return None;
    };
    // One that is never negative is taken off as an idle node.
    if low == 0 { None } else { fused(graph, id, input, shift, bits, low) }
}

fn fused(graph: &Graph, id: WireId, input: WireId, shift: u8, bits: u8, low: i64) -> Option<Patch> {
    // The upper part of a width that begins below zero: of 4 bits, -8 to 7 cut off at zero is 0 to
    // 7, which is 3 bits. Of -5 to 10, 0 to 10 is what no width holds exactly.
    let most = Interval::from(low, bits).hi;
    let bits = Interval { lo: 0, hi: most }.bits(false);
    let exact = most > 0 && Interval::from(0, bits).hi == most;
    let op = Op::Requant { input, shift, bits, low: 0, linearized: None };
    exact.then(|| Patch::replace(graph, id, vec![(graph.node(id).name.clone(), op)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::testing::{after, network};

    #[test]
    fn a_relu_before_an_unsigned_requantization_goes() {
        let graph = network(|b, acc| {
            let relu = b.relu("relu", acc)?;
            b.requant("y", relu, 3, 4, false)
        });
        assert_eq!(after(&graph, ReluIntoRequant), ["y = requant acc >>3 u4", "out = output y"]);
    }

    #[test]
    fn a_relu_around_a_signed_requantization_leaves_one_bit_less() {
        let graph = network(|b, acc| {
            let relu = b.relu("relu", acc)?;
            let y = b.requant("y", relu, 3, 5, true)?;
            let z = b.requant("z", y, 0, 4, true)?;
            b.relu("last", z)
        });
        let expected = ["y = requant acc >>3 u4", "last = requant y >>0 u3", "out = output last"];
        assert_eq!(after(&graph, ReluIntoRequant), expected);
    }

    #[test]
    fn a_relu_that_others_read_stays_for_them() {
        let graph = network(|b, acc| {
            let relu = b.relu("relu", acc)?;
            let y = b.requant("y", relu, 0, 4, false)?;
            b.add("sum", &[(relu, 0), (y, 0)])
        });
        let expected =
            ["relu = relu acc", "y = requant acc >>0 u4", "sum = add relu y", "out = output sum"];
        assert_eq!(after(&graph, ReluIntoRequant), expected);
    }
}
