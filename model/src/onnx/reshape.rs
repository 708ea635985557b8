//! Flatten, Reshape, Transpose, Squeeze and Unsqueeze: the graph sees a value otherwise, and
//! nothing moves.

use std::rc::Rc;

use super::constant::Int;
use super::error::Problem;
use super::fold::axis_of;
use super::importer::{Importer, Value};
use super::inputs::Inputs;
use super::layout::Layout;
use super::proto::NodeProto;

impl Importer {
    pub(super) fn seen_otherwise(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
        value: &Value,
    ) -> Result<Value, Problem> {
        match node.op_type.as_str() {
            "Flatten" => self.flatten(node, value),
            "Reshape" => self.reshape(node, inputs, value),
            "Transpose" => transpose(node, value),
            "Squeeze" => squeeze(&axes(node, inputs)?, value),
            _ => unsqueeze(&axes(node, inputs)?.unwrap_or_default(), value),
        }
    }

    fn flatten(&mut self, node: &NodeProto, value: &Value) -> Result<Value, Problem> {
        let (axis, rank) = (node.int_or("axis", 1)?, value.layout.rank() as i64 + 1);
        if axis != 1 && axis.saturating_add(rank) != 1 {
            return Err(Problem::new(format!("its axis is {axis}"), "flatten from axis 1"));
        }
        self.reshaped(node, value, &[value.layout.lengths().iter().product()])
    }

    fn reshape(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
        value: &Value,
    ) -> Result<Value, Problem> {
        let target = inputs.constant(1)?;
        let (dims, before) = (target.as_ints()?, value.layout.lengths());
        let zeros = node.int_or("allowzero", 0)? == 0;
        let Some(lengths) = self.lengths(dims, &before, zeros) else {
            let shown: Vec<String> = dims.iter().map(ToString::to_string).collect();
            let [target, mut from] = [shown.join(", "), String::from("N")];
            before.iter().for_each(|length| from += &format!(", {length}"));
            let reason = format!("it makes [{target}] of [{from}]");
            return Err(Problem::new(
                reason,
                "keep the images of a batch apart, along the first axis",
            ));
        };
        self.reshaped(node, value, &lengths)
    }

    /// What a Reshape's target means for an operand `[N, before...]`: `None` if it mixes images, or
    /// has another number of elements.
    fn lengths(&self, target: &[Int], before: &[usize], zeros: bool) -> Option<Vec<usize>> {
        let (batch, rest) = target.split_first()?;
        let whole_batch = match *batch {
            Int::Batch | Int::Known(0 | -1) => true,
            Int::Known(n) => self.batch == Some(n),
        };
        let inferred = target.iter().filter(|&&int| int == Int::Known(-1)).count();
        if !whole_batch || inferred > 1 {
            return None;
        }
        // An inferred length counts as 1 until the others are known.
        let mut lengths = Vec::with_capacity(rest.len());
        for (at, &int) in rest.iter().enumerate() {
            lengths.push(match int {
                Int::Known(-1) => 1,
                Int::Known(0) if zeros => *before.get(at)?,
                Int::Known(n) => usize::try_from(n).ok().filter(|&n| n > 0)?,
                Int::Batch => return None,
            });
        }
        let elements: usize = before.iter().product();
        let known = lengths.iter().try_fold(1usize, |product, &n| product.checked_mul(n))?;
        if let Some(at) = rest.iter().position(|&int| int == Int::Known(-1)) {
            lengths[at] = elements / known;
        }
        let found = lengths.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        (found == Some(elements)).then_some(lengths)
    }

    /// The value with axes of these lengths, as many elements in the same order.
    pub(super) fn reshaped(
        &mut self,
        node: &NodeProto,
        value: &Value,
        lengths: &[usize],
    ) -> Result<Value, Problem> {
        if let Some(layout) = value.layout.reshaped(lengths) {
            return Ok(Value { layout: Rc::new(layout), ..value.clone() });
        }
        // Axes that the target cuts across are put in order first.
        let all: Vec<usize> = (0..value.layout.rank()).collect();
        let elements = value.layout.lengths().iter().product();
        let value = self.arranged(node, value, &all, [elements, 1, 1])?;
        Ok(Value { layout: Rc::new(Layout::natural(lengths)), ..value })
    }
}

fn transpose(node: &NodeProto, value: &Value) -> Result<Value, Problem> {
    let rank = value.layout.rank() + 1;
    let order: Vec<usize> = match node.ints_of("perm") {
        Some(perm) => perm.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return Err(Problem::malformed(format!("perm {order:?} for {rank} axes")));
    }
    if order[0] != 0 {
        let reason = format!("its perm {order:?} moves the batch");
        return Err(Problem::new(reason, "keep the images of a batch apart, along the first axis"));
    }
    let order: Vec<usize> = order[1..].iter().map(|axis| axis - 1).collect();
    Ok(Value { layout: Rc::new(value.layout.transposed(&order)), ..value.clone() })
}

fn squeeze(axes: &Option<Vec<i64>>, value: &Value) -> Result<Value, Problem> {
    let lengths = value.layout.lengths();
    let gone: Vec<usize> = match axes {
        Some(axes) => {
            let axes = axes.iter().map(|&axis| image_axis(axis, lengths.len() + 1, "removes"));
            axes.collect::<Result<_, _>>()?
        }
        None => (0..lengths.len()).filter(|&axis| lengths[axis] == 1).collect(),
    };
    if let Some(&axis) = gone.iter().find(|&&axis| lengths[axis] != 1) {
        let reason = format!("it removes an axis of length {}", lengths[axis]);
        return Err(Problem::malformed(reason));
    }
    Ok(Value { layout: Rc::new(value.layout.without(&gone)), ..value.clone() })
}

fn unsqueeze(axes: &[i64], value: &Value) -> Result<Value, Problem> {
    let rank = value.layout.rank() + axes.len();
    let axes = axes.iter().map(|&axis| image_axis(axis, rank + 1, "adds"));
    let mut axes: Vec<usize> = axes.collect::<Result<_, _>>()?;
    axes.sort_unstable();
    axes.dedup();
    Ok(Value { layout: Rc::new(value.layout.with(&axes)), ..value.clone() })
}

/// An axis of the graph's tensor of so many axes as one of an image.
pub(super) fn image_axis(axis: i64, rank: usize, what: &str) -> Result<usize, Problem> {
    let axis = axis_of(axis, rank)?;
    axis.checked_sub(1).ok_or_else(|| {
        let reason = format!("it {what} the axis of the batch");
        Problem::new(reason, "keep the images of a batch apart, along the first axis")
    })
}

/// The axes that a node names, in either form.
pub(super) fn axes(node: &NodeProto, inputs: &Inputs) -> Result<Option<Vec<i64>>, Problem> {
    match inputs.optional(1)? {
        Some(axes) => axes.known_ints().map(Some),
        None => Ok(node.ints_of("axes").map(<[i64]>::to_vec)),
    }
}
