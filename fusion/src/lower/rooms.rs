//! How far accumulators may reach before a ring becomes wider: rings are whole bits, and what they
//! hold hardly ever fills them.

use std::collections::{BTreeMap, BTreeSet};

use protocols::Bits;

use super::rings::Sum;
use super::{Options, fuse, legal, terms};
use crate::{Error, Graph, Interval, Op, WireId};

/// What the accumulators of each linear layer may be.
pub type Rooms = BTreeMap<String, Interval>;

/// By linear layer, the interval that its accumulators may have for a graph of the same nodes to
/// have the rings that this graph has, also where the other layers make use of theirs. Each holds
/// the layer's own interval.
///
/// Layers that are summed share what is free in the ring of the sum. Where anything else than a
/// requantization or the output reads a layer, its own interval is all that it has; and so it is
/// where a wider one would keep a pass from simplifying the graph.
///
/// # Errors
/// As [`fuse`].
pub fn rooms(graph: &Graph) -> Result<Rooms, Error> {
    let lowered = legal(graph, &BTreeSet::new())?;
    let linear = (0..lowered.nodes().len()).filter(|&id| is_linear(&lowered, id));
    let found = linear.map(|id| (lowered.node(id).name.clone(), room(&lowered, id))).collect();
    let rings = rings_of(graph)?;
    let holds = |rooms: &Rooms| Ok::<_, Error>(rings_of(&reaching(graph, rooms)?)? == rings);
    if holds(&found)? {
        return Ok(found);
    }
    // Some pass looks at intervals: who is in its way gets no more than it has.
    let mut rooms = Rooms::new();
    for node in graph.nodes() {
        let Op::Linear(linear) = &node.op else { continue };
        let room = found.get(&node.name).copied().unwrap_or(linear.range);
        rooms.insert(node.name.clone(), room);
        if !holds(&rooms)? {
            rooms.insert(node.name.clone(), linear.range);
        }
    }
    Ok(rooms)
}

/// The graph with other intervals of some layers.
pub(super) fn reaching(graph: &Graph, rooms: &Rooms) -> Result<Graph, Error> {
    let mut builder = Graph::builder(graph.name(), graph.preprocess().clone());
    for node in graph.nodes() {
        let mut op = node.op.clone();
        if let (Op::Linear(linear), Some(&room)) = (&mut op, rooms.get(&node.name)) {
            linear.range = room;
        }
        builder.push(node.name.clone(), op)?;
    }
    builder.finish()
}

/// The rings of all wires of a graph's plan.
pub(super) fn rings_of(graph: &Graph) -> Result<Vec<Bits>, Error> {
    let plan = fuse(graph, &Options::default())?;
    Ok(plan.wires.iter().map(|wire| wire.ring).collect())
}

fn is_linear(graph: &Graph, id: WireId) -> bool {
    matches!(graph.node(id).op, Op::Linear(_))
}

/// What all that reads a layer leaves to it.
fn room(graph: &Graph, id: WireId) -> Interval {
    let wire = graph.wire(id);
    let rooms = readers(graph, id).into_iter().map(|reader| {
        if let Op::Requant { input, shift: 1.., .. } = &graph.node(reader).op {
            return beside(graph, reader, *input).of(wire.range);
        }
        // One that drops nothing may be a legalized sum, as wide as its terms make it. Logits that
        // are a sum share its width, and nothing says how.
        let is_output = matches!(&graph.node(reader).op, Op::Output { input } if *input == id);
        if is_output { wire.declared() } else { wire.range }
    });
    let all = rooms.reduce(|a, b| Interval { lo: a.lo.max(b.lo), hi: a.hi.min(b.hi) });
    all.unwrap_or(wire.range)
}

/// What reads a wire, itself or as a term of a sum.
fn readers(graph: &Graph, id: WireId) -> Vec<WireId> {
    let consumers = graph.consumers(id).into_iter();
    let through = consumers.flat_map(|reader| {
        let is_sum = matches!(graph.node(reader).op, Op::Add { .. });
        if is_sum { graph.consumers(reader) } else { vec![reader] }
    });
    through.collect()
}

/// What every layer of a sum may have more, to each side.
struct More {
    below: i128,
    above: i128,
}

impl More {
    /// An interval that is so much wider.
    fn of(&self, Interval { lo, hi }: Interval) -> Interval {
        let wider = Interval::checked(i128::from(lo) - self.below, i128::from(hi) + self.above);
        wider.unwrap_or(Interval { lo, hi })
    }
}

/// What is free in the ring of a requantization, for each of the layers that it sums.
fn beside(graph: &Graph, id: WireId, input: WireId) -> More {
    let sum = Sum::of(graph, id);
    let half = 1i128 << (sum.width() - 1);
    let terms = terms(graph, input).into_iter();
    let layers = terms.filter(|term| is_linear(graph, term.wire));
    // A layer that is shifted left by two takes four times what it has more.
    let parts: i128 = layers.map(|term| 1 << term.shift).sum();
    let (below, above) = (sum.ends.0 + half, half - 1 - sum.ends.1);
    More { below: below / parts.max(1), above: above / parts.max(1) }
}
