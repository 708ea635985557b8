//! Nodes of the network, appended one by one.

use std::rc::Rc;

use super::{Entry, Importer, Value, label};
use crate::model::{Node, Op, ValueId, check_shape};
use crate::onnx::error::Problem;
use crate::onnx::layout::Layout;
use crate::onnx::name;
use crate::onnx::operators::keeps_shape;
use crate::onnx::proto::NodeProto;

impl Importer {
    /// What stands in for the result of a node that is not supported, so that those behind it are
    /// looked at, too.
    pub(super) fn assumed(&mut self, node: &NodeProto) -> Entry {
        let Some(name) = node.output.first() else { return Entry::Unknown };
        let first = node.input.first().and_then(|name| self.entries.get(name));
        let lengths = match (self.said.get(name), first) {
            (Some(said), _) => said.clone(),
            (None, Some(Entry::Value(value))) if keeps_shape(&node.op_type) => {
                value.layout.lengths()
            }
            (None, _) => return Entry::Unknown,
        };
        let shape = match lengths[..] {
            [c] => [c, 1, 1],
            [c, length] => [c, 1, length],
            [c, h, w] => [c, h, w],
            _ => [lengths.iter().product(), 1, 1],
        };
        // Any operation will do: a network with a stand-in is never given out.
        let layout = Rc::new(Layout::natural(&lengths));
        let id = ValueId(self.nodes.len() + 1);
        let (name, op) = (name::shown(label(node)), Op::Relu { max: None });
        self.non_negative.push(false);
        self.nodes.push(Node { name, op, inputs: vec![ValueId::INPUT], output: id, shape });
        Entry::Value(Value { id, layout })
    }

    /// Appends an operation that leaves every element where it is.
    pub(in crate::onnx) fn push(
        &mut self,
        node: &NodeProto,
        op: Op,
        inputs: &[&Value],
    ) -> Result<Value, Problem> {
        let ids: Vec<ValueId> = inputs.iter().map(|value| value.id).collect();
        let id = self.append(node, op, &ids)?;
        Ok(Value { id, layout: Rc::clone(&inputs[0].layout) })
    }

    /// Appends an operation whose result the graph sees as it is stored, as axes of these lengths.
    pub(in crate::onnx) fn push_as(
        &mut self,
        node: &NodeProto,
        op: Op,
        input: &Value,
        lengths: impl FnOnce([usize; 3]) -> Vec<usize>,
    ) -> Result<Value, Problem> {
        let id = self.append(node, op, &[input.id])?;
        let layout = Rc::new(Layout::natural(&lengths(self.stored(id))));
        Ok(Value { id, layout })
    }

    /// Appends an operation.
    pub(in crate::onnx) fn append(
        &mut self,
        node: &NodeProto,
        op: Op,
        inputs: &[ValueId],
    ) -> Result<ValueId, Problem> {
        let shapes: Vec<[usize; 3]> = inputs.iter().map(|&id| self.stored(id)).collect();
        let shape = op.output_shape(label(node), &shapes)?;
        check_shape(label(node), shape)?;
        let output = ValueId(self.nodes.len() + 1);
        let name = self.unique(label(node));
        self.non_negative.push(match op {
            Op::Relu { .. } => true,
            Op::Conv(_) | Op::PartRelu(_) | Op::Function(_) => false,
            Op::Add
            | Op::Mul
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::View(_)
            | Op::Reorder(_)
            | Op::Concat => inputs.iter().all(|input| self.non_negative[input.0]),
        });
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), output, shape });
        Ok(output)
    }

    fn unique(&mut self, name: &str) -> String {
        let mut unique = if name.is_empty() { "unnamed".to_owned() } else { name::shown(name) };
        while let Some(count) = self.names.get_mut(&unique) {
            *count += 1;
            unique = format!("{unique}.{count}");
        }
        self.names.insert(unique.clone(), 1);
        unique
    }
}
