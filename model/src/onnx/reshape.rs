//! Flatten, Reshape, Squeeze and Unsqueeze: all that they may do is to flatten an image, or to undo
//! it.

use super::constant::Int;
use super::error::Problem;
use super::importer::{Importer, Inputs, Value};
use super::proto::NodeProto;

impl Importer {
    pub(super) fn flatten(&mut self, node: &NodeProto, input: Value) -> Result<Value, Problem> {
        match (node.int_or("axis", 1)?, input.flat) {
            (1, _) | (-3, false) | (-1, true) => Ok(Value { flat: true, ..input }),
            (axis, _) => Err(Problem::new(format!("its axis is {axis}"), "flatten from axis 1")),
        }
    }

    pub(super) fn reshape(&mut self, inputs: &Inputs) -> Result<Value, Problem> {
        let input = inputs.value(0)?;
        let target = inputs.constant(1)?;
        let dims = target.as_ints()?;
        let shape = self.shape(input);
        let elements: usize = shape.iter().product();
        let before = if input.flat { vec![elements] } else { shape.to_vec() };
        let flat = self.is_reshape(dims, &before, &[elements]);
        let image = self.is_reshape(dims, &before, &shape);
        match (flat, image) {
            (true, _) => Ok(Value { flat: true, ..input }),
            (false, true) => Ok(Value { flat: false, ..input }),
            (false, false) => Err(Problem::new(
                format!("it makes {dims:?} of {before:?} per image"),
                "only flattening to [N, C * H * W], and undoing that, are supported",
            )),
        }
    }

    /// Whether a Reshape's target means `[N, after...]` for an operand `[N, before...]`.
    fn is_reshape(&self, target: &[Int], before: &[usize], after: &[usize]) -> bool {
        let Some((batch, rest)) = target.split_first() else {
            return false;
        };
        let inferred = target.iter().filter(|&&int| int == Int::Known(-1)).count();
        let whole_batch = match *batch {
            Int::Batch | Int::Known(0 | -1) => true,
            Int::Known(n) => self.batch == Some(n),
        };
        whole_batch
            && inferred <= 1
            && rest.len() == after.len()
            && rest.iter().zip(after).enumerate().all(|(i, (&int, &length))| match int {
                Int::Known(-1) => true,
                Int::Known(0) => before.get(i) == Some(&length),
                Int::Known(n) => n == length as i64,
                Int::Batch => false,
            })
    }

    pub(super) fn squeeze(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let input = inputs.value(0)?;
        let [_, h, w] = self.image(input)?;
        let axes = axes(node, inputs)?;
        if (h, w) == (1, 1) && is_rows_and_columns(&axes, 4) {
            return Ok(Value { flat: true, ..input });
        }
        let reason = format!("it removes the axes {axes:?}");
        Err(Problem::new(
            reason,
            "only rows and columns (2 and 3) of one pixel can be removed, both at once",
        ))
    }

    pub(super) fn unsqueeze(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Value, Problem> {
        let input = inputs.value(0)?;
        let [_, h, w] = self.shape(input);
        let axes = axes(node, inputs)?;
        if input.flat && (h, w) == (1, 1) && is_rows_and_columns(&axes, 4) {
            return Ok(Value { flat: false, ..input });
        }
        let reason = format!("it adds the axes {axes:?}");
        Err(Problem::new(
            reason,
            "only rows and columns (2 and 3) can be added to a flat vector, both at once",
        ))
    }
}

fn axes(node: &NodeProto, inputs: &Inputs) -> Result<Vec<i64>, Problem> {
    match inputs.optional(1)? {
        Some(axes) => axes.known_ints(),
        None => Ok(node.ints_of("axes").unwrap_or_default().to_vec()),
    }
}

fn is_rows_and_columns(axes: &[i64], rank: i64) -> bool {
    let mut axes: Vec<i64> =
        axes.iter().map(|&axis| if axis < 0 { axis.saturating_add(rank) } else { axis }).collect();
    axes.sort_unstable();
    axes == [2, 3]
}
