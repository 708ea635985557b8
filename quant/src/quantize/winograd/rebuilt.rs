//! A network with one layer replaced, whose accumulators may be finer.

use fusion::{Graph, Linear, Op, WireId};
use protocols::weights::{LayerWeights, Weights};

use super::super::QuantizeError;
use super::Network;

/// The network with another layer at a node, whose accumulators are finer by some bits; what reads
/// them follows.
pub(super) fn rebuilt(
    graph: &Graph,
    weights: &Weights,
    id: WireId,
    (linear, layer, finer): (Linear, LayerWeights, u8),
) -> Result<Network, QuantizeError> {
    let mut weights = weights.clone();
    weights.layers.insert(graph.node(id).name.clone(), layer);
    // By node: its values are `2^fineness` times as many steps as before, each as much finer. It
    // ends where a requantization shifts it out.
    let mut fineness = vec![0u8; graph.nodes().len()];
    let mut builder = Graph::builder(graph.name(), graph.preprocess().clone());
    for (at, node) in graph.nodes().iter().enumerate() {
        let finest = node.op.inputs().into_iter().map(|wire| fineness[wire]).max().unwrap_or(0);
        let mut op = if at == id { Op::Linear(linear.clone()) } else { node.op.clone() };
        fineness[at] = if at == id { finer + finest } else { finest };
        match &mut op {
            Op::Linear(linear) => {
                linear.scale /= f64::from(finest).exp2();
                let layer = weights.layers.get_mut(&node.name);
                let layer = layer
                    .ok_or_else(|| fusion::Error::MissingWeights { node: node.name.clone() })?;
                // A layer that reads finer values gives finer sums: its bias counts in these.
                layer.bias.iter_mut().for_each(|bias| *bias <<= finest);
                *linear =
                    linear.clone().bounded(&node.name, layer, builder.wire(linear.input).range)?;
            }
            Op::Add { terms } => {
                // Terms that did not become finer are shifted up to the finest.
                terms.iter_mut().for_each(|term| term.shift += finest - fineness[term.wire]);
            }
            Op::Requant { shift, .. } => {
                *shift += finest;
                fineness[at] = 0;
            }
            Op::Lookup(_) => fineness[at] = 0,
            Op::Product { input, gate } => fineness[at] = fineness[*input] + fineness[*gate],
            Op::Input { .. } | Op::Relu { .. } | Op::MaxPool { .. } | Op::SumPool { .. } => {}
            Op::View { .. } | Op::Reorder { .. } | Op::Output { .. } => {}
            // Its parts are requantized, each to one scale.
            Op::Concat { .. } => {}
        }
        builder.push(&node.name, op)?;
    }
    Ok((builder.finish()?, weights))
}
