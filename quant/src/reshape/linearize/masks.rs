//! A network with ReLUs of some elements.

use model::{Mask, Model, Node, Op, ValueId};

/// The network whose ReLUs at these nodes are of the elements that the masks hold. Without any
/// element a node goes, with all it is the ReLU that it was.
pub(super) fn masked(model: &Model, masks: &[(usize, Mask)]) -> Model {
    let mut new = Model { nodes: Vec::with_capacity(model.nodes.len()), ..model.clone() };
    // Where each value of the network is found in the new one.
    let mut places = vec![ValueId::INPUT];
    for (index, node) in model.nodes.iter().enumerate() {
        let inputs: Vec<ValueId> = node.inputs.iter().map(|input| places[input.0]).collect();
        let mask = masks.iter().find(|(at, _)| *at == index).map(|(_, mask)| mask);
        // A ReLU of all or of no elements would be read back as something else.
        let op = match mask.map(|mask| (mask, mask.count())) {
            Some((_, 0)) => {
                // What read the ReLU reads what it read.
                places.push(inputs[0]);
                continue;
            }
            Some((mask, count)) if count < mask.len() => Op::PartRelu(mask.clone()),
            Some(_) | None => node.op.clone(),
        };
        let output = ValueId(new.nodes.len() + 1);
        new.nodes.push(Node { name: node.name.clone(), op, inputs, output, shape: node.shape });
        places.push(output);
    }
    new.output = places[model.output.0];
    new
}
