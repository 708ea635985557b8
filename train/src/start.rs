//! Weights to begin with, of networks that know nothing yet and have no batch normalization.

use rand::RngExt;

use crate::Parameters;
use crate::images::{OF_LAYERS, generator};
use crate::network::{Network, Op};

/// Random weights and no biases for every layer, by its node.
///
/// Variances are He's: two over the inputs of a weight's output where a ReLU or another function
/// follows, one over them elsewhere (He, Zhang, Ren, Sun, ICCV 2015). So values keep their size
/// from layer to layer, and so do gradients. The last layer of each branch that ends in a sum is
/// zero, so that sums do not grow with the number of blocks (Zhang, Dauphin, Ma, Fixup
/// initialization, ICLR 2019).
pub fn random_start(network: &Network, seed: u64) -> Vec<(usize, Parameters<f32>)> {
    let (functions, ends) = (before_functions(network), branch_ends(network));
    let layers = network.layers().map(|(node, geometry)| {
        let fan_in = geometry.weights() as f64 / geometry.out_channels as f64;
        // A ReLU lets half of the squares through: the next layer's weights make up for it.
        let gain = match (ends[node], functions[node + 1]) {
            (true, _) => 0.0,
            (false, true) => 2.0,
            (false, false) => 1.0,
        };
        // Uniform within -a and a has the variance a^2 / 3.
        let most = (3.0 * gain / fan_in).sqrt();
        let mut random = generator(seed, OF_LAYERS + node as u64);
        let weight = (0..geometry.weights())
            .map(|_| (most * (2.0 * random.random::<f64>() - 1.0)) as f32)
            .collect();
        (node, Parameters { weight, bias: vec![0.0; geometry.out_channels] })
    });
    layers.collect()
}

/// By value: whether a function is what changes it next, behind any sums and pooling.
fn before_functions(network: &Network) -> Vec<bool> {
    let mut found = vec![false; network.nodes.len() + 1];
    for (index, node) in network.nodes.iter().enumerate().rev() {
        let is_before = match &node.op {
            Op::Relu { .. } | Op::PRelu { .. } | Op::Function(_) | Op::Table(_) => true,
            Op::Linear(_) | Op::Winograd(_) | Op::Product => false,
            Op::Add { .. }
            | Op::Round(_)
            | Op::RoundEach { .. }
            | Op::MaxPool(_)
            | Op::SumPool { .. }
            | Op::View(_)
            | Op::Reorder(_)
            | Op::Concat => found[index + 1],
        };
        node.inputs.iter().for_each(|&value| found[value] |= is_before);
    }
    found
}

/// By node: whether it is the last layer of a branch that ends in a sum. Of what is summed, that is
/// the one behind the most layers; where two are behind as many, neither is a branch of the other.
fn branch_ends(network: &Network) -> Vec<bool> {
    let mut depths = vec![0; network.nodes.len() + 1];
    let mut uses = depths.clone();
    for (index, node) in network.nodes.iter().enumerate() {
        let before = node.inputs.iter().map(|&value| depths[value]).max().unwrap_or(0);
        depths[index + 1] = before + usize::from(matches!(node.op, Op::Linear(_)));
        node.inputs.iter().for_each(|&value| uses[value] += 1);
    }
    let mut ends = vec![false; network.nodes.len()];
    for node in network.nodes.iter().filter(|node| matches!(node.op, Op::Add { .. })) {
        let depth = |&value: &usize| depths[value];
        let most = node.inputs.iter().map(depth).max().unwrap_or(0);
        let mut deepest = node.inputs.iter().filter(|value| depth(value) == most);
        let (Some(&branch), None) = (deepest.next(), deepest.next()) else { continue };
        let layer =
            branch.checked_sub(1).filter(|&at| matches!(network.nodes[at].op, Op::Linear(_)));
        // Others that read it would be left with nothing.
        if let Some(layer) = layer.filter(|_| uses[branch] == 1) {
            ends[layer] = true;
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use model::{Geometry, Window};

    use super::*;
    use crate::Node;

    fn push(network: &mut Network, op: Op, inputs: &[usize], shape: [usize; 3]) -> usize {
        network.nodes.push(Node { op, inputs: inputs.to_vec(), shape });
        network.nodes.len()
    }

    fn conv(network: &mut Network, input: usize, to: usize, kernel: usize) -> usize {
        let [channels, rows, columns] = network.shape(input);
        let geometry = Geometry::same_size([channels, to], [rows, columns], kernel);
        push(network, Op::Linear(geometry), &[input], geometry.out_shape())
    }

    /// A layer with a ReLU behind pooling; a branch beside its input and one beside a projection;
    /// and a sum of two that are behind as many layers.
    fn branches() -> Network {
        let mut net = Network { input: [8, 6, 6], nodes: Vec::new(), output: 0 };
        let window = Window { kernel: [2; 2], stride: [2; 2], pad: [0; 4] };
        let a = conv(&mut net, 0, 40, 3);
        let a = push(&mut net, Op::MaxPool(window), &[a], [40, 3, 3]);
        let a = push(&mut net, Op::Relu { max: None }, &[a], [40, 3, 3]);
        let b = conv(&mut net, a, 40, 3);
        let add = Op::Add { factors: vec![1.0; 2] };
        let a = push(&mut net, add.clone(), &[a, b], [40, 3, 3]);
        let b = conv(&mut net, a, 50, 3);
        let b = push(&mut net, Op::Relu { max: Some(6.0) }, &[b], [50, 3, 3]);
        let b = conv(&mut net, b, 30, 3);
        let skip = conv(&mut net, a, 30, 1);
        let sum = push(&mut net, add.clone(), &[b, skip], [30, 3, 3]);
        let twins = [conv(&mut net, sum, 30, 1), conv(&mut net, sum, 30, 1)];
        net.output = push(&mut net, add, &twins, [30, 3, 3]);
        net
    }

    #[test]
    fn variances_are_he_s_and_branches_start_with_nothing() {
        let network = branches();
        let start = random_start(&network, 3);
        let gains = [2.0, 0.0, 2.0, 0.0, 1.0, 1.0, 1.0];
        let nodes: Vec<usize> = network.layers().map(|(node, _)| node).collect();
        assert_eq!(start.iter().map(|(node, _)| *node).collect::<Vec<_>>(), nodes);
        for (((node, found), gain), (_, geometry)) in start.iter().zip(gains).zip(network.layers())
        {
            let count = found.weight.len() as f64;
            let squares: f64 = found.weight.iter().map(|&weight| f64::from(weight).powi(2)).sum();
            let expected = gain / (geometry.in_channels * geometry.kernel_h.pow(2)) as f64;
            let off = (squares / count - expected).abs();
            assert!(off <= 0.1 * expected, "node {node}: {} {expected}", squares / count);
            assert!(found.bias.iter().all(|&bias| bias == 0.0));
        }
        assert_eq!(start, random_start(&network, 3));
        assert_ne!(start, random_start(&network, 4));
        // Layers of one shape do not start alike.
        assert_ne!(start[5].1, start[6].1);
    }

    /// Deep and without batch normalization: what comes out is as large as what goes in.
    #[test]
    fn values_keep_their_size_through_depth() {
        let mut net = Network { input: [16, 8, 8], nodes: Vec::new(), output: 0 };
        for _ in 0..20 {
            let input = net.output;
            let layer = conv(&mut net, input, 16, 1);
            net.output = push(&mut net, Op::Relu { max: None }, &[layer], [16, 8, 8]);
        }
        let mut trainer = crate::Trainer::<f32>::new(&net, 1);
        for (node, start) in random_start(&net, 1) {
            trainer.set(node, &start.weight, &start.bias);
        }
        let input: Vec<f32> =
            (0..1024).map(|at| ((at * 7919) % 1013) as f32 / 506.0 - 1.0).collect();
        let mut output = vec![0.0; 1024];
        trainer.outputs(&input, &mut output);
        let size = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>();
        let grown = size(&output) / size(&input);
        assert!((0.02..20.0).contains(&grown), "{grown}");
    }
}
