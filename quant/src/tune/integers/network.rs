//! What is evaluated and differentiated: the nodes of an integer network as the trainer's.

use fusion::{Graph, Kernel, Linear, Op, Wire, WireId};
use protocols::steps::Linearized;
use train::{Network, Rounding, Table};

use super::TuneError;

/// The largest magnitude of a wire: half of what is exact, since the bias may be as large as the
/// products.
const LIMIT: i64 = 1 << 23;

/// By wire, the value of the trained network that it is: the input is 0, and the others follow in
/// their order.
pub(super) fn values(graph: &Graph) -> Vec<usize> {
    let mut next = 0;
    let mut values = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        values.push(match &node.op {
            Op::Input { .. } => 0,
            Op::Output { input } => values[*input],
            Op::Linear(_)
            | Op::Add { .. }
            | Op::Product { .. }
            | Op::Relu { .. }
            | Op::Requant { .. }
            | Op::Lookup(_)
            | Op::MaxPool { .. }
            | Op::SumPool { .. }
            | Op::View { .. }
            | Op::Reorder { .. }
            | Op::Concat { .. } => {
                next += 1;
                next
            }
        });
    }
    values
}

/// The network that is trained.
pub(super) fn network(graph: &Graph) -> Network {
    let values = values(graph);
    let mut nodes = Vec::new();
    for node in graph.nodes() {
        let op = match &node.op {
            Op::Input { .. } | Op::Output { .. } => continue,
            Op::Linear(Linear { kernel: Kernel::Spatial, geometry, .. }) => {
                train::Op::Linear(*geometry)
            }
            Op::Linear(Linear { kernel: Kernel::Winograd, geometry, .. }) => {
                train::Op::Tiles(*geometry)
            }
            Op::Add { terms } => train::Op::Add {
                factors: terms.iter().map(|term| f64::from(term.shift).exp2()).collect(),
            },
            Op::Product { .. } => train::Op::Product,
            Op::Relu { .. } => train::Op::Relu { max: None },
            Op::Requant { shift, linearized, .. } => {
                rounding(*shift, &node.wire, linearized.as_ref())
            }
            Op::Lookup(lookup) => train::Op::Table(Table {
                first: lookup.first,
                values: lookup.table.iter().map(|&value| value as f64).collect(),
            }),
            Op::MaxPool { window, .. } => train::Op::MaxPool(*window),
            Op::SumPool { window, .. } => train::Op::SumPool { window: *window, factor: 1.0 },
            Op::View { view, .. } => train::Op::View(*view),
            Op::Reorder { order, .. } => train::Op::Reorder(*order),
            Op::Concat { .. } => train::Op::Concat,
        };
        let inputs = node.op.inputs().into_iter().map(|wire| values[wire]).collect();
        nodes.push(train::Node { op, inputs, shape: node.wire.shape });
    }
    let input = graph.wire(graph.input()).shape;
    Network { input, nodes, output: values[graph.output()] }
}

/// A requantization as the trainer does it.
fn rounding(shift: u8, wire: &Wire, linearized: Option<&Linearized>) -> train::Op {
    let (low, high) = (wire.range.lo as f64, wire.range.hi as f64);
    let rounding = Rounding { factor: (-f64::from(shift)).exp2(), low, high };
    let Some(Linearized { kept, below }) = linearized else {
        return train::Op::Round(rounding);
    };
    // Each has half of the integers that the signed wire holds: those from 0 on where it is kept.
    let floors = kept.iter().map(|kept| if kept { 0.0 } else { -(*below as f32) }).collect();
    train::Op::RoundEach { rounding: Rounding { low: 0.0, ..rounding }, floors }
}

/// The base-two logarithm of how many steps of a layer's accumulators one of the output is; `None`
/// where they end as logits.
pub(super) fn step_of(graph: &Graph, wire: WireId) -> Option<f64> {
    graph.consumers(wire).into_iter().find_map(|reader| match &graph.node(reader).op {
        Op::Requant { shift, .. } => Some(f64::from(*shift)),
        Op::Add { terms } => {
            // What is shifted left by two on its way has steps that are four times as large.
            let own = terms.iter().find(|term| term.wire == wire)?;
            step_of(graph, reader).map(|step| step - f64::from(own.shift))
        }
        Op::Relu { .. }
        | Op::MaxPool { .. }
        | Op::SumPool { .. }
        | Op::View { .. }
        | Op::Reorder { .. }
        | Op::Concat { .. } => step_of(graph, reader),
        Op::Input { .. }
        | Op::Linear(_)
        | Op::Product { .. }
        | Op::Lookup(_)
        | Op::Output { .. } => None,
    })
}

/// Whether every wire that is rounded holds integers that single precision does. Logits are only
/// looked at by the loss.
pub(super) fn check(graph: &Graph) -> Result<(), TuneError> {
    for (id, node) in graph.nodes().iter().enumerate() {
        let found = node.wire.range.lo.abs().max(node.wire.range.hi.abs());
        if found > LIMIT && step_of(graph, id).is_some() {
            return Err(TuneError::TooLarge { node: node.name.clone(), found, limit: LIMIT });
        }
    }
    Ok(())
}
