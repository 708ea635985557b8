//! What is evaluated and differentiated: the nodes of an integer network as the trainer's.

use fusion::{Graph, Interval, Kernel, Linear, Op, Wire, WireId};
use protocols::linear::winograd::POSITIONS;
use protocols::steps::Linearized;
use protocols::weights::{LayerWeights, Weights};
use train::{Network, Rounding, Table};

use super::TuneError;

/// The largest magnitude of a wire and of sums on the way to it: half of what is exact, since the
/// bias may be as large as the products.
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
                train::Op::Winograd(*geometry)
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

/// Whether single precision holds the integers of every wire that is rounded, and what they are
/// summed from. Logits are only looked at by the loss.
pub(super) fn check(graph: &Graph, weights: &Weights) -> Result<(), TuneError> {
    for (id, node) in graph.nodes().iter().enumerate() {
        if step_of(graph, id).is_none() {
            continue;
        }
        let mut found = node.wire.range.lo.abs().max(node.wire.range.hi.abs());
        if let Op::Linear(linear) = &node.op
            && let Kernel::Winograd = linear.kernel
            && let Some(layer) = weights.layers.get(&node.name)
        {
            found = found.max(through_domain(linear, layer, graph.wire(linear.input).range));
        }
        if found > LIMIT {
            return Err(TuneError::TooLarge { node: node.name.clone(), found, limit: LIMIT });
        }
    }
    Ok(())
}

/// How large sums may become on the way to an output of Winograd's: what is added there may be of
/// either sign, and the output itself less.
fn through_domain(linear: &Linear, layer: &LayerWeights, input: Interval) -> i64 {
    let channels = linear.geometry.out_channels;
    let fan_in = (layer.weights.len() / (POSITIONS * channels).max(1)).max(1);
    // By position and channel.
    let sums = layer.weights.chunks_exact(fan_in).enumerate().map(|(at, weights)| {
        let total: i64 = weights.iter().map(|&weight| i64::from(weight.unsigned_abs())).sum();
        let shift = linear.shifts.get(at).copied().unwrap_or(0);
        (total << shift).saturating_mul(feature(input, at / channels))
    });
    let sums: Vec<i64> = sums.collect();
    // An output of the first row or column leaves the last of the domain out, one of the second
    // the first.
    let of = |(output, channel): (usize, usize)| {
        let parts = (0..POSITIONS).filter(|p| {
            let [rows, columns] = [output / 2, output % 2].map(|from| from..from + 3);
            rows.contains(&(p / 4)) && columns.contains(&(p % 4))
        });
        parts.map(|p| sums[p * channels + channel]).fold(0, i64::saturating_add)
    };
    (0..4).flat_map(|o| (0..channels).map(move |k| (o, k))).map(of).max().unwrap_or(0)
}

/// The largest magnitude of what an input becomes at a position of the domain: sums of two in its
/// second row and column, elsewhere differences.
fn feature(input: Interval, position: usize) -> i64 {
    let ends =
        [position / 4, position % 4].into_iter().fold((input.lo, input.hi), |(lo, hi), at| {
            if at == 1 { (2 * lo, 2 * hi) } else { (lo - hi, hi - lo) }
        });
    ends.0.abs().max(ends.1.abs())
}

#[cfg(test)]
mod tests {
    use protocols::linear::Geometry;

    use super::*;

    #[test]
    fn sums_of_the_domain_count_whatever_their_sign() {
        // One pair of channels. Of four inputs from 0 to 15 all are added at one position, and two
        // subtracted at the others.
        let input = Interval { lo: 0, hi: 15 };
        let features: Vec<i64> = (0..POSITIONS).map(|position| feature(input, position)).collect();
        let mut expected = [30; POSITIONS];
        expected[5] = 60;
        assert_eq!(features, expected);
        let mut weights = vec![0; POSITIONS];
        (weights[0], weights[5], weights[15]) = (1, -3, 2);
        let mut shifts = vec![0; POSITIONS];
        shifts[15] = 4;
        let linear = Linear {
            input: 0,
            geometry: Geometry::same_size([1; 2], [4; 2], 3),
            kernel: Kernel::Winograd,
            weight_bits: 3,
            shifts,
            range: Interval { lo: 0, hi: 0 },
            scale: 1.0,
        };
        let layer = LayerWeights { weights, bias: vec![0] };
        // The last output is without the first position.
        assert_eq!(through_domain(&linear, &layer, input), 3 * 60 + (2 << 4) * 30);
    }
}
