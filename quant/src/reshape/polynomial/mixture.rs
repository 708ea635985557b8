//! A network in which a node and what may stand in its place are both there, each times a weight.

use model::{Model, Node, Op, ValueId};

use super::parabola::Parabola;
use super::pooling;
use super::surgery::{channels, free, replace, spelled};

/// What may stand in a node's place, one a channel.
pub(super) enum Other {
    /// Parabolas, for ReLUs.
    Parabolas(Vec<Parabola>),
    /// The pooling of the other kind, and the lines from its values to those of the node.
    Lines(Vec<[f64; 2]>),
}

/// The names of the layers that weigh the two: one weight a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Weighed {
    /// That of the node.
    pub(super) kept: String,
    /// That of what may stand in its place.
    pub(super) other: String,
}

/// Puts both in a node's place, with a half of each.
pub(super) fn mix(model: &mut Model, at: usize, other: &Other) -> Weighed {
    let node = model.nodes[at].clone();
    let named = |part: &str| free(model, &format!("{}.{part}", node.name));
    let weighed = Weighed { kept: named("kept"), other: named("other") };
    // As `replace` numbers them: one behind the other from the node's own value on.
    let value = |behind: usize| ValueId(at + 1 + behind);
    let mut nodes = vec![node.clone()];
    match other {
        Other::Parabolas(parabolas) => nodes.extend(spelled(model, at, value(1), parabolas)),
        Other::Lines(lines) => {
            let numbers = [0, 1].map(|part| lines.iter().map(|line| line[part]).collect());
            let op = pooling::other(&node.op);
            nodes.push(Node { name: named("pooling"), op, ..node.clone() });
            nodes.push(channels(named("line"), &node, value(1), numbers));
        }
    }
    let last = nodes.len() - 1;
    let half = [vec![0.5; node.shape[0]], vec![0.0; node.shape[0]]];
    nodes.push(channels(weighed.kept.clone(), &node, value(0), half.clone()));
    nodes.push(channels(weighed.other.clone(), &node, value(last), half));
    let inputs = vec![value(last + 1), value(last + 2)];
    nodes.push(Node { name: named("mixture"), op: Op::Add, inputs, ..node });
    replace(model, at, nodes);
    weighed
}

#[cfg(test)]
mod tests {
    use model::float::evaluate;
    use model::{Dataset, Preprocess};

    use super::*;
    use crate::reshape::polynomial::surgery::spelled_out;
    use crate::testing::residual_network;

    /// The mixture with so much of either.
    fn weighed(mut mixed: Model, names: &Weighed, parts: [f32; 2]) -> Model {
        for (name, part) in [&names.kept, &names.other].into_iter().zip(parts) {
            let node = mixed.nodes.iter_mut().find(|node| node.name == *name).unwrap();
            let Op::Conv(conv) = &mut node.op else { panic!("{name} is no layer") };
            conv.weight.fill(part);
        }
        mixed.check().unwrap();
        mixed
    }

    #[test]
    fn a_mixture_is_the_one_the_other_or_between_them() {
        let data = Dataset::noise(8, [3, 8, 8], 5);
        let images = data.batch(0..8, &Preprocess::Unit).unwrap();
        let model = residual_network();
        // Behind a layer, behind a sum, and a maximum.
        for at in [3, 6, 7] {
            let channels = 0..model.nodes[at].shape[0];
            let (other, wanted) = if let Op::MaxPool(window) = model.nodes[at].op {
                let mut wanted = model.clone();
                wanted.nodes[at].op = Op::AvgPool(window);
                (Other::Lines(channels.map(|_| [1.0, 0.0]).collect()), wanted)
            } else {
                let parabolas = channels.map(|channel| {
                    let at = channel as f64;
                    Parabola { square: 0.1 + 0.02 * at, linear: 0.5 - 0.01 * at, constant: 0.1 }
                });
                let parabolas: Vec<Parabola> = parabolas.collect();
                let wanted = spelled_out(&model, at, &parabolas);
                (Other::Parabolas(parabolas), wanted)
            };
            let mut mixed = model.clone();
            let names = mix(&mut mixed, at, &other);
            let said = |model: &Model| evaluate(model, &images).unwrap().data;
            let [kept, replaced] =
                [[1.0, 0.0], [0.0, 1.0]].map(|parts| said(&weighed(mixed.clone(), &names, parts)));
            assert_eq!(kept, said(&model), "node {at}");
            let largest = replaced.iter().fold(0.0f32, |most, value| value.abs().max(most));
            let off = replaced.iter().zip(said(&wanted)).map(|(a, b)| (a - b).abs());
            assert!(off.fold(0.0, f32::max) < 1e-5 * largest, "node {at}");
            assert_ne!(kept, replaced, "node {at}");
            assert_eq!(said(&mixed), said(&weighed(mixed.clone(), &names, [0.5; 2])));
        }
    }
}
