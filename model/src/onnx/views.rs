//! Slice, Split, Pad and Concat.

use std::rc::Rc;

use super::attributes::size;
use super::error::Problem;
use super::fold::{axis_of, from_start};
use super::importer::{Importer, Value};
use super::inputs::Inputs;
use super::layout::Layout;
use super::proto::NodeProto;
use super::reshape::image_axis;
use crate::model::{Axis, MAX_AXIS, Op, View};

/// Starts, ends, axes and steps of a Slice: inputs 1 to 4 where there are any, or attributes as
/// before operator set 10.
pub(super) fn bounds(
    node: &NodeProto,
    given: impl Fn(usize) -> Result<Option<Vec<i64>>, Problem>,
) -> Result<[Vec<i64>; 4], Problem> {
    let mut parts = [const { None }; 4];
    for (at, name) in ["starts", "ends", "axes", "steps"].into_iter().enumerate() {
        parts[at] = given(at + 1)?.or_else(|| node.ints_of(name).map(<[i64]>::to_vec));
    }
    let [Some(starts), Some(ends), axes, steps] = parts else {
        return Err(Problem::malformed("no starts or ends"));
    };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [&ends, &axes, &steps].iter().any(|part| part.len() != starts.len()) {
        return Err(Problem::malformed("starts, ends, axes and steps differ in length"));
    }
    Ok([starts, ends, axes, steps])
}

impl Importer {
    pub(super) fn slice(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let mut value = inputs.value(0)?;
        let [starts, ends, axes, steps] =
            bounds(node, |at| inputs.optional(at)?.map(|given| given.known_ints()).transpose())?;
        for (i, &axis) in axes.iter().enumerate() {
            let Some(axis) = axis_of(axis, value.layout.rank() + 1)?.checked_sub(1) else {
                if starts[i] == 0 && ends[i] >= i64::from(i32::MAX) && steps[i] == 1 {
                    continue;
                }
                return Err(Problem::new("it slices the batch", "images of a batch must not mix"));
            };
            let part = sliced(value.layout.lengths()[axis], starts[i], ends[i], steps[i])?;
            value = self.part(node, &value, axis, part)?;
        }
        Ok(value)
    }

    /// The parts of a value along an axis.
    pub(super) fn split(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Vec<Value>, Problem> {
        let value = inputs.value(0)?;
        let axis = image_axis(node.int_or("axis", 0)?, value.layout.rank() + 1, "splits")?;
        let length = value.layout.lengths()[axis];
        let given = match inputs.optional(1)? {
            Some(sizes) => Some(sizes.known_ints()?),
            None => node.ints_of("split").map(<[i64]>::to_vec),
        };
        let sizes: Vec<usize> = match given {
            Some(sizes) => sizes.iter().map(|&n| size("a part", n)).collect::<Result<_, _>>()?,
            None => {
                // Equal parts, of which the last may be shorter.
                let each = length.div_ceil(node.output.len().max(1));
                let starts = (0..node.output.len()).map(|at| (at * each).min(length));
                starts.map(|start| each.min(length - start)).collect()
            }
        };
        if sizes.iter().sum::<usize>() != length || sizes.len() != node.output.len() {
            return Err(Problem::malformed(format!("it splits {length} into {sizes:?}")));
        }
        let mut start = 0;
        let mut parts = Vec::with_capacity(sizes.len());
        for length in sizes {
            let part = Axis { start, ..Axis::all(length) };
            parts.push(self.part(node, &value, axis, part)?);
            start += length;
        }
        Ok(parts)
    }

    pub(super) fn pad(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let mut value = inputs.value(0)?;
        let mode = node.string_or("mode", "constant")?;
        let with = match inputs.optional(2)? {
            Some(with) => with.scalar()?,
            None => node.float_or("value", 0.0)?,
        };
        let pads = match inputs.optional(1)? {
            Some(pads) => pads.known_ints()?,
            None => node.ints_of("pads").unwrap_or_default().to_vec(),
        };
        let rank = value.layout.rank() + 1;
        let axes = match inputs.optional(3)? {
            Some(axes) => axes.known_ints()?,
            None => (0..rank as i64).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(Problem::malformed(format!("{} pads for {} axes", pads.len(), axes.len())));
        }
        if pads.iter().all(|&pad| pad == 0) {
            return Ok(value);
        }
        if mode != "constant" || with != 0.0 {
            let reason = match mode {
                "constant" => format!("it pads with {with}"),
                _ => format!("its mode is {mode}"),
            };
            return Err(Problem::new(reason, "only padding with zeros is supported"));
        }
        for (i, &axis) in axes.iter().enumerate() {
            let (before, after) = (pads[i], pads[i + axes.len()]);
            match axis_of(axis, rank)?.checked_sub(1) {
                Some(axis) => {
                    let whole = Axis::all(value.layout.lengths()[axis]);
                    value = self.part(node, &value, axis, padded(whole, before, after)?)?;
                }
                None if before == 0 && after == 0 => {}
                None => return Err(Problem::new("it pads the batch", "pad images only")),
            }
        }
        Ok(value)
    }

    pub(super) fn concat(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let values: Vec<Value> =
            (0..inputs.len()).map(|i| inputs.value(i)).collect::<Result<_, _>>()?;
        let rank = values[0].layout.rank() + 1;
        let axis = image_axis(node.int_or("axis", 1)?, rank, "joins along")?;
        self.joined(node, &values, axis)
    }

    /// Values one after the other along an axis of an image.
    pub(super) fn joined(
        &mut self,
        node: &NodeProto,
        values: &[Value],
        axis: usize,
    ) -> Result<Value, Problem> {
        let first = &values[0];
        let total = values
            .iter()
            .map(|value| value.layout.lengths().get(axis).copied())
            .try_fold(0usize, |sum, length| sum.checked_add(length?))
            .ok_or_else(|| Problem::malformed("its operands have different axes"))?;
        if let Some(layout) = self.stacked(values, axis, total) {
            let ids: Vec<_> = values.iter().map(|value| value.id).collect();
            return Ok(Value { id: self.append(node, Op::Concat, &ids)?, layout: Rc::new(layout) });
        }
        // The axis first, and all others behind it: channels of every part are then those of the
        // axis.
        let mut order: Vec<usize> = (0..first.layout.rank()).collect();
        order.remove(axis);
        order.insert(0, axis);
        let mut ids = Vec::with_capacity(values.len());
        for value in values {
            let lengths = value.layout.lengths();
            if lengths.len() != order.len() {
                return Err(Problem::malformed("its operands have different axes"));
            }
            let rest = order[1..].iter().map(|&axis| lengths[axis]).product();
            ids.push(self.arranged(node, value, &order, [lengths[axis], 1, rest])?.id);
        }
        let id = self.append(node, Op::Concat, &ids)?;
        let mut lengths = first.layout.lengths();
        lengths[axis] = total;
        let ordered: Vec<usize> = order.iter().map(|&axis| lengths[axis]).collect();
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &axis)| back[axis] = at);
        Ok(Value { id, layout: Rc::new(Layout::natural(&ordered).transposed(&back)) })
    }

    /// How the graph sees values that are joined along an axis, if it is that of their channels in
    /// all of them, and they are seen alike.
    fn stacked(&self, values: &[Value], axis: usize, total: usize) -> Option<Layout> {
        let mut seen = values.iter().map(|value| {
            let shape = self.shape(value);
            let channels = value.layout.stored_axis(axis, shape) == Some(0);
            channels.then(|| (value.layout.resized(axis, 0, shape, total), [shape[1], shape[2]]))
        });
        let first = seen.next()??;
        seen.all(|other| other.as_ref() == Some(&first)).then_some(first.0)
    }

    /// A part of a value along an axis, with zeros around it.
    pub(super) fn part(
        &mut self,
        node: &NodeProto,
        value: &Value,
        axis: usize,
        part: Axis,
    ) -> Result<Value, Problem> {
        if part == Axis::all(value.layout.lengths()[axis]) {
            return Ok(value.clone());
        }
        // The view is of what is stored; the graph's other axes reach across the longer or shorter
        // one.
        let (value, at) = self.along(node, value, axis)?;
        let shape = self.shape(&value);
        let mut view = View::all(shape);
        view.axes[at] = part;
        let id = self.append(node, Op::View(view), &[value.id])?;
        let layout = value.layout.resized(axis, at, shape, part.out());
        Ok(Value { id, layout: Rc::new(layout) })
    }
}

fn sliced(length: usize, start: i64, end: i64, step: i64) -> Result<Axis, Problem> {
    let stride =
        usize::try_from(step).ok().filter(|step| (1..=MAX_AXIS).contains(step)).ok_or_else(
            || Problem::new(format!("its step is {step}"), "only positive steps are supported"),
        )?;
    let [start, end] = [start, end].map(|i| {
        let i = from_start(i, length as i64).max(0);
        usize::try_from(i).map_or(length, |i| i.min(length))
    });
    let length = end.saturating_sub(start).div_ceil(stride);
    Ok(Axis { start, stride, length, before: 0, after: 0 })
}

/// An axis that is whole so far, with zeros added; a negative number takes elements away.
fn padded(axis: Axis, before: i64, after: i64) -> Result<Axis, Problem> {
    let (zeros_before, zeros_after) = (bounded(before.max(0))?, bounded(after.max(0))?);
    let (cut_before, cut_after) = (bounded(before.min(0))?, bounded(after.min(0))?);
    let length = axis
        .length
        .checked_sub(cut_before + cut_after)
        .ok_or_else(|| Problem::malformed("it takes away more than there is"))?;
    Ok(Axis { start: cut_before, stride: 1, length, before: zeros_before, after: zeros_after })
}

/// The absolute value of a number of elements that are added or taken away.
fn bounded(i: i64) -> Result<usize, Problem> {
    let size = usize::try_from(i.unsigned_abs()).ok().filter(|&size| size <= MAX_AXIS);
    size.ok_or_else(|| {
        Problem::new(format!("it pads by {i}"), format!("pad by at most {MAX_AXIS}"))
    })
}
