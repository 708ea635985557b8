//! What changes nothing in inference: Dropout, Softmax at the end.

use super::constant::{Data, Int};
use super::error::Problem;
use super::importer::{Importer, Value, label};
use super::inputs::Inputs;
use super::name;
use super::operators::unsupported;
use super::proto::NodeProto;

impl Importer {
    pub(super) fn dropout(&self, inputs: &Inputs) -> Result<Value, Problem> {
        let training = inputs.optional(2)?.map(|flag| match &flag.data {
            Data::Ints(ints) => ints.iter().any(|int| *int != Int::Known(0)),
            Data::Floats(_) | Data::Bytes(_) | Data::Scaled(..) => true,
        });
        if training == Some(true) {
            let advice = "export the network after model.eval()";
            return Err(Problem::new("it is in training mode", advice));
        }
        inputs.value(0)
    }

    /// Probabilities of logits are left out: their order is that of the logits.
    pub(super) fn softmax(&mut self, node: &NodeProto, value: Value) -> Result<Value, Problem> {
        if !self.is_probability(node) {
            return Err(unsupported(node));
        }
        let lengths = value.layout.lengths();
        let rank = lengths.len() as i64 + 1;
        // Before operator set 13 it was over all axes from this one on.
        let (default, joined) = if self.opset < 13 { (1, true) } else { (-1, false) };
        let axis = node.int_or("axis", default)?;
        let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
        // Over all classes at once, that is: of several pixels each has probabilities of its own.
        let covered = (1..rank).all(|other| {
            other == axis || joined && other > axis || lengths[other as usize - 1] == 1
        });
        if !covered || !(1..rank).contains(&axis) {
            let reason = format!("it is over one axis of {lengths:?}");
            return Err(Problem::new(reason, "only the one of all classes is left out at the end"));
        }
        self.notes.push(format!(
            "{} ({}) at the end is left out: probabilities are computed from the logits",
            name::shown(label(node)),
            node.op_type
        ));
        Ok(value)
    }
}
