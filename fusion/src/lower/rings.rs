//! The ring of every wire: the widest that a consumer needs; who needs less reduces its shares
//! locally.

use protocols::Bits;
use protocols::plan::Algorithm;

use super::{Options, ring, terms};
use crate::{Error, Graph, Linear, Op, WireId, ring_width};

/// Rings by node.
pub(super) struct Rings {
    /// The wire's ring; of no meaning for sums and the output.
    pub(super) wire: Vec<Bits>,
    /// Of requantizations: the ring of the sum.
    pub(super) sum: Vec<Bits>,
}

/// Demands travel from the output to the input:
///
/// - A requantization works in the least ring that holds its sum with rounding, also with
///   `-lo 2^k` more where the least result `lo` is below zero, at least `k + a + 1` bits. A term
///   shifted left by `j` is needed in `j` bits less.
/// - A product is exact in any ring: it extends what it reads, of which it needs to know the top
///   bit.
/// - A linear layer's ring is what its accumulators are needed in, with room for a weight's bits in
///   the channel shifted most; its input is needed in the same.
/// - Slices, orders and sum pooling keep their input's ring, so that it is what the widest consumer
///   of either needs. A concatenation takes the lower bits of what is wider. Max pooling needs
///   `bits + 1` of its input, a lookup its bits.
/// - Values that are no accumulators have a ring of `bits + 1` at least: their top bit there is
///   known.
pub(super) fn rings(graph: &Graph, options: &Options) -> Result<Rings, Error> {
    let count = graph.nodes().len();
    let accumulators = accumulators(graph);
    let widening = |id: WireId, linear: &Linear| {
        // Exact Winograd's weights are sums of up to nine, which takes four bits more, and its
        // products have a ring of two bits more: two are left to ask for.
        let exact = options.algorithm(&graph.node(id).name, linear) == Algorithm::WinogradExact;
        if exact { 2 } else { 0 }
    };
    // In reverse topological order a node's demand is final when its turn comes: it can be passed
    // on to its input.
    let mut demand = vec![1u32; count];
    let mut sum = vec![Bits::ONE; count];
    for (id, node) in graph.nodes().iter().enumerate().rev() {
        let bits = u32::from(node.wire.bits);
        let mut raise = |wire: WireId, bits: u32| demand[wire] = demand[wire].max(bits);
        match &node.op {
            Op::Output { input } => raise(*input, bits),
            Op::Requant { input, .. } => {
                sum[id] = ring(&node.name, Sum::of(graph, id).width())?;
                for term in terms(graph, *input) {
                    raise(term.wire, sum[id].get().saturating_sub(term.shift.into()));
                }
            }
            Op::MaxPool { input, .. } => raise(*input, u32::from(graph.wire(*input).bits) + 1),
            // Either may be read in its own width: who extends it knows the bit above.
            Op::Product { input, gate } => {
                for factor in [*input, *gate] {
                    raise(factor, u32::from(graph.wire(factor).bits) + 1);
                }
            }
            Op::Lookup(lookup) => raise(lookup.input, u32::from(graph.wire(lookup.input).bits)),
            Op::Linear(linear) => raise(id, room(linear) + widening(id, linear)),
            Op::Add { .. }
            | Op::Relu { .. }
            | Op::Input { .. }
            | Op::SumPool { .. }
            | Op::View { .. }
            | Op::Reorder { .. }
            | Op::Concat { .. } => {}
        }
        // In a ring of one bit more than its width a value has a top bit of zero, less the least
        // of that width: who widens it knows that bit.
        if !accumulators[id] {
            demand[id] = demand[id].max(bits + 1);
        }
        // What is local or linear computes in the ring that its result is needed in.
        if passes_on(&node.op) {
            let own = demand[id];
            node.op.inputs().into_iter().for_each(|input| demand[input] = demand[input].max(own));
        }
    }
    // A slice or a sum of windows takes its input's ring as it is, also where another consumer made
    // it wider. A concatenation reads its parts in its own.
    for (id, node) in graph.nodes().iter().enumerate() {
        if let Op::SumPool { input, .. } | Op::View { input, .. } | Op::Reorder { input, .. } =
            node.op
        {
            demand[id] = demand[input];
        }
    }
    let named = graph.nodes().iter().zip(&demand).map(|(node, &bits)| ring(&node.name, bits));
    Ok(Rings { wire: named.collect::<Result<_, _>>()?, sum })
}

/// Whether what a node is needed in, its inputs are needed in.
fn passes_on(op: &Op) -> bool {
    match op {
        Op::Linear(_)
        | Op::SumPool { .. }
        | Op::View { .. }
        | Op::Reorder { .. }
        | Op::Concat { .. } => true,
        Op::Input { .. }
        | Op::Add { .. }
        | Op::Relu { .. }
        | Op::Requant { .. }
        | Op::Lookup(_)
        | Op::Product { .. }
        | Op::MaxPool { .. }
        | Op::Output { .. } => false,
    }
}

/// What a requantization sums, as it goes into its ring.
pub(super) struct Sum {
    /// The least and the largest that the ring holds: the sum with rounding, and with what makes
    /// the least result zero.
    pub(super) ends: (i128, i128),
    /// The narrowest ring that there is.
    least: u32,
}

impl Sum {
    /// That of a requantization.
    pub(super) fn of(graph: &Graph, id: WireId) -> Self {
        let Op::Requant { input, shift, bits, low, linearized, .. } = &graph.node(id).op else {
            unreachable!("invariant: the caller has matched the node")
        };
        let rounding = (1i128 << shift) >> 1;
        // Behind a ReLU of some elements, all have half of the values that the width holds.
        let (offset, bits) = match linearized {
            Some(linearized) => (i128::from(linearized.below) << shift, bits - 1),
            None => (i128::from(low.unsigned_abs()) << shift, *bits),
        };
        // Within the ring both without and with what makes the least result zero: weights are held
        // against the one, the operator works on the other.
        let (mut lo, mut hi) = (rounding, rounding + offset);
        // The result's bits stand above the `shift` dropped, with one above them that says whether
        // it saturates.
        let mut least = u32::from(*shift) + u32::from(bits) + 1;
        for term in terms(graph, *input) {
            let range = graph.wire(term.wire).range;
            lo += i128::from(range.lo) << term.shift;
            hi += i128::from(range.hi) << term.shift;
            least = least.max(u32::from(term.shift) + 1);
        }
        Self { ends: (lo, hi), least }
    }

    /// Bits of its ring.
    pub(super) fn width(&self) -> u32 {
        ring_width(self.ends.0, self.ends.1).max(self.least)
    }
}

/// Bits that a weight needs in the channel that is shifted most.
fn room(linear: &Linear) -> u32 {
    let shift = linear.shifts.iter().copied().max().unwrap_or(0);
    u32::from(shift) + u32::from(linear.weight_bits)
}

/// Linear layers and products, and slices and sums of their results: needed only in the ring of the
/// sum that takes them in.
fn accumulators(graph: &Graph) -> Vec<bool> {
    let mut accumulators: Vec<bool> = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        accumulators.push(match &node.op {
            Op::Linear(_) | Op::Product { .. } => true,
            Op::SumPool { .. } | Op::View { .. } | Op::Reorder { .. } | Op::Concat { .. } => {
                node.op.inputs().into_iter().all(|input| accumulators[input])
            }
            // Neither has a wire of its own in the plan.
            Op::Add { .. } | Op::Output { .. } => true,
            Op::Input { .. }
            | Op::Relu { .. }
            | Op::Requant { .. }
            | Op::Lookup(_)
            | Op::MaxPool { .. } => false,
        });
    }
    accumulators
}
